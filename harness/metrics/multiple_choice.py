r"""Whether an answer in free text names the right choice.

Which choice of a multiple-choice question an answer in free text names. Four kinds of evidence are
looked at, the strongest first; the first kind that is there decides, and if it names two choices,
so does the answer. Among statements, a final one outranks weaker ones before it. Every pattern
looks at a few characters around a place, so the time is linear in the text.

Example:
    >>> find_choices("I first thought of A, but the answer is (B).", "ABCD", ())
    {1}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from string import ascii_uppercase
from typing import Any, Literal

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._json_parsing import shorten_text
from tunegate.harness.metrics._words import (
    LETTER,
    matched_index,
    name_pattern,
    normalize_text,
)
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

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
    if _right_choice(case, letters) is not None:
        return []
    named = f"expected={shorten_text(repr(case.expected), 80)} is" if case.expected else "there is"
    return [f"{named} no right choice; give 'choices' with 'answer', or a letter as 'expected'"]


def _right_choice(case: Case, letters: str) -> int | None:
    """Return the index of the right choice: `answer`, or the one `expected` names; else None."""
    choices = case.choices or ()
    if choices and case.answer is not None:
        return case.answer if 0 <= case.answer < len(choices) else None
    known = ascii_uppercase[: len(choices)] if choices else letters
    for text in case.expected_texts()[:1]:
        letter = text.strip().strip("().").upper()
        if len(letter) == 1 and letter in known:
            return known.index(letter)
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
) -> Score:
    r"""Score 1 if the answer names the right choice by its letter or text, else 0.

    Reads the strongest evidence that there is: the whole answer is a letter (`B`, `**B.**`); a
    statement (`\boxed{B}`, "the answer is B", "Answer: (B)"), "the final answer is" before others;
    a line that begins with a label or a choice's text; any capital letter or choice's text in the
    answer, unless negated. If the evidence names two choices, the case is unscored. An answer that
    names none is wrong.

    Known problems:
        Statements are read in English only. "Vitamin C" names C if there is nothing stronger. A
        corrected answer ("A … no, B") is ambiguous: ask for the letter alone.

    Example:
        `Paris is the capital, so the answer is **B**.` is B. `It is B or C.` is unscored.

    Options:
        letters: Letters in cases without `choices`; their right answer is a letter in
            `expected`.
        no_answer: Whether an answer that names no choice is `wrong` or `unscored`.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    right = _right_choice(case, letters)
    if right is None:
        return Score.unscored("the case has no right choice")
    if case.choices:
        letters = ascii_uppercase[: len(case.choices)]
    cut_off = completion.finish_reason == "length"
    found = sorted(find_choices(completion.text, letters, case.choices or (), cut_off=cut_off))
    names = " and ".join(letters[index] for index in found)
    if len(found) > 1:
        return Score.unscored(f"ambiguous: the answer names {names}")
    if found:
        return Score.of(float(found[0] == right), f"read {names}")
    reason = "the answer names no choice" + ("; it is cut off" if cut_off else "")
    return Score.unscored(reason) if no_answer == "unscored" else Score.of(0.0, reason)


_OPEN = r"[\s:*_`\"'(\[$]{0,8}"
_CLOSE = r"[ \t*_`\"')\].:$]{0,8}"
_OPTION = r"(?:(?i:option|choice|answer|letter)\s)?[*_(\[\"']{0,4}"
_ENDS = rf"(?![{LETTER}\d_+#])(?!['’][{LETTER}])(?!-[{LETTER}\d])(?!\.[{LETTER}])"
"""A letter that is no part of a word, `A-level`, `C++`, `A's` or `A.D.`."""
_NOT_WRONG = r"(?![)\]*\"']{0,4}\s(?:is|are|was)\s(?:wrong|incorrect|false|not)\b)"

