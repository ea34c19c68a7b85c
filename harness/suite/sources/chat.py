"""Cases from a chat-format training file: the assistant's last message is the expected answer.

Reads `messages` (or `conversations` with `from` and `value`) and `prompt` with `completion`, in the
forms of TRL and OpenAI. Tool calls of the last turn become `expected_calls`.

Example:
    [cases]
    from = "chat"
    file = "held_out.jsonl"
    columns = { cluster = "customer", tags = ["topic"] }
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunegate.harness.records.cases import Case
from tunegate.harness.suite.sources._columns import Columns
from tunegate.harness.suite.sources._conversations import conversation_cases
from tunegate.harness.suite.sources._table import ALL_ROWS, RowSelection, RowTable

FORM = 'write one conversation a line: {"messages": [{"role": …, "content": …}, …]}'


def chat(
    folder: Path,
    *,
    file: str,
    columns: Columns | None = None,
    selection: RowSelection = ALL_ROWS,
) -> Iterator[Case]:
    """Yield one case a conversation.

    Args:
        folder: The suite's folder.
        file: Path from the suite's folder: JSON lines, or a `.json` file with a list.
        columns: Case field → another key of the lines, such as `id`, `tags` and `cluster`.
        selection: Which rows are taken.

    Raises:
        SuiteError: the file cannot be read, or conversations are broken (every one is listed).
    """
    table = RowTable.of_json(folder / file, form=FORM)
    yield from conversation_cases(table, columns, selection)
