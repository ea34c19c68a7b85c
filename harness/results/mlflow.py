"""Results of `mlflow.genai.evaluate`: its `result_df`, which the user saves.

    result.result_df.to_json("tuned.jsonl", orient="records", lines=True)

Columns `NAME/value` are scores, with `NAME/error_message` if a scorer raised. Expectations have
such columns, too, but `assessments` lists them as expectations. A call whose `state` is not OK is
unscored. The id is `client_request_id` or else the hash of the request: trace ids are random.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    ScoreTraits,
    content_id,
    result_reader,
    value_at,
)
from tunegate.harness.records.errors import MissingExtra, UsageError
from tunegate.harness.results._files import TABLES, table_records
from tunegate.harness.results._values import (
    convert_scores,
    is_conversation,
    read_rows,
    row_fields,
    text_of,
)

ENDING = "/value"
JUDGES = ("LLM_JUDGE", "AI_JUDGE")
"""Sources of an assessment that are models."""


def _is_mlflow(path: Path) -> bool:
    if path.suffix not in TABLES or not path.is_file():
        return False
    try:
        _, first = next(table_records(path), ("", None))
    except (UsageError, MissingExtra):
        return False
    if not isinstance(first, dict) or "trace_id" not in first:
        return False
    return any(name.endswith(ENDING) for name in first)


@result_reader(files="result_df of mlflow.genai.evaluate as a table", recognize=_is_mlflow)
def mlflow(path: Path) -> Iterator[ResultLog]:
    """Yield the run of a table."""
    if path.suffix in {".csv", ".tsv"}:
        raise UsageError(
            f"{path}: a table of MLflow holds objects, which CSV does not keep; save it by "
            f'result_df.to_json("{path.stem}.jsonl", orient="records", lines=True)'
        )
    records = (record for _, record in table_records(path) if isinstance(record, dict))
    judged = {name for record in records for name, _ in _judges(record)}
    traits = {name: ScoreTraits(deterministic=False) for name in judged}
    yield ResultLog(tool="mlflow", rows=lambda: read_rows(table_records(path), _row), traits=traits)


def _row(where: str, record: Mapping[str, Any]) -> ResultRow:
    request, response = _json(record.get("request")), _json(record.get("response"))
    if request is None:
        raise ValueError("no request; save the whole result_df")
    expectations = _expectations(record)
    columns = [column.removesuffix(ENDING) for column in record if column.endswith(ENDING)]
    names = [name for name in columns if name not in expectations]
    scores, errors = convert_scores(
        {name: record[name + ENDING] for name in names},
        {name: record.get(f"{name}/error_message") for name in names},
    )
    turns = value_at(request, "messages")
    state = text_of(record.get("state"))
    return ResultRow(
        id=text_of(record.get("client_request_id")) or content_id(request),
        where=where,
        prompt=turns if is_conversation(turns) else text_of(request),
        completion=text_of(response),
        scores=scores,
        errors=errors,
        error=f"the call ended in state {state}" if state not in {None, "", "OK"} else None,
        expected=text_of(expectations.get("expected_response")),
        rules={f"expectation {n}": v for n, v in expectations.items() if n != "expected_response"},
        score_rules=dict(_judges(record)),
        fields={**record, "request": request, "response": response},
        **row_fields(record, latency_ms="execution_duration"),
    )


def _json(raw: Any) -> Any:
    """Return a value; parquet may hold objects as JSON text."""
    if not isinstance(raw, str):
        return raw
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw


def _judges(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each score that a model gave, and the model."""
    for each in _assessments(record):
        if value_at(each, "source.source_type") in JUDGES:
            yield str(value_at(each, "assessment_name")), value_at(each, "source.source_id")


def _assessments(record: Mapping[str, Any]) -> list[Any]:
    several = _json(record.get("assessments"))
    return several if isinstance(several, list) else []


def _expectations(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the data expects: name → value."""
    expectations = {}
    for each in _assessments(record):
        value = value_at(each, "expectation.value")
        if value is not None:
            expectations[str(value_at(each, "assessment_name"))] = value
    if not expectations:
        names = [column.removesuffix(ENDING) for column in record if column.endswith(ENDING)]
        expectations = {
            name: record[name + ENDING] for name in names if name.startswith("expected_")
        }
    return expectations
