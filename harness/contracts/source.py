"""The source contract: options of the `[cases]` table → cases, each with its file and line.

A source is a function `<x>(folder, *, options…) -> Iterator[Case]` in
`harness/suite/sources/<x>.py`, with annotated options like a metric's. It raises one `SuiteError`
with the problems of all lines, so that one edit fixes them all. A source that leaves rows out
returns `NotedCases`, which counts them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.contracts.json_schema import case_validator, schema_problems
from tunegate.harness.records.cases import Case
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.problems import short_value
from tunegate.harness.records.record import replace_surrogates

SHOWN = 5
"""Notes on the cases that a run shows."""


@dataclass(frozen=True, slots=True)
class NotedCases:
    """Cases with notes on the rows that were read and left out."""

    cases: tuple[Case, ...]
    notes: tuple[str, ...]
    """Numbers of rows read and left out, with reasons."""

    def __iter__(self) -> Iterator[Case]:
        """Yield the cases."""
        return iter(self.cases)


def summarize_notes(notes: Sequence[str]) -> tuple[str, ...]:
    """Return the first notes, and where to see the others."""
    more = len(notes) - SHOWN
    if more <= 1:
        return tuple(notes)
    return (*notes[:SHOWN], f"… and {more} more lines; `tunegate suite check` shows them")


USUAL_NAMES = {
    "id": ("id", "uid", "case_id", "nr"),
    "prompt": ("prompt", "question", "instruction", "query", "input", "text", "ticket",
               "utterance", "user_input", "message", "request", "sentence", "review", "email",
               "problem", "source", "article"),
    "expected": ("expected", "answer", "expected_output", "output", "response", "completion",
                 "label", "target", "reference", "ideal", "expected_answer", "intent", "class",
                 "gold", "ground_truth", "solution", "reply", "summary", "sentiment", "sql"),
    "context": ("context", "passage", "document"),
    "tags": ("tags", "tag", "topic", "category", "subject"),
    "cluster": ("cluster", "customer", "customer_id", "group", "title"),
}  # fmt: skip
"""Case field → what it is often called, the likeliest first."""


def _misnamed(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of a row that look like a field which it lacks."""
    fields = {name: field for field, usual in USUAL_NAMES.items() for name in usual}
    properties = case_validator().schema["properties"]
    for key in row:
        field = fields.get(key.lower())
        is_text = key == "answer" and "choices" not in row and isinstance(row[key], str)
        is_other = key not in properties or is_text
        taken = field in row or (field == "prompt" and "messages" in row)
        if field is not None and is_other and not taken:
            yield (
                f"the key {key!r}: did you mean {field!r}? Rename it, or write under [cases]: "
                f"columns = {{ {field} = {json.dumps(key)}, … }}"
            )


def make_case(row: Mapping[str, Any], where: str = "") -> Case:
    """Turn a row in the form of case.schema.json into a Case.

    A letter in `answer` becomes an index, an absent `id` the hash of the content, half of a
    surrogate pair U+FFFD.

    Args:
        row: The row.
        where: File and line of the row, which messages about the case name.

    Raises:
        ValueError: what is wrong, in words, without the place.
    """
    fields: dict[str, Any] = replace_surrogates(dict(row))
    problems = [*_misnamed(fields)] or schema_problems(fields, case_validator())
    if problems:
        turns = isinstance(fields.get("prompt"), list)
        hint = "; a list of turns is called `messages`" if turns else ""
        if isinstance(fields.get("expected"), dict):
            as_text = short_value(json.dumps(fields["expected"], ensure_ascii=False))
            hint += f"; write the object as a text, {as_text}: json_fields compares it by key"
        raise ValueError("; ".join(problems) + hint)
    if (fields.get("messages") or [{}])[-1].get("role") == "assistant":
        raise ValueError(
            "messages: the assistant's turn at the end would be part of the question; move it to "
            '`expected`, as from = "chat" (of a parquet file chat = true) does'
        )
    if isinstance(fields.get("answer"), str):
        fields["answer"] = ord(fields["answer"]) - ord("A")
    if "answer" in fields and fields["answer"] >= len(fields["choices"]):
        raise ValueError(
            f"answer={row['answer']!r} names no choice: there are {len(fields['choices'])}"
        )
    fields.setdefault("id", sha256(replace_surrogates(dict(row)))[:12])
    return Case.model_validate(fields).with_place(where)
