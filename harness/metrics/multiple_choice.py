"""Whether an answer in free text names the right choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, Literal

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._json_parsing import shorten_text
from tunegate.harness.metrics._named_choices import find_choices
from tunegate.harness.metrics._words import normalize_text
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

_LETTERS = "ABCD"


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    letters = options.get("letters", _LETTERS)
    if not letters or set(letters) - set(ascii_uppercase) or len(set(letters)) < len(letters):
        return [
            f"metric 'multiple_choice': letters={letters!r}: must be capital letters from A to Z, "
            'each once, such as "ABCDE"'
        ]
    return [
        f"metric 'multiple_choice': case {case.id!r}: {problem}"
        for case in cases
        for problem in _problems(case, letters)
    ]


def _problems(case: Case, letters: str) -> list[str]:
    if case.choices and len(case.choices) > len(ascii_uppercase):
        return [f"{len(case.choices)} choices; there are letters for {len(ascii_uppercase)}"]
    if _right_choice(case, letters) is not None:
        return []
    problem = "it has no right choice"
    if case.expected:
        problem = f"expected={shorten_text(repr(case.expected), 80)} is not a choice"
    return [f"{problem}; give 'choices' with 'answer', or a letter as 'expected'"]


def _right_choice(case: Case, letters: str) -> int | None:
    """Return the index of the right choice: `answer`, or the one `expected` names; else None."""
    choices = case.choices or ()
    if choices and case.answer is not None:
        return case.answer if 0 <= case.answer < len(choices) else None
    offered = ascii_uppercase[: len(choices)] if choices else letters
    for text in case.expected_texts()[:1]:
        letter = text.strip().strip("().").upper()
        if len(letter) == 1 and letter in offered:
            return offered.index(letter)
        same = [normalize_text(choice) == normalize_text(text) for choice in choices]
        return same.index(True) if True in same else None
    return None


@metric(label="right choices", binary=True, check=_check)
def multiple_choice(
    case: Case,
    completion: Completion,
    *,
    letters: str = _LETTERS,
    no_answer: Literal["wrong", "unscored"] = "wrong",
    ambiguous: Literal["wrong", "unscored"] = "unscored",
) -> Score:
    r"""Score 1 if the answer names the right choice by its letter or text, else 0.

    Reads the strongest evidence that there is: the whole answer is a letter (`B`, `**B.**`); a
    statement (`\boxed{B}`, "the answer is B", "Answer: (B)"), "the final answer is" before others;
    a line that begins with a label or a choice's text; any capital letter or choice's text in the
    answer, unless negated. If the evidence names two choices, the case is unscored, unless
    `ambiguous` says otherwise. An answer that names none is wrong.

    Measured on 86,804 answers of 29 models to MMLU-Pro: where one choice is named, 99.4 % of the
    scores are the official ones. Of 5,700 answers that name several, 64 % are officially wrong: 38
    to 57 % for four models that run on into questions of their own, 68 % or more for the others.

    Known problems:
        Statements are read in English only. "Vitamin C" names C if there is nothing stronger. A
        corrected answer ("A … no, B") is ambiguous: ask for the letter alone.

    Example:
        `Paris is the capital, so the answer is **B**.` is B. `It is B or C.` is unscored.

    Options:
        letters: Letters in cases without `choices`; their right answer is a letter in
            `expected`.
        no_answer: Whether an answer that names no choice is `wrong` or `unscored`.
        ambiguous: The same for an answer that names several. `wrong` gives more power; end answers
            with a stop sequence first, or models that run on lose what they know.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    right = _right_choice(case, letters)
    if right is None:
        return Score.unscored("the case has no right choice")
    if case.choices:
        letters = ascii_uppercase[: len(case.choices)]
    cut_off = completion.finish_reason == "length"
    indices = sorted(find_choices(completion.text, letters, case.choices or (), cut_off=cut_off))
    names = " and ".join(letters[index] for index in indices)
    if len(indices) > 1:
        return _unread(f"ambiguous: the answer names {names}", ambiguous)
    if indices:
        return Score.of(float(indices[0] == right), f"read {names}")
    reason = "the answer names no choice" + ("; it is cut off" if cut_off else "")
    return _unread(reason, no_answer)


def _unread(reason: str, worth: Literal["wrong", "unscored"]) -> Score:
    return Score.unscored(reason) if worth == "unscored" else Score.of(0.0, reason)
