"""OTLP collector: endpoints from the environment, and sending with a time limit.

Nothing is sent unless an endpoint is named. The files in the run folder are the record; what a
collector misses can be sent from them again. So nothing here can fail a run, and a collector that
does not answer costs two seconds once: the request runs in the background and is abandoned when its
time is over. No handler, hook or provider is set, and a user's own provider is not touched.
OpenTelemetry's own exporters read headers, certificates and compression.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import json
import logging
import math
import os
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
from tunegate.harness.telemetry.export import find_file
from tunegate.harness.telemetry.export.sdk_objects import read_batches

EXTRA = "pip install 'tunegate[otlp]'"
JSON_EXPORTER = "pip install --pre opentelemetry-exporter-otlp-json-http"
"""OpenTelemetry publishes it as a pre-release only."""
_PACKAGES = {
    "http/protobuf": ("opentelemetry.exporter.otlp.proto.http", EXTRA),
    "http/json": ("opentelemetry.exporter.otlp.json.http", f"{EXTRA} && {JSON_EXPORTER}"),
}
"""Protocol → the package of its exporters, and what installs it."""


@dataclass(frozen=True, slots=True)
class TelemetrySignal:
    """One of the three kinds of telemetry."""

    name: str
    """As in the names of variables: TRACES, LOGS, METRICS."""
    file: str
    item: str
    """What it consists of, in words."""
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
        """Return OpenTelemetry's exporter, with `patience` seconds per request and its retries.

        Raises:
            UsageError: the protocol is unknown, its package is not installed, or the variables
                are invalid.
        """
        if self.protocol not in _PACKAGES:
            raise UsageError(
                f"OTEL_EXPORTER_OTLP_PROTOCOL={self.protocol!r} must be "
                f"{' or '.join(_PACKAGES)}; collectors take both at their HTTP port, usually 4318"
            )
        package, remedy = _PACKAGES[self.protocol]
        try:
            make = getattr(import_module(f"{package}.{self.signal.module}"), self.signal.exporter)
        except ImportError as error:
            raise UsageError(f"{self.protocol} needs packages: {remedy}") from error
        try:
            return make(timeout=patience)
        except Exception as error:  # such as a missing certificate
            raise UsageError(f"the OTEL_ variables: {error_summary(error)}") from error


def export_targets(environ: Mapping[str, str] | None = None) -> tuple[ExportTarget, ...]:
    """Return where each signal with an endpoint goes.

    `OTEL_SDK_DISABLED=true`, and an `OTEL_TRACES_EXPORTER` (`…_LOGS_…`, `…_METRICS_…`) other than
    `otlp`, turn a signal off.
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
"""Seconds after which sending ends in any case."""
BATCH = 512
"""Spans or log records in a request, as in OpenTelemetry's own processors."""


UNSENT = "unsent.json"
"""File of a run folder: signal → items that the collector took, if it did not take all."""
RESEND_PATIENCE = 30.0
"""Seconds that a collector may take for one batch when a run is sent again."""


def send_files(folder: Path) -> list[str]:
    """Send the files of a run to the address in the OTEL_ variables; return the lines to print.

    What was not taken is recorded in `unsent.json`, for `tunegate resend`. Nothing is raised: a
    collector cannot change a run's verdict.
    """
    until = time.monotonic() + LONGEST
    results = _send_signals(folder, {}, until, PATIENCE)
    with suppress(OSError):
        _note_unsent(folder, results)
    return [sent.sentence(path) for sent, path in results if sent.problem is not None]


def resend_files(folder: Path, *, whole: bool = False) -> list[str]:
    """Send what a collector did not take, or all if `whole`; return a line for each signal.

    Ids are computed from the run, so that what is sent twice is the same span.

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
        raise UsageError(f"{folder}: the run has no telemetry; was OTEL_SDK_DISABLED set?")
    note = folder / UNSENT
    taken = json.loads(note.read_text(encoding="utf-8")) if note.is_file() and not whole else None
    if taken is None and not whole:
        return [f"{folder}: everything was sent; --all sends it again"]
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
    """Send each signal's file without the items taken before; skip endpoints that failed."""
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
    """Write how many items of each signal were taken; remove the file if all were."""
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
    """Items that the collector took."""
    problem: str | None = None
    skipped: int = 0
    """Items that it had taken before."""
    left: bool = False
    """Whether it was not tried because the endpoint had failed before."""

    def sentence(self, path: Path) -> str:
        """Return what was not sent, why, and which file has it."""
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
"""Seconds for reading and packing a batch."""


class _FileExport(threading.Thread):
    """Sends one file in batches, in a thread that ends with the process."""

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
        for count, batch in read_batches(self._path, BATCH):
            before += count
            if before <= self._skipped:
                continue
            if self.given_up.is_set():
                return "given up"
            if self._exporter.export(batch).name != "SUCCESS":
                return "the collector did not take it"
            self.done.put(count)
        return None
