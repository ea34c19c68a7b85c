"""Sending to a collector: it gets what the files hold, and one that is dead costs little."""

from __future__ import annotations

import gzip
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.records.errors import BackendError, UsageError
from tunegate.harness.telemetry.export import collector as sending
from tunegate.harness.telemetry.export.collector import resend_files, send_files
from tunegate.harness.telemetry.export.http_post import PostResult


@dataclass
class Collector:
    """A collector on this machine, and what it was sent."""

    url: str
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    delay_s: float = 0.0
    fails_after: int | None = None
    """Requests that are taken before it refuses all."""
    statuses: list[int] = field(default_factory=list)
    """Its replies, in the order of the requests."""
    server: Any = None

    def accepted(self, path: str) -> list[Any]:
        """Return the requests to a path that it took."""
        taken = [r for r, status in zip(self.requests, self.statuses, strict=True) if status == 200]
        return replace(self, requests=taken).messages(path)

    def messages(self, path: str) -> list[Any]:
        """Return the requests to a path, as protobuf reads them."""
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
            ExportLogsServiceRequest,
        )
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
            ExportMetricsServiceRequest,
        )
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        kinds = {
            "/v1/traces": ExportTraceServiceRequest,
            "/v1/logs": ExportLogsServiceRequest,
            "/v1/metrics": ExportMetricsServiceRequest,
        }
        return [kinds[path].FromString(body) for where, _, body in self.requests if where == path]