_SAID = re.compile(
    r"<answer>|\banswer\b[^.\n:=]{0,60}?(?:\b(?:is|be|are)\b|[:=])"
    r"|\b(?:correct|right|best)\s(?:option|choice|one)\b[^.\n:=]{0,20}?(?:\bis\b|[:=])"
    r"|\bI(?:['’]ll|['’]d|\swill|\swould)?\s(?:choose|pick|select|go\swith)\b",
    re.I,
)
_HYPOTHESIS = re.compile(
    r"\b(?:if|whether|suppose|supposing|assume|assuming|unless|might|could|may)\b", re.IGNORECASE
)
_NEGATED = re.compile(
    rf"(?:\bnot|n['’]t|\bneither|\bnor|\bthan)\s(?:the\s)?{_OPTION}$", re.IGNORECASE
)
_TEXT_BEHIND = re.compile(r"[\s)\].:*_\"'–-]{1,8}")
_SENTENCE_ENDS = re.compile(r"[*_`\"')]{0,4}[ \t]{0,4}(?:[.:;!\n]|\Z)")


def find_choices(
    text: str, letters: str, choices: Sequence[str], *, cut_off: bool = False
) -> set[int]:
    """Return the indices of the choices that the answer names by its strongest evidence.

    Args:
        text: The answer.
        letters: Capital letters of the choices, such as `ABCD`.
        choices: The choices' texts, as many as letters; empty if they are unknown.
        cut_off: Whether a limit of tokens ended it, so that a letter in a sentence is no answer
            unless the text begins with it.
    """
    reader = _ChoiceReader(text, letters, choices)
    last = reader.opening if cut_off else reader.mentioned
    kinds = (reader.alone, reader.stated, reader.leading, last)
    return next((found for kind in kinds if (found := set(kind()))), set())


_OPINION, _LINE, _STATEMENT, _FINAL = range(4)
"""How strong a statement is: `A is correct` and hypotheses, a line with a letter, `the answer is
A`, `the final answer is A`."""


