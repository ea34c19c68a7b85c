"""OTLP collector: endpoints from the environment, and sending with a time limit.

Nothing is sent unless an endpoint is named. The files in the run folder are the record; what a
collector misses can be sent from them again. So nothing here can fail a run, and a collector that
does not answer costs two seconds once: the request runs in the background and is abandoned when its
time is over. No handler, hook or provider is set, and a user's own provider is not touched.
Headers, certificates, compression and time limits are OpenTelemetry's variables.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import gzip
import json
import math
import os
import random
import re
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from ssl import SSLContext, create_default_context
from urllib.parse import unquote, urlsplit, urlunsplit

from tunegate.harness.records.errors import BackendError, UsageError, error_summary
from tunegate.harness.records.files import write_atomic
from tunegate.harness.telemetry.export import find_file
from tunegate.harness.telemetry.export.http_post import post_once
from tunegate.harness.telemetry.export.otlp_requests import (
    Encode,
    encode_json,
    encode_protobuf,
    read_batches,
)

EXTRA = "pip install 'tunegate[otlp]'"
_ENCODERS: Mapping[str, tuple[Encode, str]] = {
    "http/protobuf": (encode_protobuf, "application/x-protobuf"),
    "http/json": (encode_json, "application/json"),
}
"""Protocol → what encodes a request, and its content type."""
_HEADER_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_HEADER_TEXT = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
"""What RFC 9110 has in a header's name and value (5.6.2, 5.5)."""
_BUSY = (429, 502, 503, 504)
"""Replies after which a batch is sent again (OTLP/HTTP, *Failures*)."""
_FIRST_WAIT = 0.25
"""Seconds before a batch is sent again, on average; the next time twice as long."""


@dataclass(frozen=True, slots=True)
class TelemetrySignal:
    """One of the three kinds of telemetry."""

    name: str
    """As in the names of variables: TRACES, LOGS, METRICS."""
    file: str
    item: str
    """What it consists of, in words."""


SIGNALS = (
    TelemetrySignal("TRACES", "traces.jsonl", "spans"),
    TelemetrySignal("LOGS", "logs.jsonl", "log records"),
    TelemetrySignal("METRICS", "metrics.jsonl", "metrics"),
)


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """Where one signal goes, and how."""

    signal: TelemetrySignal
    endpoint: str
    """The whole address, with name, password and query if the user gave some."""
    environ: Mapping[str, str]

    def setting(self, word: str) -> str:
        """Return `OTEL_EXPORTER_OTLP_{word}`, or the variable of this signal if that is set."""
        return _setting(self.environ, self.signal, word)

    @property
    def shown(self) -> str:
        """The endpoint without name, password and query."""
        try:
            parts = urlsplit(self.endpoint)
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            return "the OTLP endpoint"
        return f"{parts.scheme}://{parts.hostname or ''}{port}"

    def patience(self, default: float) -> float:
        """Return the seconds for a batch: `OTEL_EXPORTER_OTLP_TIMEOUT`, in milliseconds, or else.

        Raises:
            UsageError: it is not a number above 0.
        """
        milliseconds = self.setting("TIMEOUT")
        if not milliseconds:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", milliseconds) or int(milliseconds) == 0:
            raise UsageError(
                f"OTEL_EXPORTER_OTLP_TIMEOUT={milliseconds!r} must be milliseconds, 1 to 999999999"
            )
        return int(milliseconds) / 1000

    def request(self) -> tuple[str, dict[str, str], Encode, SSLContext]:
        """Return address, headers, encoder and TLS of each request."""
        protocol = self.setting("PROTOCOL") or "http/protobuf"
        if protocol not in _ENCODERS:
            raise UsageError(
                f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r} must be "
                f"{' or '.join(_ENCODERS)}; collectors take both at their HTTP port, usually 4318"
            )
        encode, content_type = _ENCODERS[protocol]
        try:
            encode({"resourceSpans": []})
        except ImportError as error:
            raise UsageError(
                f"{protocol} needs packages: {EXTRA}; OTEL_EXPORTER_OTLP_PROTOCOL=http/json none"
            ) from error
        compression = self.setting("COMPRESSION") or "none"
        if compression not in ("none", "gzip"):
            raise UsageError(f"OTEL_EXPORTER_OTLP_COMPRESSION={compression!r} must be none or gzip")
        try:
            parts = urlsplit(self.endpoint)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError("OTEL_EXPORTER_OTLP_ENDPOINT must be http:// or https:// and a host")
        headers = {"User-Agent": "tunegate", "Content-Type": content_type}
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        if compression == "gzip":
            headers["Content-Encoding"] = "gzip"
        pairs = (pair.partition("=") for pair in self.setting("HEADERS").split(","))
        for name, sign, value in pairs:
            if not sign:
                continue
            header, text = name.strip().title(), unquote(value.strip())
            if not _HEADER_NAME.fullmatch(header) or not _HEADER_TEXT.fullmatch(text):
                raise UsageError(
                    f"OTEL_EXPORTER_OTLP_HEADERS: {header!r} is no header, or its value has "
                    "characters that no header has; write NAME=VALUE,NAME=VALUE"
                )
            headers[header] = text
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        return url, headers, encode, self._tls()

    def _tls(self) -> SSLContext:
        authority, certificate, key = map(
            self.setting, ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
        )
        try:
            context = create_default_context(cafile=authority or None)
            if certificate:
                context.load_cert_chain(certificate, key or None, password="")  # ask nobody
        except OSError as error:  # ssl.SSLError is one
            raise UsageError(
                "OTEL_EXPORTER_OTLP_CERTIFICATE, …_CLIENT_CERTIFICATE and …_CLIENT_KEY must be "
                f"files in PEM: {error_summary(error)}"
            ) from error
        return context


