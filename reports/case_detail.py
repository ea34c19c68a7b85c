"""Case detail: what was asked, expected and answered, as texts that a page can hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.contracts.further_arm import further_arm
from tunegate.harness.contracts.reasoning import thought_facts
from tunegate.harness.records.answers import WRITTEN, CellKind, StoredAnswer
from tunegate.harness.records.hashing import canonical_json
from tunegate.harness.records.images import content_text
from tunegate.reports.case_view import BASE, TUNED, CaseView
from tunegate.reports.escaping import one_line
from tunegate.reports.text_diff import DiffSegment, TextDiff, compare_lines, compare_texts, cut_text

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


def question_texts(view: CaseView) -> tuple[TextExcerpt, ...]:
    """Return the conversation, then what a right answer rests on."""
    case = view.case
    turns = case.input_messages()
    return (
        *(_text(str(turn.get("role", "turn")), turn_text(turn)) for turn in turns),
        *_optional("context", case.context),
        *_optional("candidates", case.candidates_text),
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
    shown = () if view.is_code else texts
    return (*shown, *calls, *_optional("schema", case.answer_schema))


def hidden_texts(view: CaseView) -> tuple[TextExcerpt, ...]:
    """Return what scores an answer that is code: its beginning, the tests and the own solution."""
    if not view.is_code:
        return ()
    case = view.case
    return (
        *_optional("database", case.database),
        *_optional("prefix", case.prefix),
        *_optional("tests", "\n\n".join(map(_test_text, case.tests or ()))),
        *(_text("expected", text) for text in case.expected_texts()),
    )


def _test_text(test: str | dict[str, Any]) -> str:
    if isinstance(test, str):
        return test
    return "\n".join(
        f"{name}:\n{test[name]}" for name in ("code", "input", "output") if name in test
    )


def completion_diff(view: CaseView) -> TextDiff | None:
    """Return the completions of base and tuned by word, code by line; None where both lack one."""
    base, tuned = view.text(BASE), view.text(TUNED)
    if base is None and tuned is None:
        return None
    if base is None or tuned is None:
        return TextDiff(
            (DiffSegment(cut_text(base or "")[0], cut_text(tuned or "")[0], changed=False),)
        )
    return (compare_lines if view.is_code else compare_texts)(base, tuned)


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
    completions = [view.completion(arm, CellKind.CHOICES) for arm in ARMS]
    base, tuned = ((c.choice_logprobs if c else None) or () for c in completions)
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
    text = content_text(turn.get("content"))
    if text is not None:
        return text
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
