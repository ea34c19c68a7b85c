"""Cases from the data of OpenAI's Evals: `input`, a chat or a text, and `ideal`, the right answer.

Example:
    [cases]
    from = "openai_evals"
    file = "samples.jsonl"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.records.cases import Case
from tunegate.harness.suite.sources import _conversations
from tunegate.harness.suite.sources._columns import Columns
from tunegate.harness.suite.sources._table import ALL_ROWS, RowSelection, RowTable, map_columns

FORM = 'write one case a line: {"input": [{"role": …, "content": …}], "ideal": …}'


def openai_evals(
    folder: Path,
    *,
    file: str,
    columns: Columns | None = None,
    selection: RowSelection = ALL_ROWS,
) -> Iterator[Case]:
    """Yield one case a line; any of several ideal answers counts.

    Args:
        folder: The suite's folder.
        file: Path from the suite's folder.
        columns: Case field → another key of the lines, such as `id`, `tags` and `cluster`.
        selection: Which rows are taken.

    Raises:
        SuiteError: the file cannot be read, or lines are broken (every one is listed).
    """
    table = RowTable.of_json(folder / file, form=FORM).with_fields(_fields)
    yield from map_columns(table, columns, selection, always=_conversations.PRODUCED)


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a case.

    Raises:
        ValueError: the line has a different form.
    """
    if "input" not in row:
        raise ValueError(
            f"no 'input' among {', '.join(row)}; from = \"jsonl\" with columns reads other forms"
        )
    conversation = row["input"]
    fields = {**dict.fromkeys(_conversations.PRODUCED), "expected": row.get("ideal")}
    if isinstance(conversation, str):
        return {**fields, "prompt": conversation}
    return {
        **fields,
        **_conversations.prompt_fields(_conversations.conversation_turns(conversation)),
    }
