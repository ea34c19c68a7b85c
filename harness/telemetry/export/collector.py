"""OTLP collector: endpoint from the environment, sending with a time limit, links to a viewer.

Nothing is sent unless an endpoint is named. Headers, certificates and compression are read by
OpenTelemetry's own exporters.

Sending a run's telemetry to a collector, which may be down, slow or in the way. The files in the
run folder are the record; what a collector misses can be sent from them again. So nothing here can
fail a run, and a collector that does not answer costs two seconds once: the request runs in the
background, and is left alone when its time is over. No handler, no hook and no provider is set, and
a user's own provider is neither asked nor changed.

Where a viewer shows a run's traces: an address with places for the ids.

`http://localhost:16686/trace/{trace_id}?uiFind={span_id}` is Jaeger's. The page of a run makes
a link of it for each case; whoever reads the page follows it, nothing else does.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from tunegate.harness.contracts.quiet import quiet_libraries
from tunegate.harness.records.errors import BackendError, UsageError, error_summary
from tunegate.harness.records.files import write_atomic
from tunegate.harness.telemetry.export import find_file, otlp_json

EXTRA = "pip install 'tunegate[otlp]'"
JSON_EXPORTER = "pip install --pre opentelemetry-exporter-otlp-json-http"
"""OpenTelemetry publishes it as a pre-release only."""
_ROOMS = {
    "http/protobuf": ("opentelemetry.exporter.otlp.proto.http", EXTRA),
    "http/json": ("opentelemetry.exporter.otlp.json.http", f"{EXTRA} && {JSON_EXPORTER}"),
}
"""Protocol → the package of its exporters, and what installs it."""


@dataclass(frozen=True, slots=True)
class TelemetrySignal:
    """One of the three kinds of telemetry."""

    name: str
    """As variables have it: TRACES, LOGS, METRICS."""
    file: str
    item: str
    """Contents, for people."""
    module: str
    exporter: str


SIGNALS = (
    TelemetrySignal("TRACES", "traces.jsonl", "spans", "trace_exporter", "OTLPSpanExporter"),
    TelemetrySignal("LOGS", "logs.jsonl", "log records", "_log_exporter", "OTLPLogExporter"),
    TelemetrySignal("METRICS", "metrics.jsonl", "metrics", "metric_exporter", "OTLPMetricExporter"),
)


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """Where one signal goes."""

    signal: TelemetrySignal
    endpoint: str
    protocol: str

    @property
    def shown(self) -> str:
        """The endpoint without name, password and query."""
        try:
            parts = urlsplit(self.endpoint)
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            return "the OTLP endpoint"
        return f"{parts.scheme}://{parts.hostname or ''}{port}"

    def open(self, patience: float) -> Any:
        """Return OpenTelemetry's exporter.

        Args:
            patience: Seconds that it may take for one request, its own attempts together.

        Raises:
            UsageError: the protocol is none that we speak, its package is not installed, or the
                variables cannot be read.
        """
        if self.protocol not in _ROOMS:
            raise UsageError(
                f"OTEL_EXPORTER_OTLP_PROTOCOL={self.protocol!r} must be "
                f"{' or '.join(_ROOMS)}; a collector takes both at its HTTP port, as a rule 4318"
            )
        room, remedy = _ROOMS[self.protocol]
        try:
            make = getattr(import_module(f"{room}.{self.signal.module}"), self.signal.exporter)
        except ImportError as error:
            raise UsageError(f"{self.protocol} needs packages: {remedy}") from error
        try:
            return make(timeout=patience)
        except Exception as error:  # a certificate that is not there, a compression unknown …
            raise UsageError(f"the OTEL_ variables: {error_summary(error)}") from error


def export_targets(environ: Mapping[str, str] | None = None) -> tuple[ExportTarget, ...]:
    """Return where each signal goes; none of those that nobody named an endpoint for.

    `OTEL_SDK_DISABLED=true`, and an `OTEL_TRACES_EXPORTER` (`…_LOGS_…`, `…_METRICS_…`) that is not
    `otlp`, keep a signal at home.
    """
    known = os.environ if environ is None else environ
    if known.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    found = (_target(signal, lambda name: known.get(name, "").strip()) for signal in SIGNALS)
    return tuple(target for target in found if target is not None)


def _target(signal: TelemetrySignal, value: Callable[[str], str]) -> ExportTarget | None:
    endpoint, protocol = (
        value(f"OTEL_EXPORTER_OTLP_{signal.name}_{word}") or value(f"OTEL_EXPORTER_OTLP_{word}")
        for word in ("ENDPOINT", "PROTOCOL")
    )
    exporters: Sequence[str] = value(f"OTEL_{signal.name}_EXPORTER").split(",")
    wanted = exporters == [""] or "otlp" in [name.strip() for name in exporters]
    return (
        ExportTarget(signal, endpoint, protocol or "http/protobuf") if endpoint and wanted else None
    )


PATIENCE = 2.0
"""Seconds that a collector may take for one batch."""
LONGEST = 60.0
"""Seconds after which sending ends, however well it goes."""
BATCH = 512
"""Spans or log records in a request, as OpenTelemetry's own processors have it."""


