"""Cases from a chat-format training file: what the assistant said last is what is expected.

Read are the forms of TRL and of OpenAI's fine-tuning: `messages` (also `conversations` with `from`
and `value`), of which the last turn is `expected` and those before it are the prompt, and `prompt`
with `completion`, as texts or as turns. `tools` are taken over; tool calls of the last turn become
`expected_calls`, which are empty where tools were offered and none was called.

Example:
    [cases]
    from = "chat"
    file = "held_out.jsonl"
    columns = { cluster = "customer", tags = ["topic"] }
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.source import SourcedCase
from harness.sources import _text, _turns
from harness.sources._columns import Columns
from harness.sources._table import Count, Part, Table, mapped, rewritten

FORM = 'write one conversation a line: {"messages": [{"role": …, "content": …}, …]}'


def chat(
    folder: Path,
    *,
    file: str,
    columns: Columns | None = None,
    limit: Count | None = None,
    sample: Count | None = None,
    seed: int = 0,
) -> Iterator[SourcedCase]:
    """Yield one case a conversation.

    Args:
        folder: The suite's folder.
        file: Path from the suite's folder: JSON lines, or a `.json` file with a list.
        columns: Case field → further key of the lines, such as `id`, `tags` and `cluster`.
        limit: The first so many conversations.
        sample: So many, drawn by seed.
        seed: Seed of the draw.

    Raises:
        SuiteError: the file cannot be read, or conversations are broken: every one with its line.
    """
    path = folder / file
    rows = list(rewritten(_text.json_rows(path, form=FORM), _fields))
    part = Part(limit, sample, seed)
    yield from mapped(Table.of(str(path), rows), columns, part, always=_turns.PRODUCED)


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a case.

    Raises:
        ValueError: the line has none of the forms, or does not end with an answer.
    """
    tools = row.get("tools") or None
    fields = {**dict.fromkeys(_turns.PRODUCED), "tools": tools}
    for key in ("messages", "conversations"):
        if key in row:
            found = _turns.turns(row[key])
            if found[-1]["role"] != "assistant":
                raise ValueError(
                    f"ends with the turn of {found[-1]['role']!r}; the last turn must be the "
                    "assistant's, since it is what is expected"
                )
            return {**fields, **_turns.asked(found[:-1]), **_answered(found[-1], tools)}
    if {"prompt", "completion"} <= set(row):
        prompt, completion = row["prompt"], row["completion"]
        if isinstance(prompt, str) and isinstance(completion, str):
            return {**fields, "prompt": prompt, "expected": completion.strip()}
        said = _turns.turns(completion)
        if len(said) != 1:
            raise ValueError(f"a completion of {len(said)} turns; one is judged at a time")
        return {**fields, **_turns.asked(_turns.turns(prompt)), **_answered(said[0], tools)}
    raise ValueError(
        f"neither 'messages' nor 'prompt' and 'completion' among {', '.join(row)}; "
        'from = "jsonl" with columns reads other forms'
    )


def _answered(turn: Mapping[str, Any], tools: Any) -> dict[str, Any]:
    """Return what is expected; where tools were offered and none was called, that none is."""
    fields = _turns.answered(turn)
    return {**fields, "expected_calls": fields["expected_calls"] or ([] if tools else None)}