def _setting(environ: Mapping[str, str], signal: TelemetrySignal, word: str) -> str:
    names = (f"OTEL_EXPORTER_OTLP_{signal.name}_{word}", f"OTEL_EXPORTER_OTLP_{word}")
    return next((value for name in names if (value := environ.get(name, "").strip())), "")


def export_targets(environ: Mapping[str, str] | None = None) -> tuple[ExportTarget, ...]:
    """Return where each signal with an endpoint goes.

    `OTEL_SDK_DISABLED=true`, and an `OTEL_TRACES_EXPORTER` (`…_LOGS_…`, `…_METRICS_…`) other than
    `otlp`, turn a signal off.
    """
    variables = dict(os.environ if environ is None else environ)
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    targets = []
    for signal in SIGNALS:
        endpoint = _setting(variables, signal, "ENDPOINT")
        if not variables.get(f"OTEL_EXPORTER_OTLP_{signal.name}_ENDPOINT", "").strip():
            endpoint = _with_path(endpoint, f"/v1/{signal.name.lower()}")
        exporters = variables.get(f"OTEL_{signal.name}_EXPORTER", "").strip()
        if endpoint and (not exporters or "otlp" in map(str.strip, exporters.split(","))):
            targets.append(ExportTarget(signal, endpoint, variables))
    return tuple(targets)


def _with_path(endpoint: str, path: str) -> str:
    """Return the general endpoint with the path of a signal behind its own."""
    if not endpoint:
        return ""
    before, mark, query = endpoint.partition("?")
    return f"{before.rstrip('/')}{path}{mark}{query}"


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
        patience = target.patience(patience)
        sending = _FileExport(target, path, patience, skipped)
    except UsageError as error:
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
        self._patience = patience
        self._url, self._headers, self._encode, self._tls = target.request()

    def run(self) -> None:
        """Send everything; whatever happens is printed, not raised."""
        try:
            self.done.put(self._all())
        except Exception as error:  # a library's defect must not be the run's
            self.done.put(error_summary(error))

    def _all(self) -> str | None:
        # So that a user's instrumentation of HTTP clients does not trace the sending of traces.
        if context := sys.modules.get("opentelemetry.context"):
            context.attach(context.set_value("suppress_instrumentation", True))
        before = 0
        for count, batch in read_batches(self._path, BATCH):
            before += count
            if before <= self._skipped:
                continue
            if self.given_up.is_set():
                return "given up"
            if reason := self._post(self._encode(batch)):
                return reason
            self.done.put(count)
        return None

    def _post(self, body: bytes) -> str | None:
        """Post a batch, again while the collector is busy; return why it was not taken, or None."""
        if "Content-Encoding" in self._headers:
            body = gzip.compress(body)
        until, wait = time.monotonic() + self._patience, _FIRST_WAIT
        while True:
            left = max(until - time.monotonic(), 0.001)
            result = post_once(self._url, body, self._headers, left, self._tls)
            if result.status not in _BUSY:
                return result.reason
            retry_after = result.retry_after
            pause = int(retry_after) if retry_after.isdecimal() else wait * random.uniform(0.5, 1.5)
            if time.monotonic() + pause >= until:
                return result.reason
            time.sleep(pause)
            wait *= 2