UNSENT = "unsent.json"
"""File of a run folder: signal → items that its collector took, where it did not take all."""
RESEND_PATIENCE = 30.0
"""Seconds that a collector may take for one batch when a run is sent again."""


def send_files(folder: Path) -> list[str]:
    """Send the files of a run to the address in the OTEL_ variables; return the lines to print.

    What was not taken is noted in `unsent.json`, for `tunegate resend`. Nothing is raised: a run's
    verdict does not depend on who watches.
    """
    until = time.monotonic() + LONGEST
    results = _send_signals(folder, {}, until, PATIENCE)
    with suppress(OSError):
        _note_unsent(folder, results)
    return [sent.sentence(path) for sent, path in results if sent.problem is not None]


def resend_files(folder: Path, *, whole: bool = False) -> list[str]:
    """Send what a collector did not take; return a line for each signal that was sent.

    Ids are computed from the run, so that what is sent twice is the same span.

    Args:
        folder: The run folder.
        whole: Whether all is sent again, taken before or not.

    Raises:
        UsageError: no endpoint is named, or the run left no telemetry.
        BackendError: a collector did not take all.
        OSError: writing failed.
    """
    if not export_targets():
        raise UsageError("no collector is named: set OTEL_EXPORTER_OTLP_ENDPOINT, then repeat this")
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; give the folder of a run")
    if all(find_file(folder, signal.file) is None for signal in SIGNALS):
        raise UsageError(f"{folder}: the run left no telemetry; OTEL_SDK_DISABLED was set, perhaps")
    note = folder / UNSENT
    taken = json.loads(note.read_text(encoding="utf-8")) if note.is_file() and not whole else None
    if taken is None and not whole:
        return [f"{folder}: nothing is left to send; --all sends it again"]
    before = taken or {}
    only = None if whole else set(before)
    results = _send_signals(folder, before, math.inf, RESEND_PATIENCE, only)
    _note_unsent(folder, results)
    problems = [sent.sentence(path) for sent, path in results if sent.problem is not None]
    if problems:
        raise BackendError("; ".join(problems))
    return [
        f"{sent.items} {sent.target.signal.item} went to {sent.target.shown}" for sent, _ in results
    ]


def _send_signals(
    folder: Path,
    before: Mapping[str, int],
    until: float,
    patience: float,
    only: Collection[str] | None = None,
) -> list[tuple[ExportResult, Path]]:
    """Send each signal's file, the items that were taken before left out.

    An endpoint that failed is not tried with the next signal.
    """
    results: list[tuple[ExportResult, Path]] = []
    dead: dict[str, str] = {}
    for target in export_targets():
        name = target.signal.name
        path = find_file(folder, target.signal.file)
        if path is None or (only is not None and name not in only):
            continue
        skipped = before.get(name, 0)
        if target.shown in dead:
            results.append((ExportResult(target, 0, None, skipped, left=True), path))
            continue
        # One line of ours reports what the exporters would log.
        with quiet_libraries("opentelemetry.exporter", level=logging.CRITICAL):
            sent = _send(target, path, until, patience, skipped)
        results.append((sent, path))
        if sent.problem is not None:
            dead[target.shown] = sent.problem
    return results


