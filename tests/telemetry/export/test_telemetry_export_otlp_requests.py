"""Bodies of OTLP requests, against protobuf's own reader of JSON."""

from __future__ import annotations

import base64
import json
import re
from importlib import import_module
from typing import Any

import pytest
from google.protobuf import json_format

from tunegate.harness.telemetry.export.content import ContentCapture
from tunegate.harness.telemetry.export.otlp_requests import (
    encode_json,
    encode_protobuf,
    read_batches,
)


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        ("traces", "trace.v1.trace_pb2", "TracesData"),
        ("logs", "logs.v1.logs_pb2", "LogsData"),
        ("metrics", "metrics.v1.metrics_pb2", "MetricsData"),
    ],
)
def test_protobuf_says_what_the_json_says(
    written: Any, name: str, module: str, message: str
) -> None:
    """A request has the same fields and numbers as the data in a file, so that one reads both."""
    kind = getattr(import_module(f"opentelemetry.proto.{module}"), message)
    path = written(ContentCapture()).folder / f"{name}.jsonl"
    batches = list(read_batches(path, 1))
    assert len(batches) == len(path.read_text(encoding="utf-8").splitlines())

    for _, request in batches:
        text = re.sub(
            r'("(?:traceId|spanId|parentSpanId)":)"([0-9a-f]+)"',
            lambda found: found[1] + json.dumps(base64.b64encode(bytes.fromhex(found[2])).decode()),
            encode_json(request).decode(),
        )
        assert kind.FromString(encode_protobuf(request)) == json_format.Parse(text, kind())
