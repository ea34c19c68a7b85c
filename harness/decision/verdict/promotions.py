"""Promotions: which fine-tunes a project has shipped, one per line of shipped.jsonl.

`tunegate promote RUN` appends to the file, which belongs in the repository: `--incumbent
promoted` is the model of its last line, in CI too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import write_atomic
from tunegate.harness.records.jsonl import JsonlRecords, record_lines
from tunegate.harness.records.record import SCHEMA_VERSION, Record, Text
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict

FILE_NAME = "shipped.jsonl"


class Promotion(Record):
    """A fine-tune that was shipped, and the run behind it."""

    schema_version: int = SCHEMA_VERSION
    """Version of the format."""
    promoted: str
    """ISO 8601 time, UTC."""
    run_id: str
    """Name of the run's folder."""
    verdict: Verdict
    """How the run ended."""
    sentence: Text
    """The sentence that decided it."""
    spec: Text
    """Model spec of the fine-tune."""
    identity: dict[str, Any]
    """The run's record of the fine-tune: hashes, number format, engine."""
    suites: dict[str, str]
    """Suite → its hash."""
    reason: Text | None = None
    """Why it was shipped without SHIP; None for SHIP."""


def read_promotions(path: Path) -> tuple[Promotion, ...]:
    """Return what was shipped, oldest first; empty without the file."""
    return tuple(JsonlRecords(path, Promotion))


def promotion_of(run: Run, promoted: str, reason: str | None = None) -> Promotion:
    """Return the record of shipping a run's fine-tune."""
    verdict, identity = run.verdict, run.verdict.arms.get("tuned", {})
    if verdict.verdict is not Verdict.SHIP and not reason:
        raise UsageError(
            f"{run.folder}: the verdict is {verdict.verdict.value}, not SHIP; if it was shipped "
            "anyway, add --anyway REASON"
        )
    return Promotion(
        promoted=promoted,
        run_id=verdict.run_id,
        verdict=verdict.verdict,
        sentence=verdict.sentence,
        spec=str(identity.get("spec", "")),
        identity=identity,
        suites={suite.name: suite.hash for suite in verdict.suites},
        reason=reason if verdict.verdict is not Verdict.SHIP else None,
    )


def append_promotion(path: Path, promotion: Promotion) -> None:
    """Add a line to the file."""
    write_atomic(path, record_lines([*read_promotions(path), promotion]))
