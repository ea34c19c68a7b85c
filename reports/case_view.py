"""One case as the page shows it when its row is opened: texts cut and diffed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.manifest import BASE_AGAIN
from harness.records import Case, CellKind, StoredCell, canonical_json
from reports.data import BASE, TUNED
from reports.escapes import one_line
from reports.pairs import CasePair
from reports.words import Segment, WordDiff, compare, cut

ARMS = (BASE, TUNED)


@dataclass(frozen=True, slots=True)
class Text:
    """A labelled text, cut at what a page can hold."""

    label: str
    text: str
    missing: int = 0
    """Characters left out."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer of a multiple-choice question as both arms saw it."""

    text: str
    right: bool
    logprobs: tuple[float | None, float | None]
    """Base's and tuned's log-likelihood."""
    shares: tuple[float | None, float | None]
    """The same as a probability among the choices."""
    picked: tuple[bool, bool]
    """Whether it is base's, and tuned's, most likely answer."""


@dataclass(frozen=True, slots=True)
class CaseView:
    """Everything that an opened row shows."""

    pair: CasePair
    question: tuple[Text, ...]
    """The conversation, then what a right answer rests on."""
    rendered: Text | None
    """The prompt after the chat template, where it was recorded."""
    expected: tuple[Text, ...]
    diff: WordDiff | None
    """The completions of base and tuned, None where neither wrote any."""
    others: tuple[Text, ...]
    """The completions of further arms (recorded, incumbent, shipped), under the arms' names."""
    choices: tuple[Choice, ...]
    cells: tuple[StoredCell, ...]
    """What is known about how each answer came to be, base and tuned first."""


def view(pair: CasePair) -> CaseView:
    """Return a case ready to be shown."""
    case = pair.case.case
    turns = case.input_messages()
    rendered = pair.case.rendered
    return CaseView(
        pair=pair,
        question=(
            *(_text(str(turn.get("role", "turn")), content(turn)) for turn in turns),
            *_optional("context", case.context),
            *_optional("tools", case.tools),
        ),
        rendered=_text("prompt after the chat template", rendered) if rendered else None,
        expected=_expected(case),
        diff=_diff(pair),
        others=tuple(_others(pair)),
        choices=_choices(pair),
        cells=tuple(pair.cells[key] for key in sorted(pair.cells, key=_place)),
    )


def snippet(pair: CasePair) -> str:
    """Return the start of what the user asked, on one line."""
    return one_line(content(pair.case.case.input_messages()[-1]))


def content(turn: dict[str, Any]) -> str:
    """Return the text of one turn of a conversation; other content as JSON."""
    value = turn.get("content")
    if isinstance(value, str):
        return value
    return canonical_json({k: v for k, v in turn.items() if k != "role" and v is not None})


def _text(label: str, text: str) -> Text:
    return Text(label, *cut(text))


def _optional(label: str, value: Any) -> tuple[Text, ...]:
    if not value:
        return ()
    return (_text(label, value if isinstance(value, str) else canonical_json(value)),)


def _expected(case: Case) -> tuple[Text, ...]:
    texts = tuple(_text("expected", text) for text in case.expected_texts())
    calls = _optional("expected calls", case.expected_calls)
    return (*texts, *calls, *_optional("schema", case.answer_schema))


def _diff(pair: CasePair) -> WordDiff | None:
    base, tuned = pair.text(BASE), pair.text(TUNED)
    if base is None and tuned is None:
        return None
    if base is None or tuned is None:
        return WordDiff((Segment(cut(base or "")[0], cut(tuned or "")[0], changed=False),))
    return compare(base, tuned)


def _place(key: tuple[str, CellKind]) -> tuple[int, str, CellKind]:
    """Return the sorting key of an arm's cell: base, tuned, then the others by name."""
    arm, kind = key
    return (ARMS.index(arm) if arm in ARMS else len(ARMS)), arm, kind


def _others(pair: CasePair) -> Iterator[Text]:
    for arm, kind in sorted(pair.cells, key=_place):
        text = pair.text(arm) if kind is CellKind.GENERATE else None
        if text is not None and arm not in (*ARMS, BASE_AGAIN):
            yield _text(arm, text)


def _choices(pair: CasePair) -> tuple[Choice, ...]:
    case = pair.case.case
    if not case.choices:
        return ()
    known = [pair.completion(arm, CellKind.CHOICES) for arm in ARMS]
    base, tuned = ((c.choice_logprobs if c else None) or () for c in known)
    return tuple(
        Choice(
            text=cut(text)[0],
            right=at == case.answer,
            logprobs=(_at(base, at), _at(tuned, at)),
            shares=(_at(shares(base), at), _at(shares(tuned), at)),
            picked=(_picked(base, at), _picked(tuned, at)),
        )
        for at, text in enumerate(case.choices)
    )


def shares(logprobs: Sequence[float]) -> tuple[float, ...]:
    """Return the choices' probabilities among themselves (softmax)."""
    if not logprobs:
        return ()
    weights = [math.exp(value - max(logprobs)) for value in logprobs]
    return tuple(weight / sum(weights) for weight in weights)


def _at(values: Sequence[float], at: int) -> float | None:
    return values[at] if at < len(values) else None


def _picked(logprobs: Sequence[float], at: int) -> bool:
    return at < len(logprobs) and logprobs[at] == max(logprobs)
