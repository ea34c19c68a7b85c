"""Recorded: the answers of production, shown next to those of base and tuned."""

from __future__ import annotations

from tunegate.harness.further_arm import RECORDED, FurtherArm

ORDER = 30

recorded = FurtherArm(
    name=RECORDED,
    help="What production answered, replay:FILE.jsonl: shown beside base and tuned, gates nothing.",
    backend="replay",
    complete=False,
)
