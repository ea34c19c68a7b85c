"""Tables of trace stores: the calls are those of the same records in JSON.

The rows are recorded (`recorded/stores`): Phoenix's data frame and LangSmith's runs. Langfuse's CSV
is written here as its exporter does (transformStreamToCsv.ts): every value as JSON, all in quotes.
"""

from __future__ import annotations

import datetime
import gzip
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.telemetry.read.test_telemetry_read_stores import (
    STORES,
    WIRE,
    calls_in,
    observations,
    told,
)
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.suite.sources.traces import TraceSelection, collect_cases
from tunegate.harness.telemetry.read import read_spans
from tunegate.harness.telemetry.read.table_reader import (
    BROKEN,
    RAGGED,
    TRACES,
    UNKNOWN,
    is_trace_table,
)
from tunegate.harness.telemetry.read.trace_types import ImportReport

pandas = pytest.importorskip("pandas")
arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def rows_of(name: str) -> list[dict[str, Any]]:
    return list(map(json.loads, (STORES / name).read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet"])
def test_phoenix_frame(form: str, tmp_path: Path) -> None:
    frame = pandas.DataFrame(rows_of("phoenix-frame.jsonl"))
    for name in ("start_time", "end_time"):
        frame[name] = pandas.to_datetime(frame[name])
    path = tmp_path / f"spans.{form}"
    if form == "parquet":
        frame.drop(columns="events").to_parquet(path)  # pandas cannot write their empty attributes
    else:
        frame.to_csv(path)

    assert [told(c) for c in calls_in(path)] == [told(c) for c in calls_in(WIRE / "traces.jsonl")]


@pytest.mark.parametrize("nested", [False, True], ids=["as JSON", "as structures"])
def test_langsmith_parquet(nested: bool, tmp_path: Path) -> None:
    rows = rows_of("langsmith.jsonl")
    for row in rows:
        for name in ("start_time", "end_time"):
            row[name] = datetime.datetime.fromisoformat(row[name])
        for name in ("inputs", "outputs", "extra"):
            held = row.get(name)
            row[name] = held if nested and name == "extra" else json.dumps(held)
        if nested:  # pandas cannot write empty structures
            row["extra"]["metadata"].pop("usage_metadata", None)
            row["extra"]["metadata"].pop("ls_invocation_params", None)
        for name in ("events", "tags", "attachments"):
            row.pop(name, None)
    path = tmp_path / "runs.parquet"
    pandas.DataFrame(rows).to_parquet(path)

    assert [told(c) for c in calls_in(path)] == [
        told(c) for c in calls_in(STORES / "langsmith.jsonl")
    ]


def csv_of(rows: list[dict[str, Any]]) -> str:
    """Return rows as Langfuse writes them."""

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    def value(row: Mapping[str, Any], name: str) -> str:
        held = row.get(name)
        kept = "" if held is None else held
        return cell(json.dumps(kept, ensure_ascii=False, separators=(",", ":")))

    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(map(cell, names)), *(",".join(value(row, n) for n in names) for row in rows)]
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("form", ["csv", "plain.csv", "parquet"])
def test_langfuse_observations(form: str, tmp_path: Path) -> None:
    rows = observations(snake=form == "parquet")
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    path = tmp_path / f"langfuse.{form}"
    if form == "csv":
        path.write_text(csv_of(rows), encoding="utf-8")
    else:
        for row in rows:
            for name, value in row.items():
                row[name] = json.dumps(value) if isinstance(value, dict | list) else value
        frame = pandas.DataFrame(rows)
        frame.to_csv(path, index=False) if form == "plain.csv" else frame.to_parquet(path)

    assert [told(c) for c in calls_in(path)] == [told(c) for c in calls_in(tmp_path / "rows.json")]


def test_types_of_langfuses_clickhouse_tables(tmp_path: Path) -> None:
    """Map(String, UInt64), Decimal64(12), Map(String, Decimal64(12)), and texts as bytes."""
    (row, *_) = observations(snake=True)
    usage = arrow.array([[("input", 11), ("output", 9)]], arrow.map_(arrow.string(), arrow.int64()))
    held = {name: row[name] for name in ("id", "trace_id", "type", "start_time", "end_time")}
    columns = {name: arrow.array([value]) for name, value in held.items()}
    columns |= {"input": arrow.array(["Hi"]), "output": arrow.array([b"[1]"])}
    price = arrow.decimal128(18, 12)
    columns["total_cost"] = arrow.array([Decimal("0.25")], price)
    prices = arrow.map_(arrow.string(), price)
    columns["cost_details"] = arrow.array([[("total", Decimal("0.25"))]], prices)
    path = tmp_path / "rows.parquet"
    table = arrow.table({**columns, "usage_details": usage})
    parquet.write_table(table, path)

    (call,) = calls_in(path)

    assert (call.input_tokens, call.output_tokens) == (11, 9)
    assert (call.answer, call.cost) == ("[1]", 0.25)


@pytest.mark.parametrize("nested", ["[" * 50_000, "[" + "-" * 50_000 + "1]"])
def test_a_cell_with_endless_nesting_is_a_text(nested: str, tmp_path: Path) -> None:
    rows = [{**row, "metadata": nested} for row in observations(snake=False)]
    path = tmp_path / "langfuse.csv"
    path.write_text(csv_of(rows), encoding="utf-8")

    assert len(calls_in(path)) == len(rows)


@pytest.mark.parametrize(
    ("head", "reason", "is_export"),
    [
        ("id,timestamp,name,bookmarked,public,input,output,metadata", TRACES, True),
        ("timestamp,name,input", UNKNOWN, False),
        ("question,answer", UNKNOWN, False),
        ('"question" of a user,answer', UNKNOWN, False),
        ('"question,answer', UNKNOWN, False),
    ],
)
def test_a_table_without_requests_is_refused_once(
    head: str, reason: str, is_export: bool, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"{head}\n" + "x,y,z\n" * 3, encoding="utf-8")
    reading = ImportReport()

    assert not [*read_spans([path], reading)]
    assert {why: noted.count for why, noted in reading.left_out.items()} == {reason: 1}
    assert is_trace_table(path) is is_export
    with pytest.raises(SuiteError, match="no call to replay"):
        collect_cases([path], TraceSelection())


@pytest.mark.parametrize(("end", "reason"), [('","', RAGGED), (",", BROKEN)])
def test_a_row_that_was_cut_off_is_left_out(end: str, reason: str, tmp_path: Path) -> None:
    """Between two cells or in one; its answer would be half of what was said."""
    text = csv_of(observations(snake=False))
    path = tmp_path / "langfuse.csv"
    path.write_text(text[: text.rindex(end) + 1] + "\n", encoding="utf-8")
    reading = ImportReport()

    assert len([*read_spans([path], reading)]) == len(observations(snake=False)) - 1
    assert {why: noted.count for why, noted in reading.left_out.items()} == {reason: 1}


def test_a_damaged_table_keeps_what_came_before(tmp_path: Path) -> None:
    rows = [
        {**row, "id": f"{n}-{row['id']}"} for n in range(200) for row in observations(snake=False)
    ]
    whole = gzip.compress(csv_of(rows).encode())
    cut = tmp_path / "langfuse.csv.gz"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    torn = tmp_path / "spans.parquet"
    torn.write_bytes(b"PAR1" + b"x" * 40 + b"PAR1")
    reading = ImportReport()

    assert [*read_spans([cut, torn], reading)]
    assert len(reading.left_out) == 2
