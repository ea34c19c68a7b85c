"""Text normalisation: which texts of rows and cases are compared, as lower-case words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from sys import intern
from typing import Any

from tunegate.harness.records.cases import Case
from tunegate.harness.suite.equal_prompts import fold_lookalikes

Words = tuple[str, ...]
_NO_TEXT = ("role", "type", "id")
"""Keys whose values are not text."""


@dataclass(frozen=True, slots=True)
class CaseText:
    """The parts of a case that are compared."""

    unit: str
    """Its cluster, or else the case itself: cases of one cluster may share text."""
    prompt: tuple[Words, ...]
    """The turns except the system's, and the context if no turn holds it."""
    answer: tuple[Words, ...]
    """Expected answers and choices; for JSON, the strings in it."""
    right: tuple[Words, ...] = ()
    """The right answers, whole."""


def row_texts(row: Any) -> list[str]:
    """Return every text of a training row, whatever its columns are called."""
    return [text for text in _strings(row) if text]


def case_text(case: Case) -> CaseText:
    """Return the parts of a case that are compared.

    The system's turn is left out: it instructs all cases of a suite. So is a case with images,
    whose text may ask the same of each of them.
    """
    if case.images:
        return CaseText(unit=case.cluster or f"\0{case.id}", prompt=(), answer=())
    turns = [t for t in case.input_messages() if t.get("role") != "system"]
    prompt = [" ".join(_strings(turn.get("content"))) for turn in turns]
    if case.context and not any(case.context in text for text in prompt):
        prompt.append(case.context)
    right = list(case.expected_texts())
    if case.choices is not None and case.answer is not None:
        right.append(case.choices[case.answer])
    answers = [text for whole in right for text in _answer_texts(whole)]
    answers += [text for text in case.choices or () if text not in right]
    return CaseText(
        unit=case.cluster or f"\0{case.id}",
        prompt=_words(prompt),
        answer=_words(answers),
        right=_words(right),
    )


def _words(texts: list[str]) -> tuple[Words, ...]:
    # Interned, for the words of a suite are the same few thousand over and over.
    found = (tuple(map(intern, split_words(text))) for text in dict.fromkeys(texts))
    return tuple(one for one in found if one)


def _answer_texts(answer: str) -> list[str]:
    """Return an answer's texts; for JSON the strings, as its keys are the same in every answer."""
    try:
        value = json.loads(answer)
    except ValueError:
        return [answer]
    return list(_strings(value)) if isinstance(value, dict | list) else [answer]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in _NO_TEXT:
                yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese: written without spaces between words."""
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
"""Vowel signs and accents that belong to the letter before them."""
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}_])[\w{_MARKS}])+")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
"""The same for ASCII, in a fifth of the time."""
_APOSTROPHES = re.compile(r"(?<=\w)['\u2019](?=\w)")


def split_words(text: str) -> list[str]:
    """Return the words of a text.

    Applies NFKC, removes invisible characters, folds lookalikes of Latin letters
    (`fold_lookalikes`) and case, and drops apostrophes within a word; other punctuation separates
    words. In scripts without spaces every character is a word.

    Example:
        >>> split_words("Don't panic: it's 42 €!")
        ['dont', 'panic', 'its', '42']
    """
    if text.isascii():
        plain = text.lower()
        return _ASCII_WORD.findall(_APOSTROPHES.sub("", plain) if "'" in plain else plain)
    text = fold_lookalikes(text).casefold()
    return _WORD.findall(_APOSTROPHES.sub("", text))