class _ChoiceReader:
    """One answer, and the patterns that the letters and texts of its choices make."""

    def __init__(self, text: str, letters: str, choices: Sequence[str]) -> None:
        self.text = text
        self.letters = letters
        self.any = f"[{letters}]"
        self.choices = choices

    @cached_property
    def texts(self) -> re.Pattern[str] | None:
        """Pattern for the choices' texts without their last full stop."""
        return name_pattern([choice.strip().rstrip(".;,") for choice in self.choices], self.text)

    def alone(self) -> Iterator[int]:
        """Yield the choice if the whole answer is its letter: `B`, `(b)`, `Option B.`."""
        line = rf"{_OPEN}{_OPTION}({self.any}){_CLOSE}"
        if found := re.fullmatch(line, self.text.strip(), re.I):
            yield self._index(found[1])

    def stated(self) -> Iterator[int]:
        """Yield what a box, a line with nothing but a letter, or a sentence gives as the answer.

        A statement counts unless a stronger one comes behind it, an opinion unless there is one.
        """
        statements = sorted(self._statements(), reverse=True)
        clear = any(strength > _OPINION for _, strength, _ in statements)
        strongest = 0
        for _, strength, indices in statements:
            if strength >= strongest and (strength > _OPINION or not clear):
                yield from indices
            strongest = max(strongest, strength)

    def _statements(self) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        """Yield place, strength and choices of each statement."""
        box = rf"\\boxed\s?\{{(?:\\\w{{2,8}}\s?\{{)?[\s(]{{0,3}}({self.any})[\s)]{{0,3}}\}}"
        line = rf"^[ \t*_`\"'(\[$>#-]{{0,8}}{_OPTION}({self.any}){_CLOSE}$"
        right = (
            rf"(?<![{LETTER}\d_])({self.any})[)\]*\"']{{0,4}}\s(?i:is|are)\s(?i:the\s)?"
            r"(?i:(?:(?:correct|right|best)\s)?(answer|option|choice)\b|(?:correct|right|best|true)\b)"
        )
        for found in re.finditer(box, self.text, re.I):
            yield found.start(), _STATEMENT, (self._index(found[1]),)
        for found in re.finditer(line, self.text, re.M):
            yield found.start(), _LINE, (self._index(found[1]),)
        for found in re.finditer(right, self.text):
            strength = _STATEMENT if found[2] else _OPINION
            yield found.start(), strength, (self._index(found[1]),)
        for found in _SAID.finditer(self.text):
            indices = tuple(self._named(found.end()))
            if indices:
                yield found.start(), self._strength(found), indices

    def _strength(self, found: re.Match[str]) -> int:
        """Return how strong a sentence is: hypothesis, statement or final statement."""
        before = self.text[max(0, found.start() - 20) : found.start()]
        sentence = re.split(r"[.\n;:!?]", before)[-1] + found.group()
        if _HYPOTHESIS.search(sentence):
            return _OPINION
        return _FINAL if re.search(r"\bfinal\b", sentence, re.I) else _STATEMENT

    def leading(self) -> Iterator[int]:
        """Yield the letters that label a line (`B. Paris`), and the text the answer begins with."""
        label = rf"^[ \t*_`\"'(\[>#-]{{0,8}}({self.any})(?:[.):\]*]{{1,4}}|\s[-–—])\s"
        for found in re.finditer(label, self.text, re.M):
            yield from self._from(found)
        start = re.match(r"\s*+[*_`\"'(\[]{0,4}", self.text)
        found_text = self.texts and start and self.texts.match(self.text, start.end())
        if found_text and _SENTENCE_ENDS.match(self.text, found_text.end()):
            yield matched_index(found_text)

    def mentioned(self) -> Iterator[int]:
        """Yield every letter and text anywhere but negated ones, `A is wrong` and the article."""
        word = r"(?![ \t](?!(?:because|since|as|is|and|or|seems|looks|would|must)\b)[a-z])"
        bare = (
            rf"(?<![{LETTER}\d_.+#-])({self.any})(?:(?<=A){word}|(?<=I)(?![ \t][a-z])|(?<![AI]))"
            rf"{_ENDS}{_NOT_WRONG}"
        )
        for found in re.finditer(bare, self.text):
            if not self._negated(found):
                yield self._index(found[1])
        for found in self.texts.finditer(self.text) if self.texts else ():
            if not self._negated(found):
                yield matched_index(found)

    def opening(self) -> Iterator[int]:
        """Yield the capital letter that the text begins with."""
        found = re.match(rf"\s*+{_OPTION}({self.any}){_ENDS}", self.text)
        if found:
            yield self._index(found[1])

    def _named(self, place: int) -> Iterator[int]:
        """Yield the letters or the text right behind a place such as `the answer is`."""
        small = rf"(?i:{self.any})(?=[.)\]*\"'](?![{LETTER}])|[ \t]{{0,4}}(?:\n|\Z))"
        target = re.compile(rf"{_OPEN}{_OPTION}({self.any}{_ENDS}|{small})")
        if found := target.match(self.text, place):
            yield from self._from(found)
            return
        start = re.compile(_OPEN).match(self.text, place)
        found_text = self.texts and start and self.texts.match(self.text, start.end())
        if found_text:
            yield matched_index(found_text)

    def _from(self, found: re.Match[str]) -> Iterator[int]:
        """Yield a letter, those joined to it (`A or B`), and the choice whose text follows it."""
        yield self._index(found[1])
        end = found.end(1)
        joined = re.compile(
            rf"[)\]*\"']{{0,4}}\s{{0,3}}(?:or|and|/|,|&)\s{{0,3}}[(\[*\"']{{0,4}}({self.any})"
            rf"{_ENDS}{_NOT_WRONG}"
        )
        while more := joined.match(self.text, end):
            yield self._index(more[1])
            end = more.end()
        behind = _TEXT_BEHIND.match(self.text, end)
        text = self.texts and behind and self.texts.match(self.text, behind.end())
        if text:
            yield matched_index(text)

    def _index(self, letter: str) -> int:
        return self.letters.index(letter.upper())

    def _negated(self, found: re.Match[str]) -> bool:
        return bool(_NEGATED.search(self.text[max(0, found.start() - 28) : found.start()]))