@pytest.fixture(name="collector")
def _collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Run a collector, and name it in the environment."""

    class CollectorHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.requests.append((self.path, headers, body))
            time.sleep(found.delay_s)
            over = found.fails_after is not None and len(found.requests) > found.fails_after
            found.statuses.append(401 if over else found.status)
            self.send_response(found.statuses[-1])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), CollectorHandler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    found = Collector(f"http://127.0.0.1:{server.server_address[1]}", server=server)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the variables of this machine out of the way."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def _spans(messages: list[Any]) -> list[Any]:
    return [
        span
        for message in messages
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def test_compressed_files_are_sent_like_others(written: Any, collector: Collector) -> None:
    made = written()
    count = len(made.spans)
    for name in ("traces.jsonl", "logs.jsonl"):
        path = made.folder / name
        path.with_name(f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()

    assert send_files(made.folder) == []

    assert len(_spans(collector.messages("/v1/traces"))) == count
    assert collector.messages("/v1/logs")


def test_the_collector_gets_what_the_files_hold(written: Any, collector: Collector) -> None:
    made = written()

    assert send_files(made.folder) == []

    spans = _spans(collector.messages("/v1/traces"))
    sent = {span.span_id.hex(): span for span in spans}
    assert len(spans) == len(sent) == len(made.spans)
    for line in made.lines("spans"):
        for written_span in line["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            span = json_format.MessageToDict(sent[written_span["spanId"]])
            assert span["name"] == written_span["name"]
            assert _pairs(span) == _pairs(written_span)
            assert len(span.get("links", ())) == len(written_span.get("links", ()))
            assert [_pairs(e) for e in span.get("events", ())] == [
                _pairs(e) for e in written_span.get("events", ())
            ]
            for name in ("startTimeUnixNano", "endTimeUnixNano"):
                assert span[name] == written_span[name]
    (logs,) = collector.messages("/v1/logs")
    records = logs.resource_logs[0].scope_logs[0].log_records
    assert {r.event_name for r in records} == {"gen_ai.evaluation.result"}
    assert sorted(r.span_id.hex() for r in records) == sorted(r["spanId"] for r in made.logs)
    (metrics,) = collector.messages("/v1/metrics")
    names = {m.name: m for m in metrics.resource_metrics[0].scope_metrics[0].metrics}
    assert set(names) == set(made.metrics)
    assert sum(p.as_int for p in names["tunegate.cases"].sum.data_points) == 2
    resources = metrics.resource_metrics[0].resource.attributes
    assert {a.key: a.value.string_value for a in resources}["service.name"] == "tunegate"


def _pairs(item: dict[str, Any]) -> dict[str, str]:
    """Return attributes by name, their values as JSON."""
    return {a["key"]: json.dumps(a["value"], sort_keys=True) for a in item.get("attributes", ())}


def test_kinds_and_states_survive(written: Any, collector: Collector, recorded: Any) -> None:
    made = written()
    send_files(made.folder)
    sent = {s.span_id.hex(): s for s in _spans(collector.messages("/v1/traces"))}
    for span in made.spans:
        other = sent[span["spanId"]]
        assert other.kind == span["kind"]
        assert other.parent_span_id.hex() == span.get("parentSpanId", "")
        assert other.status.code == span.get("status", {}).get("code", 0)
        assert other.trace_id.hex() == span["traceId"]


def test_the_standard_variables_are_read(
    written: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc,x-team=ml")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/own/path")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gates-of-acme")

    assert send_files(written().folder) == []

    assert {path for path, _, _ in collector.requests} == {"/own/path", "/v1/logs", "/v1/metrics"}
    for _, headers, body in collector.requests:
        assert headers["authorization"] == "Basic abc"
        assert headers["x-team"] == "ml"
        assert headers["content-type"] == "application/x-protobuf"
        assert b"gates-of-acme" in body


def test_http_json_sends_the_files_as_they_are(
    written: Any,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    hide: Callable[[str], None],
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    hide("opentelemetry.proto.collector")  # it needs no package
    made = written()

    assert send_files(made.folder) == []

    for name in ("traces", "logs", "metrics"):
        ((headers, body),) = [(h, b) for p, h, b in collector.requests if p == f"/v1/{name}"]
        assert headers["content-type"] == "application/json"
        lines = (made.folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        whole, *more = map(json.loads, lines)
        ((key, (resource,)),) = whole.items()
        kind = key.removeprefix("resource")
        items = {"Spans": "spans", "Logs": "logRecords", "Metrics": "metrics"}[kind]
        for line in more:
            resource[f"scope{kind}"][0][items] += line[key][0][f"scope{kind}"][0][items]
        assert json.loads(body) == whole


@pytest.mark.parametrize("retry_after", ["", "0"])
def test_a_busy_collector_is_asked_again(
    written: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch, retry_after: str
) -> None:
    monkeypatch.setattr(sending, "_FIRST_WAIT", 0.01)
    results = [PostResult("HTTP 503", 503, retry_after)] * 3
    post = sending.post_once
    monkeypatch.setattr(
        sending, "post_once", lambda *args: results.pop() if results else post(*args)
    )
    made = written()

    assert send_files(made.folder) == []
    assert results == []
    assert len(_spans(collector.messages("/v1/traces"))) == len(made.spans)


def test_a_collector_that_stays_busy_is_given_up_in_time(
    written: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "400")
    collector.status = 503
    began = time.monotonic()

    (line,) = send_files(written().folder)

    assert "then no more: HTTP 503" in line
    assert time.monotonic() - began < 2
    assert len(collector.requests) > 1


def test_a_timeout_is_in_milliseconds(
    written: Any, hanging: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", hanging)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "200")
    began = time.monotonic()

    (line,) = send_files(written().folder)

    assert "spans went to" in line
    assert 0.2 <= time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TIMEOUT", "2.5", "OTEL_EXPORTER_OTLP_TIMEOUT='2.5' must be milliseconds"),
        ("TIMEOUT", "0", "OTEL_EXPORTER_OTLP_TIMEOUT='0' must be milliseconds"),
        ("COMPRESSION", "br", "OTEL_EXPORTER_OTLP_COMPRESSION='br' must be none or gzip"),
        ("TIMEOUT", "9" * 5000, "must be milliseconds"),
        ("HEADERS", "x-a=1,x b=2", "OTEL_EXPORTER_OTLP_HEADERS: 'X B' is no header"),
        ("HEADERS", "x-b=%0A", "OTEL_EXPORTER_OTLP_HEADERS: 'X-B' is no header"),
        ("HEADERS", "x-b=%E2%82%AC", "OTEL_EXPORTER_OTLP_HEADERS: 'X-B' is no header"),
        ("HEADERS", "=2", "OTEL_EXPORTER_OTLP_HEADERS: '' is no header"),
        ("CERTIFICATE", "no.pem", "OTEL_EXPORTER_OTLP_CERTIFICATE, "),
        ("ENDPOINT", "http://[::1", "OTEL_EXPORTER_OTLP_ENDPOINT must be http:// or https://"),
        ("ENDPOINT", "file:///etc/hosts", "OTEL_EXPORTER_OTLP_ENDPOINT must be http:// or"),
        ("ENDPOINT", "localhost:4318", "OTEL_EXPORTER_OTLP_ENDPOINT must be http:// or https://"),
    ],
)
def test_a_bad_variable_is_named(
    written: Any,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    message: str,
) -> None:
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)

    (line,) = send_files(written().folder)

    assert message in line
    assert collector.requests == []


def test_variables_of_a_signal_win_and_an_address_keeps_its_parts(
    written: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = collector.url.removeprefix("http://")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://ann:p%40w@{host}/otlp/?key=abc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=ml")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x-team=ops,authorization=Bearer%20t")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip")

    assert send_files(written().folder) == []

    headers = {path: told for path, told, _ in collector.requests}
    assert set(headers) == {f"/otlp/v1/{name}?key=abc" for name in ("traces", "logs", "metrics")}
    traces, logs, metrics = (
        headers[f"/otlp/v1/{n}?key=abc"] for n in ("traces", "logs", "metrics")
    )
    assert traces["x-team"] == metrics["x-team"] == "ml"
    assert traces["authorization"] == "Basic YW5uOnBAdw=="
    assert (logs["x-team"], logs["authorization"]) == ("ops", "Bearer t")
    assert "content-encoding" not in traces
    assert metrics["content-encoding"] == "gzip"


def test_certificates_of_both_sides_are_used(
    written: Any, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector's is checked by the named authority; the collector asks for ours."""
    pytest.importorskip("cryptography")
    authority, certificate, key = _certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority))
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    collector.server.socket = context.wrap_socket(collector.server.socket, server_side=True)
    port = collector.server.server_address[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"https://localhost:{port}")
    folder = written().folder

    (line,) = send_files(folder)
    assert "CERTIFICATE_VERIFY_FAILED" in line

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(authority))
    (line,) = send_files(folder)
    assert collector.requests == []

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(certificate))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", str(key))
    assert send_files(folder) == []
    assert len(collector.requests) == 3


