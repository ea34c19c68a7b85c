"""The source contract: options of the `[cases]` table → cases, each with the place it came from.

A source is a function `<x>(folder, *, options…) -> Iterator[SourcedCase]` in
`harness/sources/<x>.py`, its options annotated as those of a metric are. It collects the problems
of all lines and raises one `SuiteError`, so that one edit mends them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.form import schema_problems
from harness.records import Case, readable, sha256


@dataclass(frozen=True, slots=True)
class SourcedCase:
    """A case and the file and line it came from."""

    case: Case
    where: str


def make_case(row: Mapping[str, Any]) -> Case:
    """Turn a row in the form of case.schema.json into a Case.

    A letter in `answer` becomes an index, an absent `id` the hash of the content, half of a
    surrogate pair U+FFFD.

    Raises:
        ValueError: what is wrong, in words, without the place.
    """
    fields: dict[str, Any] = readable(dict(row))
    problems = schema_problems(fields, "case")
    if problems:
        raise ValueError("; ".join(problems))
    if isinstance(fields.get("answer"), str):
        fields["answer"] = ord(fields["answer"]) - ord("A")
    if "answer" in fields and fields["answer"] >= len(fields["choices"]):
        raise ValueError(
            f"answer={row['answer']!r} names no choice: there are {len(fields['choices'])}"
        )
    fields.setdefault("id", sha256(readable(dict(row)))[:12])
    return Case.model_validate(fields)
