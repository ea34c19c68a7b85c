"""Sending a run's telemetry to a collector, which may be down, slow or in the way.

The files in the run folder are the record; what a collector misses can be sent from them again. So
nothing here can fail a run, and a collector that does not answer costs two seconds once: the
request runs beside us, and is left alone when its time is over. No handler, no hook and no provider
is set, and a user's own provider is neither asked nor changed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from harness.errors import UsageError
from harness.tracing import readable
from harness.tracing.collector import Target, targets

PATIENCE = 2.0
"""Seconds that a collector may take for one batch."""
LONGEST = 60.0
"""Seconds after which sending ends, however well it goes."""
BATCH = 512
"""Spans or log records in a request, as OpenTelemetry's own processors have it."""


def send(folder: Path) -> list[str]:
    """Send the files of a run to where the OTEL_ variables say; return what is to be told of it.

    Nothing is raised: a run's verdict does not depend on who watches.
    """
    told: list[str] = []
    dead: set[str] = set()
    until = time.monotonic() + LONGEST
    for target in targets():
        if target.shown in dead or not (folder / target.signal.file).is_file():
            continue
        with _quiet():
            sent = _send(target, folder / target.signal.file, until)
        if sent.problem is not None:
            dead.add(target.shown)
            told.append(sent.sentence(folder))
    return told


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one signal."""

    target: Target
    items: int = 0
    """How many the collector took."""
    problem: str | None = None

    def sentence(self, folder: Path) -> str:
        """Return what did not go, why, and where it is."""
        signal = self.target.signal
        return (
            f"telemetry: {self.items} {signal.item} went to {self.target.shown}, then no more: "
            f"{self.problem}; {folder / signal.file} has all"
        )


def _send(target: Target, path: Path, until: float) -> Sent:
    try:
        sending = _Sending(target, path)
    except (UsageError, ImportError) as error:
        return Sent(target, problem=str(error))
    sending.start()
    count = 0
    while True:
        left = min(PATIENCE + _GRACE, until - time.monotonic())
        try:
            done = sending.done.get(timeout=max(left, 0.0))
        except Empty:
            sending.given_up.set()
            late = "the time was over" if left < PATIENCE else f"no answer in {PATIENCE:g} s"
            return Sent(target, count, late)
        if done is None:
            return Sent(target, count)
        if isinstance(done, str):
            return Sent(target, count, done)
        count += done


_GRACE = 0.5
"""Seconds for reading and packing a batch, beside the collector's own."""


class _Sending(threading.Thread):
    """Sends one file, batch by batch; ends with the process, if it is stuck then."""

    def __init__(self, target: Target, path: Path) -> None:
        super().__init__(name="tunegate-otlp", daemon=True)
        self.done: SimpleQueue[int | str | None] = SimpleQueue()
        """Items of each batch that was taken, then None, or why it ended."""
        self.given_up = threading.Event()
        self._path = path
        self._exporter = target.open(PATIENCE)

    def run(self) -> None:
        """Send everything; whatever happens is told, not raised."""
        try:
            self.done.put(self._all())
        except Exception as error:  # a library's defect must not be the run's
            reason = next(iter(str(error).splitlines()), "")
            self.done.put(f"{type(error).__name__}: {reason}")
        finally:
            self._exporter.shutdown()

    def _all(self) -> str | None:
        from opentelemetry import context

        # So that instrumented HTTP clients do not trace the sending of traces.
        context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True))
        for count, batch in readable.batches(self._path, BATCH):
            if self.given_up.is_set():
                return "given up"
            if self._exporter.export(batch).name != "SUCCESS":
                return "the collector did not take it"
            self.done.put(count)
        return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenTelemetry's exporters from logging: what they say, one line of ours says."""
    logger = logging.getLogger("opentelemetry.exporter")
    silence, before = logging.NullHandler(), logger.propagate
    logger.addHandler(silence)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(silence)
