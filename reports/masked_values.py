"""Masks on what training rows hold: a page about memorized values must not pass them on.

In suites of training rows, each true value becomes `<value>`, what an answer holds of it
`<part of the value>`, made-up ones `<made up>`, values of other rows `<value of another row>`, and
other personal data its kind, as in exported traces (`telemetry/export/redaction.py`). The run
folder keeps the texts as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any, TypeVar, overload

from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.jsonl import IndexedRecords
from tunegate.harness.records.run_folder import Run, RunCase
from tunegate.harness.records.secret_values import secret_values
from tunegate.harness.telemetry.export.redaction import scrub_text

R = TypeVar("R")
_LEAST_PART = 4
"""Characters of a value that are masked where they stand alone."""
_TEXTS = ("text", "reasoning")
_FIELDS = ("prompt", "messages", "expected", "context", "choices")


def mask_run(run: Run) -> Run:
    """Return the run with masked texts in its suites of training rows; others stay."""
    suites = {suite.name for suite in run.manifest.suites if suite.training_rows}
    if not suites:
        return run
    values: dict[str, set[str]] = {name: set() for name in suites}
    for (suite, _), row in run.cases.items():
        if suite in suites:
            values[suite].add(_values_of(row.case)[0])
    every = {suite: _any_of(found) for suite, found in values.items()}
    masks = {
        key: _Mask(row.case, every[key[0]]) for key, row in run.cases.items() if key[0] in suites
    }

    def mask_case(row: RunCase) -> RunCase:
        mask = masks.get((row.suite, row.case.id))
        return row if mask is None else mask.case(row)

    def mask_answer(stored: StoredAnswer) -> StoredAnswer:
        mask = masks.get((stored.cell.suite, stored.cell.case))
        return stored if mask is None else mask.answer(stored)

    cases = _Mapped(list(run.cases.values()), mask_case)
    places = {key: place for place, key in enumerate(run.cases)}
    return replace(run, cases=IndexedRecords(cases, places), cells=_Mapped(run.cells, mask_answer))


class _Mapped(Sequence[R]):
    """Records, each masked when it is read."""

    def __init__(self, records: Sequence[R], mask: Callable[[R], R]) -> None:
        self._records, self._mask = records, mask

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, at: int) -> R: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[R]: ...
    def __getitem__(self, at: int | slice) -> R | Sequence[R]:
        if isinstance(at, slice):
            return [*map(self._mask, self._records[at])]
        return self._mask(self._records[at])


class _Mask:
    """The masks of one case and its answers."""

    def __init__(self, case: Case, every: re.Pattern[str]) -> None:
        self._value, self._made_up = _values_of(case)
        self._every = every

    def text(self, text: str) -> str:
        """Return the text with masks."""
        for made_up in filter(lambda value: len(value) >= _LEAST_PART, self._made_up):
            text = text.replace(made_up, "<made up>")
        text = self._every.sub(self._name, text)
        return scrub_text(self._mask_parts(text) if self._value else text)

    def _name(self, found: re.Match[str]) -> str:
        own = found[0].casefold() == self._value.casefold()
        return "<value>" if own else "<value of another row>"

    def _mask_parts(self, text: str) -> str:
        least = max(_LEAST_PART, len(self._value) // 2)
        value = _lower(self._value)
        masked, rest = [], [text]
        while rest:
            piece = rest.pop()
            matcher = SequenceMatcher(None, _lower(piece), value, autojunk=False)
            match = matcher.find_longest_match()
            if match.size < least:
                masked.append(piece)
            else:
                rest += [piece[match.a + match.size :], piece[: match.a]]
        return "<part of the value>".join(masked)

    def any(self, value: Any) -> Any:
        """Return texts, and those in lists and mappings, with masks."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.any(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(self.any, value))
        return value

    def case(self, row: RunCase) -> RunCase:
        """Return a case with masks."""
        masked = {name: self.any(getattr(row.case, name)) for name in _FIELDS}
        masked["cluster"] = None if row.case.cluster is None else "one value"
        case = row.case.model_copy(update=masked)
        update = {"case": case, "rendered": self.any(row.rendered), "asked": {}}
        return row.model_copy(update=update)

    def answer(self, stored: StoredAnswer) -> StoredAnswer:
        """Return an answer with masks."""
        if stored.completion is None:
            return stored
        masked = {name: self.any(getattr(stored.completion, name)) for name in _TEXTS}
        return replace(stored, completion=stored.completion.model_copy(update=masked))


def _values_of(case: Case) -> tuple[str, list[str]]:
    """Return the true value and the made-up ones; none where the choices do not tell them."""
    try:
        return secret_values(case)
    except ValueError:
        return "", []


def _any_of(values: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds each value that is long enough, the longest first."""
    long = sorted((value for value in values if len(value) >= _LEAST_PART), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, long)) or r"(?!)", re.IGNORECASE)


def _lower(text: str) -> str:
    """Return the text in lower case, each character at its place."""
    return "".join(low if len(low := sign.lower()) == 1 else sign for sign in text)
