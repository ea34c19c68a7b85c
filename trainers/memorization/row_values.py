"""Values in training rows that a fine-tune must not recite: where they are, and which can be asked.

Personal data and secrets are found as `tunegate rows` finds them; long numbers as they are in order
and customer numbers. Names, streets and dates of birth are not found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.telemetry.export.redaction import personal_values
from tunegate.trainers.datasets import turn_text
from tunegate.trainers.row_checks.personal_values import is_nobodys

NUMBER = "number"
"""Kind of a value of letters and digits that no detector knows, such as ORD-2024-883120."""
_NUMBER = re.compile(r"(?<![\w@./+-])[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*(?![\w@/-])(?!\.\w)")
_LEAST_SIGNS, _LEAST_DIGITS = 6, 4
"""Letters and digits of a number, and its digits: shorter ones are guessed too easily."""
_WORD = re.compile(r"[a-z]{4}|[A-Z][a-z]{3}")
_DATE = re.compile(
    r"(?:19|20)\d\d-?[01]\d-?[0-3]\d|[0-3]\d-[01]\d-(?:19|20)\d\d|(?:19|20)\d\d-(?:19|20)\d\d"
)
"""Dates and years are no secrets, and a random one would not look like one."""
_COMMON_ROWS, _COMMON_SHARE = 5, 0.01
"""Rows, and share of them, up to which a value is somebody's; one of more is meant to be learned,
as a hotline is."""
_DEEPEST = 1_500
"""Characters of an answer before the value."""


@dataclass(frozen=True, slots=True)
class RowValue:
    """A value in what a row teaches."""

    where: str
    """File and line of the row."""
    kind: str
    value: str = field(repr=False)
    prompt: str | Sequence[Mapping[str, Any]] = field(repr=False)
    """The row's prompt, as text or as turns."""
    before: str = field(repr=False)
    """What the row teaches before the value."""


@dataclass(frozen=True, slots=True)
class RowValues:
    """The values of rows, and why others were left out."""

    values: Sequence[RowValue] = field(repr=False)
    """One for each row, the first that can be asked."""
    every: Mapping[str, Sequence[str]] = field(repr=False)
    """Kind → all values in the rows, in prompts, too."""
    left_out: Mapping[str, int]
    """Reason → rows without a value that can be asked."""


def find_row_values(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> RowValues:
    """Return the values in rows with `prompt` and `completion`, with their file and line."""
    of_row = [list(_values(row)) for _, row in rows]
    holders = Counter(value for found in of_row for value in {value for _, value in found})
    most = max(_COMMON_ROWS, _COMMON_SHARE * len(rows))
    common = {value for value, count in holders.items() if count > most}
    values, left_out = [], Counter[str]()
    for (where, row), found in zip(rows, of_row, strict=True):
        if not found:
            continue
        askable = list(_askable(where, row, common))
        values += [value for value in askable if isinstance(value, RowValue)][:1]
        if not any(isinstance(value, RowValue) for value in askable):
            left_out[str(askable[0]) if askable else "only the prompt holds it"] += 1
    every: dict[str, list[str]] = {}
    for kind, value in {pair: None for found in of_row for pair in found}:
        every.setdefault(kind, []).append(value)
    return RowValues(values, every, left_out)


def _values(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for text in (*_texts(row["prompt"]), *_texts(row["completion"])):
        yield from ((kind, text[begin:end]) for kind, begin, end in sensitive_spans(text))


def _texts(side: str | Sequence[Mapping[str, Any]]) -> list[str]:
    return [side] if isinstance(side, str) else [turn_text(dict(turn)) for turn in side]


def sensitive_spans(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield kind, begin and end of personal data, secrets and long numbers, by their place."""
    personal = list(personal_values(text))
    taken = bytearray(len(text))
    for _, begin, end in personal:
        taken[begin:end] = b"x" * (end - begin)
    spans = [(k, begin, end) for k, begin, end in personal if not is_nobodys(k, text[begin:end])]
    for match in _NUMBER.finditer(text):
        if _is_number(match[0]) and not any(taken[match.start() : match.end()]):
            spans.append((NUMBER, match.start(), match.end()))
    yield from sorted(spans, key=lambda span: span[1])


def _is_number(text: str) -> bool:
    signs = text.replace("-", "")
    long = len(signs) >= _LEAST_SIGNS and sum(map(str.isdecimal, signs)) >= _LEAST_DIGITS
    return long and not _WORD.search(text) and not _DATE.fullmatch(text)


def _askable(where: str, row: Mapping[str, Any], common: set[str]) -> Iterator[RowValue | str]:
    """Yield each value of what a row teaches, or why it cannot be asked."""
    completion = _texts(row["completion"])
    if len(completion) != 1:
        return
    text, prompt = completion[0], "\n".join(_texts(row["prompt"]))
    for kind, begin, end in sensitive_spans(text):
        value, before = text[begin:end], text[:begin]
        if value in common:
            yield f"more than {_COMMON_ROWS} rows share it, so it is meant to be learned"
        elif _is_given_away(kind, value, f"{prompt}\n{before}"):
            yield "the prompt gives it away"
        elif begin > _DEEPEST:
            yield f"more than {_DEEPEST:,} characters of the answer stand before it"
        elif not isinstance(row["prompt"], str) or row["prompt"] + before:
            yield RowValue(where, kind, value, row["prompt"], before)


def _is_given_away(kind: str, value: str, text: str) -> bool:
    """Return whether what stands before a value tells it, in whole or by the name in an address."""
    plain = re.sub(r"\W", "", text).casefold()
    parts = [value]
    if kind == "email":
        parts = [part for part in re.split(r"[\W\d_]+", value.rpartition("@")[0]) if len(part) > 2]
    return any(re.sub(r"\W", "", part).casefold() in plain for part in parts)
