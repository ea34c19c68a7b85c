"""Telemetry of a run: OpenTelemetry files in the run folder, and sending them to a collector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tunegate.harness.otel_export import redaction
from tunegate.harness.otel_export.collector import send_files
from tunegate.harness.pipeline.run_writer import RunFolder
from tunegate.harness.records import cases
from tunegate.harness.records.files import JsonlRecords
from tunegate.harness.suite import Suite

if TYPE_CHECKING:
    from tunegate.harness.otel_export.completion_spans import ContentCapture
    from tunegate.harness.otel_export.run_records import RunRecords


@dataclass(frozen=True, slots=True)
class TelemetryOptions:
    """What a run's options say of its telemetry."""

    content: ContentCapture | None = None
    """What is written of prompts and answers; None is nothing."""
    link: str | None = None
    """Where a viewer shows it, with places for the ids."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> TelemetryOptions:
        """Return what the options say.

        Raises:
            UsageError: there is no redaction of that name.
        """
        shown = bool(options["trace-content"])
        return cls(redaction.content_of(shown, options["trace-redact"]), options["trace-link"])


def write_telemetry(
    folder: RunFolder, run: RunRecords, suites: Sequence[Suite], content: ContentCapture | None
) -> Iterator[str]:
    """Write spans, log records and metrics; yield what there is to say of them.

    Args:
        folder: The run's.
        run: What was recorded, but for cases and judgements.
        suites: Where the cases are from.
        content: What is written of prompts and answers; None writes nothing.

    Raises:
        BackendError: the disk cannot be written.
    """
    whole = replace(
        run,
        cases={(suite.name, case.id): case for suite in suites for case in suite.cases},
        judgements=JsonlRecords(folder.path / cases.FILE_NAME, cases.Judgement),
    )
    folder.write_traces(whole, content)
    if content is not None and content.failed:
        from tunegate.harness.otel_export.completion_spans import REDACTED

        yield f"{content.failed} texts are {REDACTED} in the traces: the redaction failed"


def send_telemetry(folder: RunFolder) -> Iterator[str]:
    """Send the files to where the OTEL_ variables say; yield what there is to say of it."""
    yield from send_files(folder.path)