def _note_unsent(folder: Path, results: Sequence[tuple[ExportResult, Path]]) -> None:
    """Write how many items of each signal were taken, where not all were; else remove the note."""
    unsent = {
        sent.target.signal.name: sent.skipped + sent.items
        for sent, _ in results
        if sent.problem is not None or sent.left
    }
    if unsent:
        write_atomic(folder / UNSENT, json.dumps(unsent) + "\n")
    else:
        (folder / UNSENT).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Result of sending one signal."""

    target: ExportTarget
    items: int = 0
    """How many the collector took."""
    problem: str | None = None
    skipped: int = 0
    """How many it had taken before."""
    left: bool = False
    """Whether it was not tried, since the endpoint had failed before."""

    def sentence(self, path: Path) -> str:
        """Return what did not go, why, and that the file has it."""
        signal = self.target.signal
        return (
            f"telemetry: {self.items} {signal.item} went to {self.target.shown}, then no more: "
            f"{self.problem}; {path} has all: tunegate resend {path.parent}"
        )


def _send(
    target: ExportTarget, path: Path, until: float, patience: float, skipped: int
) -> ExportResult:
    try:
        sending = _FileExport(target, path, patience, skipped)
    except (UsageError, ImportError) as error:
        return ExportResult(target, 0, str(error), skipped)
    sending.start()
    count = 0
    while True:
        left = min(patience + _GRACE, until - time.monotonic())
        try:
            done = sending.done.get(timeout=max(left, 0.0))
        except Empty:
            sending.given_up.set()
            late = "the time was over" if left < patience else f"no answer in {patience:g} s"
            return ExportResult(target, count, late, skipped)
        if done is None:
            return ExportResult(target, count, None, skipped)
        if isinstance(done, str):
            return ExportResult(target, count, done, skipped)
        count += done


_GRACE = 0.5
"""Seconds for reading and packing a batch, in addition to the collector's own."""


class _FileExport(threading.Thread):
    """Sends one file, batch by batch; ends with the process, if it is stuck then."""

    def __init__(self, target: ExportTarget, path: Path, patience: float, skipped: int) -> None:
        super().__init__(name="tunegate-otlp", daemon=True)
        self.done: SimpleQueue[int | str | None] = SimpleQueue()
        """Items of each batch that was taken, then None, or why it ended."""
        self.given_up = threading.Event()
        self._path = path
        self._skipped = skipped
        self._exporter = target.open(patience)

    def run(self) -> None:
        """Send everything; whatever happens is printed, not raised."""
        try:
            self.done.put(self._all())
        except Exception as error:  # a library's defect must not be the run's
            self.done.put(error_summary(error))
        finally:
            self._exporter.shutdown()

    def _all(self) -> str | None:
        from opentelemetry import context

        # So that instrumented HTTP clients do not trace the sending of traces.
        context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True))
        before = 0
        for count, batch in otlp_json.read_batches(self._path, BATCH):
            before += count
            if before <= self._skipped:
                continue
            if self.given_up.is_set():
                return "given up"
            if self._exporter.export(batch).name != "SUCCESS":
                return "the collector did not take it"
            self.done.put(count)
        return None


ORIGIN = "trace viewer"
"""The name under which a run's manifest has it, among the facts of where the run was made."""
PLACES = ("{trace_id}", "{span_id}")
_SCHEMES = ("http", "https")
_ADDRESS = re.compile(r"[!-~]{1,2000}")


def template_problem(template: str) -> str | None:
    """Return what is wrong with a template; None if a link can be made of it."""
    if not _ADDRESS.fullmatch(template) or set("<>\"'`\\") & set(template):
        return "write it in visible ASCII without quotes, < and >"
    bare = template
    for place in PLACES:
        bare = bare.replace(place, "")
    try:
        parts = urlsplit(bare)
    except ValueError as error:
        return str(error)
    if parts.scheme not in _SCHEMES or not parts.netloc:
        return "it begins with http:// or https:// and a host"
    if "@" in parts.netloc:
        return "it names no user and no password: whoever has the page would have them"
    if bare == template:
        return f"it has {' or '.join(PLACES)}"
    if set("{}") & set(bare):
        return f"of braces it has only {' and '.join(PLACES)}; write others as %7B and %7D"
    return None


def check_template(template: str) -> str:
    """Return a template of which links can be made.

    Raises:
        UsageError: it is none.
    """
    wrong = template_problem(template)
    if wrong:
        raise UsageError(f"trace link {template!r}: {wrong}")
    return template
