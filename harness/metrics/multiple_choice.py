"""Whether an answer in free text names the right choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from harness.metric import metric
from harness.metrics._json import shorten
from harness.metrics._letters import chosen
from harness.metrics._words import squeeze
from harness.records import Case, Completion, Score

_LETTERS = "ABCD"


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return letters that are none, and cases whose right choice is unknown."""
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
    if _right(case, letters) is not None:
        return []
    named = f"expected={shorten(repr(case.expected), 80)} is" if case.expected else "there is"
    return [f"{named} no right choice; give 'choices' with 'answer', or a letter as 'expected'"]


@metric(binary=True, check=_check)
def multiple_choice(case: Case, completion: Completion, *, letters: str = _LETTERS) -> Score:
    r"""Score 1 if the answer names the right choice by its letter or text, else 0.

    What it does:
        Reads the choice out of the answer by the first kind of evidence that is there:
        (1) the whole answer is a letter (`B`, `(b)`, `**B.**`, `Option B`);
        (2) a statement: `\boxed{B}`, a line with nothing but a letter, "the answer is B",
        "Answer: (B)", "the correct option is B", "B is correct", "I choose B";
        (3) a line that begins with a label (`B. Paris`), or the answer begins with a choice's
        text and ends the sentence or line there;
        (4) any capital letter on its own, and any choice's text, but for negated ones ("not A",
        "A is wrong") and the words "A" and "I".
        Where the case has `choices`, a choice's text behind "the answer is" counts as its letter.
        If that kind of evidence names two choices ("A or B", "The answer is A. … The answer is
        B.", `B. London` where London is A), the case is unscored as ambiguous: which one a reader
        would take is unknown. An answer that names no choice is wrong: 0, with the reason.

    Why:
        A model that was asked for a letter often writes a sentence. Compared with `exact_match`
        the score does not depend on the form; compared with `choice_accuracy` it says what a user
        of the text would get.

    Known problems:
        The sentences of (2) are English; in other languages (1), (3) and (4) work. A corrected
        answer ("A … no, B") is ambiguous, and enough of these end the run as unscored; ask for
        the letter alone. "Vitamin C" names C where nothing stronger is there. Small letters count
        only alone, in a box, or behind "the answer is" at the end of a sentence or bracket. Texts
        are not Unicode-normalised.

    Example:
        `Paris is the capital, so the answer is **B**.` is B. `It is B or C.` is unscored.

    Options:
        letters: Letters of the choices in cases that list no `choices`; their right answer is a
            letter in `expected`. With `choices` the letters are A, B, C … in their order.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    right = _right(case, letters)
    if right is None:
        return Score.unscored("the case has no right choice")
    if case.choices:
        letters = ascii_uppercase[: len(case.choices)]
    found = sorted(chosen(completion.text, letters, case.choices or ()))
    names = " and ".join(letters[index] for index in found)
    if len(found) > 1:
        return Score.unscored(f"ambiguous: the answer names {names}")
    if not found:
        return Score.of(0.0, "the answer names no choice")
    return Score.of(float(found[0] == right), f"read {names}")


def _right(case: Case, letters: str) -> int | None:
    """Return the index of the right choice: `answer`, or the one `expected` names; else None."""
    choices = case.choices or ()
    if choices and case.answer is not None:
        return case.answer if 0 <= case.answer < len(choices) else None
    known = ascii_uppercase[: len(choices)] if choices else letters
    for text in case.expected_texts()[:1]:
        letter = text.strip().strip("().").upper()
        if len(letter) == 1 and letter in known:
            return known.index(letter)
        same = [squeeze(choice) == squeeze(text) for choice in choices]
        return same.index(True) if True in same else None
    return None
