r"""Cases from DeepEval's goldens or test cases: JSON, JSON lines or CSV.

`input` is the prompt, `expected_output` the right answer, `context` or `retrieval_context` the
context, and `expected_tools` become `expected_calls`. To put the context into the prompt, write
`columns = { prompt = "{context}\n\n{input}" }`. Multi-turn goldens are refused.

Example:
    [cases]
    from = "deepeval"
    file = "goldens.json"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tunegate.harness.records.cases import Case
from tunegate.harness.suite.sources import _conversations, _text
from tunegate.harness.suite.sources._columns import Columns
from tunegate.harness.suite.sources._table import ALL_ROWS, RowSelection, RowTable, map_columns

FORM = 'expected is a list of goldens: [{"input": …, "expected_output": …}, …]'
PRODUCED = ("prompt", "expected", "context", "expected_calls")


def deepeval(
    folder: Path,
    *,
    file: str,
    context_delimiter: Annotated[str, Field(min_length=1)] = "|",
    columns: Columns | None = None,
    selection: RowSelection = ALL_ROWS,
) -> Iterator[Case]:
    """Yield one case a golden.

    Args:
        folder: The suite's folder.
        file: Path from the suite's folder: `.json`, `.jsonl` or `.csv`.
        context_delimiter: Separator of the parts of a context in a CSV file; DeepEval writes "|".
        columns: Case field → another key of the goldens, such as `id`, `tags` and `cluster`.
        selection: Which rows are taken.

    Raises:
        SuiteError: the file cannot be read, or goldens are broken (every one is listed).
    """
    path = folder / file
    if path.suffix == ".csv":
        table = RowTable.of(str(path), _text.csv_rows(path, ",")[1])
    else:
        table = RowTable.of_json(path, form=FORM)
    cases = table.with_fields(partial(_fields, delimiter=context_delimiter))
    yield from map_columns(cases, columns, selection, always=PRODUCED)


def _fields(row: Mapping[str, Any], *, delimiter: str) -> dict[str, Any]:
    """Return the fields of a case.

    Raises:
        ValueError: it is not a golden of one turn.
    """
    if "scenario" in row or "turns" in row:
        raise ValueError("a multi-turn golden has no answer to compare with; leave it out")
    if "input" not in row:
        raise ValueError(f"no 'input' among {', '.join(row)}")
    contexts = (_join_context(row.get(key), delimiter) for key in ("context", "retrieval_context"))
    return {
        "prompt": row["input"],
        "expected": row.get("expected_output"),
        "context": next(filter(None, contexts), None),
        "expected_calls": _calls(row.get("expected_tools")),
    }


def _join_context(context: Any, delimiter: str) -> str | None:
    """Return the parts of a context, a list or one text with delimiters, as paragraphs."""
    parts = context.split(delimiter) if isinstance(context, str) else context or []
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"context {context!r:.60} must be a list of texts")
    return "\n\n".join(part for part in parts if part) or None


def _calls(tools: Any) -> list[dict[str, Any]] | None:
    """Return DeepEval's tool calls in our form."""
    if isinstance(tools, str) and tools:
        tools = _text.json_value(tools)
    if not tools:
        return None
    if not isinstance(tools, list):
        raise ValueError(f"expected_tools {tools!r:.60} must be a list of calls")
    return [_conversations.expected_call(tool, arguments="input_parameters") for tool in tools]