def _certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Write a certificate of localhost that is its own authority, and its key."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "localhost.pem", folder / "localhost.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem, pem, secret


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_SDK_DISABLED": "true"},
        {f"OTEL_{name}_EXPORTER": "none" for name in ("TRACES", "LOGS", "METRICS")},
    ],
)
def test_nothing_is_sent_unasked(
    written: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    folder = written().folder
    if not variables:
        monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert send_files(folder) == []
    assert collector.requests == []


def test_large_runs_are_sent_in_parts(
    written: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "BATCH", 4)
    made = written()
    assert send_files(made.folder) == []
    parts = [len(_spans([message])) for message in collector.messages("/v1/traces")]
    assert len(parts) > 1
    assert sum(parts) == len(made.spans)


def _refused() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(name="hanging")
def _hanging() -> Iterator[str]:
    """Listen and never answer."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["refused", "hanging", "500", "401"])
def test_a_dead_collector_is_reported_in_a_line(
    written: Any,
    collector: Collector,
    hanging: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    monkeypatch.setattr(sending, "PATIENCE", 0.3)
    urls = {"refused": _refused(), "hanging": hanging}
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", urls.get(kind, collector.url))
    collector.status = int(kind) if kind.isdecimal() else 200
    folder = written().folder
    calls: list[str] = []
    original = sending._send

    def counted(target: Any, *rest: Any) -> Any:
        calls.append(target.signal.name)
        return original(target, *rest)

    monkeypatch.setattr(sending, "_send", counted)

    (line,) = send_files(folder)

    assert line.startswith("telemetry: 0 spans went to http://127.0.0.1:")
    assert line.endswith(f"; {folder / 'traces.jsonl'} has all: tunegate resend {folder}")
    assert json.loads((folder / "unsent.json").read_text(encoding="utf-8")) == {
        "TRACES": 0, "LOGS": 0, "METRICS": 0,
    }  # fmt: skip
    assert calls == ["TRACES"]
    assert capfd.readouterr() == ("", "")


def test_a_collector_that_stops_answering_is_given_up(
    written: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "BATCH", 1)
    monkeypatch.setattr(sending, "PATIENCE", 0.3)
    folder = written().folder

    class Slow(list[Any]):
        def append(self, item: Any) -> None:
            super().append(item)
            collector.delay_s = 3.0 if len(self) == 2 else 0.0

    collector.requests = Slow()
    (line,) = send_files(folder)
    assert "then no more" in line
    assert "telemetry: 0 spans" not in line


def test_the_sending_of_traces_is_not_traced(
    written: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instrumented HTTP clients read this key of OpenTelemetry's context."""
    context = pytest.importorskip("opentelemetry.context")
    told: list[Any] = []
    post = sending.post_once

    def noted(*args: Any) -> Any:
        told.append(context.get_value("suppress_instrumentation"))
        return post(*args)

    monkeypatch.setattr(sending, "post_once", noted)

    assert send_files(written().folder) == []
    assert told == [True, True, True]
    assert context.get_value("suppress_instrumentation") is None


def test_an_unknown_protocol_is_reported(
    written: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    (line,) = send_files(written().folder)
    assert "OTEL_EXPORTER_OTLP_PROTOCOL='grpc' must be http/protobuf or http/json" in line
    assert collector.requests == []


def test_a_missing_package_is_named(
    written: Any, collector: Collector, hide: Callable[[str], None]
) -> None:
    """The files are there all the same; the line says what to install."""
    folder = written().folder
    hide("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

    (line,) = send_files(folder)

    assert "pip install 'tunegate[otlp]'" in line
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/json" in line
    assert collector.requests == []


@pytest.fixture(name="hide")
def _hide(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes a module impossible to import."""

    def hide(name: str) -> None:
        import sys

        monkeypatch.setitem(sys.modules, name, None)

    return hide


def test_no_secret_of_an_address_is_shown(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PATIENCE", 0.2)
    host = _refused().removeprefix("http://")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://ann:pw@{host}?key=abc")
    (line,) = send_files(written().folder)
    assert f"http://{host}" in line
    assert not any(word in line for word in ("ann", "pw", "abc"))


def test_what_was_not_taken_is_sent_again(
    written: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "BATCH", 1)
    made = written()
    ids = sorted(span["spanId"] for span in made.spans)
    collector.fails_after = 1
    (line,) = send_files(made.folder)
    first = collector.accepted("/v1/traces")
    taken = len(_spans(first))
    noted = json.loads((made.folder / "unsent.json").read_text(encoding="utf-8"))
    assert 0 < taken < len(ids)
    assert noted == {"TRACES": taken, "LOGS": 0, "METRICS": 0}
    assert f"{taken} spans went to" in line

    collector.fails_after = None
    told = resend_files(made.folder)

    sent = [*_spans(first), *_spans(collector.accepted("/v1/traces")[len(first) :])]
    assert sorted(span.span_id.hex() for span in sent) == ids
    assert collector.messages("/v1/logs")
    assert collector.messages("/v1/metrics")
    assert f"{len(ids) - taken} spans went to {collector.url}" in told
    assert not (made.folder / "unsent.json").exists()


def test_only_all_sends_again_what_was_taken(written: Any, collector: Collector) -> None:
    made = written()
    assert send_files(made.folder) == []
    before = len(collector.requests)

    (line,) = resend_files(made.folder)
    assert "everything was sent" in line
    assert len(collector.requests) == before
    assert len(resend_files(made.folder, whole=True)) == 3
    ids = [span.span_id.hex() for span in _spans(collector.messages("/v1/traces"))]
    assert sorted(ids) == sorted(2 * [span["spanId"] for span in made.spans])


def test_a_collector_that_is_still_dead_is_an_error(
    written: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command fails, in one line, and what was noted stays; without an endpoint it says so."""
    made = written()
    collector.status = 401
    send_files(made.folder)
    with pytest.raises(BackendError, match="0 spans went to"):
        resend_files(made.folder)
    assert (made.folder / "unsent.json").is_file()

    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    with pytest.raises(UsageError, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        resend_files(made.folder)


def test_the_command_sends_a_run(
    written: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tunegate resend RUN --all`: exit code 0 and a line for each signal."""
    made = written()
    result = CliRunner().invoke(app, ["resend", str(made.folder), "--all"], catch_exceptions=False)

    assert result.exit_code == 0
    assert [line.split()[1] for line in result.output.splitlines()] == ["spans", "log", "metrics"]
    assert len(_spans(collector.messages("/v1/traces"))) == len(made.spans)


@pytest.mark.usefixtures("collector")
def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        resend_files(tmp_path / "RUN")
