"""Where telemetry goes: the standard variables of OpenTelemetry, read signal by signal.

Nothing is sent unless an endpoint is named. Headers, certificates and compression are read by
OpenTelemetry's own exporters.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from harness.errors import UsageError

EXTRA = "pip install 'tunegate[otlp]'"
JSON_EXPORTER = "pip install --pre opentelemetry-exporter-otlp-json-http"
"""OpenTelemetry publishes it as a pre-release only."""
_ROOMS = {
    "http/protobuf": ("opentelemetry.exporter.otlp.proto.http", EXTRA),
    "http/json": ("opentelemetry.exporter.otlp.json.http", f"{EXTRA} && {JSON_EXPORTER}"),
}
"""Protocol → the package of its exporters, and what installs it."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One of the three kinds of telemetry."""

    name: str
    """As variables have it: TRACES, LOGS, METRICS."""
    file: str
    item: str
    """What it consists of, for people."""
    module: str
    exporter: str


SIGNALS = (
    Signal("TRACES", "traces.jsonl", "spans", "trace_exporter", "OTLPSpanExporter"),
    Signal("LOGS", "logs.jsonl", "log records", "_log_exporter", "OTLPLogExporter"),
    Signal("METRICS", "metrics.jsonl", "metrics", "metric_exporter", "OTLPMetricExporter"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where one signal goes."""

    signal: Signal
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
            reason = next(iter(str(error).splitlines()), "")
            raise UsageError(f"the OTEL_ variables: {type(error).__name__}: {reason}") from error


def targets(environ: Mapping[str, str] | None = None) -> tuple[Target, ...]:
    """Return where each signal goes; none of those that nobody named an endpoint for.

    `OTEL_SDK_DISABLED=true`, and an `OTEL_TRACES_EXPORTER` (`…_LOGS_…`, `…_METRICS_…`) that is not
    `otlp`, keep a signal at home.
    """
    known = os.environ if environ is None else environ
    if known.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    found = (_target(signal, lambda name: known.get(name, "").strip()) for signal in SIGNALS)
    return tuple(target for target in found if target is not None)


def _target(signal: Signal, value: Callable[[str], str]) -> Target | None:
    endpoint, protocol = (
        value(f"OTEL_EXPORTER_OTLP_{signal.name}_{word}") or value(f"OTEL_EXPORTER_OTLP_{word}")
        for word in ("ENDPOINT", "PROTOCOL")
    )
    exporters: Sequence[str] = value(f"OTEL_{signal.name}_EXPORTER").split(",")
    wanted = exporters == [""] or "otlp" in [name.strip() for name in exporters]
    return Target(signal, endpoint, protocol or "http/protobuf") if endpoint and wanted else None
