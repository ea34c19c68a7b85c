"""Strict JSON parsing of model output: no NaN, no Infinity, no duplicate keys.

RFC 8259 does not define repeated keys and has no NaN; Python's `json` accepts both silently. Here
they are errors, so that two readers never see different answers.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

Extract = Literal["fence", "prose"]
"""Where JSON may be, besides the whole text: in a ``` fence, or anywhere, fences first."""

_MAX_DIGITS = 4300
"""Digits of the longest integer that Python turns into a number (its own default limit)."""


class UnreadableJson(ValueError):
    """A text that is not one JSON value; the message gives place and cause."""


@dataclass(frozen=True, slots=True)
class LocatedJson:
    """A JSON value and its place in the completion."""

    value: Any
    text: str
    """The characters that were read."""
    where: str | None = None
    """`a ``` fence` or `the text around it`; None if the whole text is JSON."""

    @property
    def source(self) -> str | None:
        """Addition to a reason if the JSON was not the whole text."""
        return f"JSON taken from {self.where}" if self.where else None


def parse_json(text: str) -> Any:
    """Return the value of `text`, which must be JSON from its first character to its last.

    Raises:
        UnreadableJson: it is not.
    """
    if not text.strip():
        raise UnreadableJson("the text is empty")
    with _readable_errors():
        return json.loads(text, **_HOOKS)


def read_first(text: str, start: int) -> tuple[Any, int]:
    """Return the JSON value that starts at `start`, and where it ends.

    Raises:
        UnreadableJson: no JSON value starts there.
    """
    with _readable_errors():
        return _DECODER.raw_decode(text, start)


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except json.JSONDecodeError as error:
        raise UnreadableJson(f"{error.msg} at line {error.lineno} column {error.colno}") from error
    except RecursionError as error:
        raise UnreadableJson("nested too deeply to be read") from error


def find_json(text: str, extract: Extract | None = None) -> LocatedJson:
    """Return the JSON of a completion: the whole text, or a part of it if `extract` allows that.

    `fence` tries each ``` fence; `prose` also tries the text from the first opening bracket to the
    last closing one of the same kind. Each part is read once, so the time is linear in the text.

    Raises:
        UnreadableJson: none was found; the message is about the whole text.
    """
    try:
        return LocatedJson(parse_json(text), text)
    except UnreadableJson:
        for part, where in _parts(text, extract):
            try:
                return LocatedJson(parse_json(part), part, where)
            except UnreadableJson:
                continue
        raise


def _parts(text: str, extract: Extract | None) -> Iterator[tuple[str, str]]:
    for block in text.split("```")[1::2] if extract else ():
        yield _drop_language(block), "a ``` fence"
    brackets = ("{}", "[]") if extract == "prose" else ()
    for start, pair in sorted((text.find(pair[0]), pair) for pair in brackets if pair[0] in text):
        end = text.rfind(pair[1])
        if end > start:
            yield text[start : end + 1], "the text around it"


def _drop_language(block: str) -> str:
    """Drop the word after the opening ```: `json` and the like."""
    first, newline, rest = block.partition("\n")
    if newline and (first.strip().isalnum() or not first.strip()):
        return rest
    return block.removeprefix("json")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise UnreadableJson(f"the key {shorten_text(repr(twice))} occurs twice in one object")
    return value


def _no_constant(text: str) -> Any:
    raise UnreadableJson(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UnreadableJson(f"the number {shorten_text(text)} is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise UnreadableJson(f"a number of {len(text)} digits is too large")
    return int(text)


_HOOKS: dict[str, Any] = {
    "object_pairs_hook": _refuse_duplicates,
    "parse_constant": _no_constant,
    "parse_float": _finite,
    "parse_int": _integer,
}
_DECODER = json.JSONDecoder(**_HOOKS)


def shorten_text(text: str, longest: int = 300) -> str:
    """Cut the middle out of a long text, and escape lone surrogates."""
    if len(text) > longest:
        tail = min(90, longest // 3)
        text = f"{text[: longest - tail - 10]} … {text[-tail:]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
