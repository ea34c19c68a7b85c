"""Recorded: the answers of production, shown next to those of base and tuned."""

from __future__ import annotations

from tunegate.harness.contracts.further_arm import RECORDED, FurtherArm

ORDER = 30

recorded = FurtherArm(
    name=RECORDED,
    help="Answers of production, replay:FILE.jsonl: shown next to base and tuned, gates nothing.",
    backend="replay",
    complete=False,
)
