r"""Choices that an answer in free text names.

Four kinds of evidence are tried, the strongest first. The first kind that is present decides; if it
names two choices, so does the answer. Every pattern looks at a few characters around a position, so
the time is linear in the text.

Example:
    >>> find_choices("I first thought of A, but the answer is (B).", "ABCD", ())
    {1}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property

from tunegate.harness.metrics._words import LETTER, matched_index, name_pattern

_OPEN = r"[\s:*_`\"'(\[$]{0,8}"
_CLOSE = r"[ \t*_`\"')\].:$]{0,8}"
_OPTION = r"(?:(?i:option|choice|answer|letter)\s)?[*_(\[\"']{0,4}"
_ENDS = rf"(?![{LETTER}\d_+#])(?!['’][{LETTER}])(?!-[{LETTER}\d])(?!\.[{LETTER}])"
"""Follows a letter that is a choice, not a part of `Apple`, `A-level`, `C++`, `A's` or `A.D.`."""
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

    `choices` are the choices' texts, as many as letters, or empty. If the token limit `cut_off` the
    answer, a letter in a sentence counts only at the start of the text.
    """
    reader = _ChoiceReader(text, letters, choices)
    last = reader.opening if cut_off else reader.mentioned
    kinds = (reader.alone, reader.stated, reader.leading, last)
    return next((choices_named for kind in kinds if (choices_named := set(kind()))), set())


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
        for match in re.finditer(box, self.text, re.I):
            yield match.start(), _STATEMENT, (self._index(match[1]),)
        for match in re.finditer(line, self.text, re.M):
            yield match.start(), _LINE, (self._index(match[1]),)
        for match in re.finditer(right, self.text):
            strength = _STATEMENT if match[2] else _OPINION
            yield match.start(), strength, (self._index(match[1]),)
        for match in _SAID.finditer(self.text):
            indices = tuple(self._choice_at(match.end()))
            if indices:
                yield match.start(), self._strength(match), indices

    def _strength(self, match: re.Match[str]) -> int:
        """Return how strong a sentence is: hypothesis, statement or final statement."""
        before = self.text[max(0, match.start() - 20) : match.start()]
        sentence = re.split(r"[.\n;:!?]", before)[-1] + match.group()
        if _HYPOTHESIS.search(sentence):
            return _OPINION
        return _FINAL if re.search(r"\bfinal\b", sentence, re.I) else _STATEMENT

    def leading(self) -> Iterator[int]:
        """Yield the letters that label a line (`B. Paris`), and the text the answer begins with."""
        label = rf"^[ \t*_`\"'(\[>#-]{{0,8}}({self.any})(?:[.):\]*]{{1,4}}|\s[-–—])\s"
        for match in re.finditer(label, self.text, re.M):
            yield from self._letter_and_text(match)
        start = re.match(r"\s*+[*_`\"'(\[]{0,4}", self.text)
        found_text = self.texts and start and self.texts.match(self.text, start.end())
        if found_text and _SENTENCE_ENDS.match(self.text, found_text.end()):
            yield matched_index(found_text)

    def mentioned(self) -> Iterator[int]:
        """Yield every letter and text, except negated ones, `A is wrong` and the article."""
        word = r"(?![ \t](?!(?:because|since|as|is|and|or|seems|looks|would|must)\b)[a-z])"
        bare = (
            rf"(?<![{LETTER}\d_.+#-])({self.any})(?:(?<=A){word}|(?<=I)(?![ \t][a-z])|(?<![AI]))"
            rf"{_ENDS}{_NOT_WRONG}"
        )
        for match in re.finditer(bare, self.text):
            if not self._negated(match):
                yield self._index(match[1])
        for match in self.texts.finditer(self.text) if self.texts else ():
            if not self._negated(match):
                yield matched_index(match)

    def opening(self) -> Iterator[int]:
        """Yield the capital letter that the text begins with."""
        found = re.match(rf"\s*+{_OPTION}({self.any}){_ENDS}", self.text)
        if found:
            yield self._index(found[1])

    def _choice_at(self, place: int) -> Iterator[int]:
        """Yield the letters or the text right behind a place such as `the answer is`."""
        small = rf"(?i:{self.any})(?=[.)\]*\"'](?![{LETTER}])|[ \t]{{0,4}}(?:\n|\Z))"
        target = re.compile(rf"{_OPEN}{_OPTION}({self.any}{_ENDS}|{small})")
        if match := target.match(self.text, place):
            yield from self._letter_and_text(match)
            return
        start = re.compile(_OPEN).match(self.text, place)
        found_text = self.texts and start and self.texts.match(self.text, start.end())
        if found_text:
            yield matched_index(found_text)

    def _letter_and_text(self, match: re.Match[str]) -> Iterator[int]:
        """Yield a letter, those joined to it (`A or B`), and the choice whose text follows it."""
        yield self._index(match[1])
        end = match.end(1)
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
