"""traces.jsonl, logs.jsonl, metrics.jsonl: OTLP/JSON that other tools read."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from tunegate.harness.records import manifest
from tunegate.harness.records.cases import Case
from tunegate.harness.telemetry.export import FILE_NAMES, find_file, write_traces
from tunegate.harness.telemetry.export.content import ContentCapture
from tunegate.harness.telemetry.read import read_spans
from tunegate.harness.telemetry.read.trace_types import ImportReport

ODD = "half \ud800, NUL \x00, ANSI \x1b[31m, bidi \u202e, BOM \ufeff, \U0001f600, \u2028"


def _parsed(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield (file, message) of every line, read by protobuf's own JSON reader."""
    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
    from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    for name, kind in zip(FILE_NAMES, (TracesData, LogsData, MetricsData), strict=True):
        text = (folder / name).read_text(encoding="utf-8")
        assert text.endswith("\n")
        for line in text.splitlines():
            yield name, json_format.Parse(line, kind(), ignore_unknown_fields=False)


@pytest.mark.parametrize("content", [None, ContentCapture()])
def test_every_line_is_what_its_file_holds(written: Any, content: ContentCapture | None) -> None:
    folder = written(content).folder
    found = list(_parsed(folder))

    assert [name for name, _ in found] == [
        "traces.jsonl", "traces.jsonl", "traces.jsonl", "logs.jsonl", "logs.jsonl", "metrics.jsonl",
    ]  # fmt: skip
    for name, message in found:
        (outer,) = message.ListFields()
        for resource in outer[1]:
            told = {a.key: a.value.string_value for a in resource.resource.attributes}
            assert told == {"service.name": "tunegate", "service.version": "0.1.0"}, name


def test_protobuf_reads_what_was_meant(written: Any) -> None:
    (_, message), *_ = _parsed(written().folder)
    spans = {s.name: s for s in reversed(message.resource_spans[0].scope_spans[0].spans)}
    base = spans["chat models/base"]
    told = {a.key: a.value for a in base.attributes}

    assert base.start_time_unix_nano == 1_700_000_000_250_000_000
    assert base.end_time_unix_nano == 1_700_000_000_750_000_000
    assert told["gen_ai.usage.input_tokens"].int_value == 7
    assert told["gen_ai.request.temperature"].double_value == 0.5
    assert told["tunegate.cache.hit"].WhichOneof("value") == "bool_value"
    assert base.kind == base.SPAN_KIND_INTERNAL
    assert spans["chat big"].kind == base.SPAN_KIND_CLIENT
    assert list(base.events) == []  # scores are log records


def test_ids_are_lower_case_hex(written: Any) -> None:
    made = written()
    links = [link for span in made.spans for link in span.get("links", ())]
    assert links
    for item in [*made.spans, *links, *made.logs]:
        assert re.fullmatch("[0-9a-f]{32}", item["traceId"])
        assert re.fullmatch("[0-9a-f]{16}", item["spanId"])
    ids = [span["spanId"] for span in made.spans]
    assert len(set(ids)) == len(ids)


def test_odd_texts_in_every_field_parse(written: Any, recorded: Any) -> None:
    case = Case(id="c1", prompt=ODD, tags=(ODD,), tools=({"name": ODD, "parameters": {ODD: ODD}},))
    arms = {"base": {"spec": ODD, "backend": "hf"}, "tuned": {"spec": "x", "engine": ODD}}
    changed = recorded.manifest.model_copy(update={"arms": arms})

    made = written(ContentCapture(), manifest=changed, cases={("s", "c1"): case})

    assert len(list(_parsed(made.folder))) == 6
    said = next(iter(made.cells.values()))["values"]["gen_ai.input.messages"]
    (message,) = json.loads(said)
    assert message["parts"][0]["content"] == ODD.replace("\ud800", "\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_left_out(
    written: Any, recorded: Any, number: float
) -> None:
    arms = recorded.manifest.arms
    arms = {**arms, "base": {**arms["base"], "dtype": number}}
    changed = recorded.manifest.model_copy(update={"arms": arms})

    made = written(manifest=changed)

    assert len(list(_parsed(made.folder))) == 6
    spans = [s["values"] for s in made.cells.values() if s["values"]["tunegate.arm"] == "base"]
    assert spans
    assert all("tunegate.dtype" not in values for values in spans)
    assert all(values["error.type"] for values in spans)
    assert spans[0]["error.type"] == "non_finite"


def test_writing_again_gives_the_same_bytes(written: Any) -> None:
    first = [(written().folder / name).read_bytes() for name in FILE_NAMES]
    assert [(written().folder / name).read_bytes() for name in FILE_NAMES] == first


def test_a_run_without_answers_has_a_span(written: Any) -> None:
    made = written(cells=())
    (root,) = made.spans
    assert root["name"] == "eval run s"
    assert int(root["startTimeUnixNano"]) == 1_795_478_400_000_000_000  # 2026-11-24 UTC
    assert made.logs == []


def test_records_are_read_as_they_come(tmp_path: Path, recorded: Any) -> None:
    sizes = []

    class Watched:
        def __iter__(self) -> Iterator[Any]:
            for number in range(300):
                if number % 100 == 0:
                    sizes.append(sum(p.stat().st_size for p in tmp_path.iterdir()))
                yield replace(
                    recorded.cells[0],
                    cell=replace(recorded.cells[0].cell, case=f"c{number}"),
                )

    write_traces(tmp_path, replace(recorded, cells=Watched()))

    assert 0 == sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3"),
        ("OTEL_METRICS_EXPORTER", "none"),
    ],
)
def test_the_environment_does_not_thin_the_record(
    written: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    before = [(written().folder / file).read_bytes() for file in FILE_NAMES]
    monkeypatch.setenv(name, value)
    assert [(written().folder / file).read_bytes() for file in FILE_NAMES] == before


def test_disabled_opentelemetry_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: Any
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert write_traces(tmp_path, recorded) is None
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_files(
    written: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written().folder
    before = {name: (folder / name).read_bytes() for name in FILE_NAMES}

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        written(scores=())

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_files_of_many_answers_are_compressed(
    written: Any, recorded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {
        name: (written().folder / name).read_bytes() for name in ("traces.jsonl", "logs.jsonl")
    }
    folder = tmp_path / "packed"
    folder.mkdir()
    monkeypatch.setattr(manifest, "PACKED_FROM", len(recorded.manifest.plan))

    paths = [write_traces(folder, recorded) for _ in range(2)]

    assert paths == [folder / "traces.jsonl.gz"] * 2
    packed = {name: (folder / f"{name}.gz").read_bytes() for name in plain}
    assert {name: gzip.decompress(data) for name, data in packed.items()} == plain
    write_traces(folder, recorded)
    assert {name: (folder / f"{name}.gz").read_bytes() for name in plain} == packed
    spans = [
        list(read_spans([where], ImportReport())) for where in (tmp_path / "traces.jsonl", folder)
    ]
    names = [[(s.span_id, len(s.events)) for s in found] for found in spans]
    assert names[0] == names[1] != []
    assert find_file(folder, "logs.jsonl") == folder / "logs.jsonl.gz"
