"""Case detail: one case with its answers, scores and differences by word or line.

The word diff of two completions, worked out when the report is written. Words and punctuation marks
are compared; white space travels with the word after it and is never marked. The work is bounded:
rapidfuzz's opcodes over at most `LIMIT` words a side.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunegate.harness.contracts.further_arm import further_arm
from tunegate.harness.contracts.thoughts import thought_facts
from tunegate.harness.records.answers import WRITTEN, CellKind, StoredAnswer
from tunegate.harness.records.hashing import canonical_json
from tunegate.reports.data import BASE, TUNED, CaseView
from tunegate.reports.escaping import one_line

if TYPE_CHECKING:
    from rapidfuzz.distance import Opcodes

ARMS = (BASE, TUNED)


@dataclass(frozen=True, slots=True)
class TextExcerpt:
    """A labelled text, cut at what a page can hold."""

    label: str
    text: str
    missing: int = 0
    """Characters left out."""


@dataclass(frozen=True, slots=True)
class ChoiceComparison:
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
class DiffSegment:
    """A stretch of both texts: what base has there, and what tuned has."""

    base: str
    tuned: str
    changed: bool
    """False where the words are the same; the white space between them may differ."""


@dataclass(frozen=True, slots=True)
class WordDiff:
    """Both texts, stretch by stretch: joined, the stretches of a side are its text."""

    segments: tuple[DiffSegment, ...]
    note: str | None = None
    """Note for the reader: a side was cut, or only white space differs."""


def question_texts(view: CaseView) -> tuple[TextExcerpt, ...]:
    """Return the conversation, then what a right answer rests on."""
    case = view.case
    turns = case.input_messages()
    return (
        *(_text(str(turn.get("role", "turn")), turn_text(turn)) for turn in turns),
        *_optional("context", case.context),
        *_optional("tools", case.tools),
    )


def rendered_prompt(view: CaseView) -> tuple[TextExcerpt, ...]:
    """Return the prompt after the chat template; nothing where it was not recorded."""
    return _optional("prompt after the chat template", view.stored.rendered)


def expected_texts(view: CaseView) -> tuple[TextExcerpt, ...]:
    """Return what a right answer is: texts, tool calls and a schema, where the case has them."""
    case = view.case
    texts = tuple(_text("expected", text) for text in case.expected_texts())
    calls = _optional("expected calls", case.expected_calls)
    return (*texts, *calls, *_optional("schema", case.answer_schema))


def completion_diff(view: CaseView) -> WordDiff | None:
    """Return the completions of base and tuned word by word; None where neither wrote any."""
    base, tuned = view.text(BASE), view.text(TUNED)
    if base is None and tuned is None:
        return None
    if base is None or tuned is None:
        return WordDiff(
            (DiffSegment(cut_text(base or "")[0], cut_text(tuned or "")[0], changed=False),)
        )
    return compare_texts(base, tuned)


def thoughts(view: CaseView) -> Iterator[TextExcerpt]:
    """Yield the thoughts of each arm before its answer, base's and tuned's first."""
    for arm, kind in sorted(view.cells, key=_place):
        done = view.completion(arm, kind) if kind in WRITTEN else None
        if done is not None and done.thinks and (arm in ARMS or further_arm(arm).reported):
            facts = ", ".join(thought_facts(done))
            yield _text(f"{arm} ({facts})", (done.reasoning or "").strip())


def further_completions(view: CaseView) -> Iterator[TextExcerpt]:
    """Yield the completions of further arms (recorded, incumbent, shipped), named by arm."""
    for arm, kind in sorted(view.cells, key=_place):
        text = view.text(arm) if kind is CellKind.GENERATE else None
        if text is not None and arm not in ARMS and further_arm(arm).reported:
            yield _text(arm, text)


def compare_choices(view: CaseView) -> tuple[ChoiceComparison, ...]:
    """Return the choices as both arms rated them; nothing where the case has no choices."""
    case = view.case
    if not case.choices:
        return ()
    known = [view.completion(arm, CellKind.CHOICES) for arm in ARMS]
    base, tuned = ((c.choice_logprobs if c else None) or () for c in known)
    return tuple(
        ChoiceComparison(
            text=cut_text(text)[0],
            right=at == case.answer,
            logprobs=(_at(base, at), _at(tuned, at)),
            shares=(_at(choice_shares(base), at), _at(choice_shares(tuned), at)),
            picked=(_is_picked(base, at), _is_picked(tuned, at)),
        )
        for at, text in enumerate(case.choices)
    )


def cells_in_order(view: CaseView) -> tuple[StoredAnswer, ...]:
    """Return the cells, each with the origin of its answer: base and tuned first."""
    return tuple(view.cells[key] for key in sorted(view.cells, key=_place))


def prompt_snippet(view: CaseView) -> str:
    """Return the start of what the user asked, on one line."""
    return one_line(turn_text(view.case.input_messages()[-1]))


def turn_text(turn: dict[str, Any]) -> str:
    """Return the text of one turn of a conversation; other content as JSON."""
    value = turn.get("content")
    if isinstance(value, str):
        return value
    return canonical_json({k: v for k, v in turn.items() if k != "role" and v is not None})


def _text(label: str, text: str) -> TextExcerpt:
    return TextExcerpt(label, *cut_text(text))


def _optional(label: str, value: Any) -> tuple[TextExcerpt, ...]:
    if not value:
        return ()
    return (_text(label, value if isinstance(value, str) else canonical_json(value)),)


def _place(key: tuple[str, CellKind]) -> tuple[int, str, CellKind]:
    """Return the sorting key of an arm's cell: base, tuned, then the others by name."""
    arm, kind = key
    return (ARMS.index(arm) if arm in ARMS else len(ARMS)), arm, kind


