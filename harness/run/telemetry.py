"""Telemetry of a run: its options, and the files in the run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunegate.harness.decision.verdict.decide import ScoredRun
from tunegate.harness.records import judgements
from tunegate.harness.records.jsonl import JsonlRecords
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run.folder_writer import RunFolderWriter
from tunegate.harness.suite import Suite
from tunegate.harness.telemetry.export import redaction
from tunegate.harness.telemetry.export.run_records import RunRecords

if TYPE_CHECKING:
    from tunegate.harness.telemetry.export.content import ContentCapture


@dataclass(frozen=True, slots=True)
class TelemetryOptions:
    """Options of a run's telemetry."""

    content: ContentCapture | None = None
    """What is written of prompts and answers; None writes no text."""
    link: str | None = None
    """URL of a span in a viewer, with placeholders for the ids."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> TelemetryOptions:
        """Read the options."""
        shown = bool(options["trace-content"])
        return cls(redaction.content_of(shown, options["trace-redact"]), options["trace-link"])


def write_telemetry(
    folder: RunFolderWriter,
    scored: ScoredRun,
    verdict: VerdictRecord,
    suites: Sequence[Suite],
    content: ContentCapture | None,
) -> list[str]:
    """Write spans, log records and metrics; return notes for the user.

    Args:
        folder: Where they are written.
        scored: The run.
        verdict: Its verdict.
        suites: The suites, with their cases.
        content: What is written of prompts and answers; None writes no text.
    """
    records = RunRecords(
        scored.manifest,
        scored.cells,
        verdict,
        prompts=scored.prompts,
        scores=scored.scores,
        cases={(suite.name, case.id): case for suite in suites for case in suite.cases},
        judgements=JsonlRecords(folder.path / judgements.JUDGEMENTS_FILE, judgements.Judgement),
    )
    folder.write_traces(records, content)
    if content is None or not content.failed:
        return []
    from tunegate.harness.telemetry.export.content import REDACTED

    return [f"{content.failed} texts are {REDACTED} in the traces: the redaction failed"]