def choice_shares(logprobs: Sequence[float]) -> tuple[float, ...]:
    """Return the choices' probabilities among themselves (softmax)."""
    if not logprobs:
        return ()
    weights = [math.exp(value - max(logprobs)) for value in logprobs]
    return tuple(weight / sum(weights) for weight in weights)


def _at(values: Sequence[float], at: int) -> float | None:
    return values[at] if at < len(values) else None


def _is_picked(logprobs: Sequence[float], at: int) -> bool:
    return at < len(logprobs) and logprobs[at] == max(logprobs)


WORD_LIMIT = 2_000
"""Words compared and shown of each side."""

CHARACTERS = 20_000
"""Characters shown of any one text."""

_WIDE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"\s*(?:[{_WIDE}]|(?:(?![{_WIDE}])\w)+|[^\w\s])")


def compare_texts(base: str, tuned: str) -> WordDiff:
    """Return both texts in stretches, marked where they differ."""
    if base == tuned and len(base) <= WORD_LIMIT:  # which has no more words than characters
        return WordDiff(tuple(_segment(base, tuned, changed=False)))
    left, left_cut = _words(base)
    right, right_cut = _words(tuned)
    segments = tuple(_segments(left, right))
    note = None
    if left_cut or right_cut:
        note = f"Shown up to {WORD_LIMIT:,} words a side; cells.jsonl holds the whole text."
    elif base != tuned and not any(segment.changed for segment in segments):
        note = "The completions differ in white space only."
    return WordDiff(segments, note)


def cut_text(text: str) -> tuple[str, int]:
    """Return the part of a text that is shown, and how many characters are left out."""
    return text[:CHARACTERS], max(0, len(text) - CHARACTERS)


def _words(text: str) -> tuple[list[str], bool]:
    """Return words with the white space before them, and whether the text was cut."""
    shown, missing = cut_text(text)
    # At trailing white space the pattern would begin anew at every character.
    words = _WORD.findall(shown.rstrip())
    if len(words) > WORD_LIMIT:
        return words[:WORD_LIMIT], True
    rest = shown[sum(map(len, words)) :]
    return ([*words[:-1], "".join(words[-1:]) + rest] if rest else words), missing > 0


def _segments(left: Sequence[str], right: Sequence[str]) -> Iterator[DiffSegment]:
    """Yield the stretches, neighbours of one kind joined."""
    from rapidfuzz.distance import Indel

    opcodes = Indel.opcodes([w.strip() for w in left], [w.strip() for w in right])
    base, tuned, kind = "", "", False
    for changed, words in _mark_changes(opcodes, left, right):
        if changed != kind:
            yield from _segment(base, tuned, changed=kind)
            base, tuned, kind = "", "", changed
        base, tuned = base + words[0], tuned + words[1]
    yield from _segment(base, tuned, changed=kind)


def _mark_changes(
    opcodes: Opcodes, left: Sequence[str], right: Sequence[str]
) -> Iterator[tuple[bool, tuple[str, str]]]:
    """Yield whether each stretch changed, and its text on each side."""
    count = len(opcodes)
    for at, op in enumerate(opcodes):
        # One common word between two changes is an accident that only breaks up the picture.
        lonely = op.src_end - op.src_start == 1 and 0 < at < count - 1
        words = left[op.src_start : op.src_end], right[op.dest_start : op.dest_end]
        yield op.tag != "equal" or lonely, ("".join(words[0]), "".join(words[1]))


def _segment(base: str, tuned: str, *, changed: bool) -> Iterator[DiffSegment]:
    """Yield a stretch; the white space in front of a change is separate and unmarked."""
    before, after = (
        text[: len(text) - len(text.lstrip())] if changed else "" for text in (base, tuned)
    )
    if before or after:
        yield DiffSegment(before, after, changed=False)
    rest = base[len(before) :], tuned[len(after) :]
    if any(rest):
        yield DiffSegment(rest[0], rest[1], changed=changed)


LINE_LIMIT = 60
"""Lines of each side at most."""


def line_diff(base: str, tuned: str) -> str:
    """Return both texts line by line: `-` base only, `+` tuned only, a space for both."""
    from rapidfuzz.distance import Indel

    left, right = _lines(base), _lines(tuned)
    out: list[str] = []
    added: list[str] = []  # kept back, so that what base wrote comes first
    for op in Indel.opcodes(left, right):
        if op.tag == "equal":
            out += added + [f"  {line}" for line in left[op.src_start : op.src_end]]
            added = []
            continue
        out += [f"- {line}" for line in left[op.src_start : op.src_end]]
        added += [f"+ {line}" for line in right[op.dest_start : op.dest_end]]
    return "\n".join(out + added)


def _lines(text: str) -> list[str]:
    lines = text.split("\n") if text else ["(empty)"]
    more = len(lines) - LINE_LIMIT
    return lines if more <= 0 else [*lines[:LINE_LIMIT], f"({more} more lines)"]
