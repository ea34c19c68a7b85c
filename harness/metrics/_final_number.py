r"""Final number of a text: which one is the answer, and its exact value.

Read are integers, decimals, thousands, fractions, mixed numbers, powers and scientific notation, in
plain text and in LaTeX. Nothing is calculated: `2\sqrt{3}` gives 3. Every pattern takes time linear
in the text: repeats are possessive (`++`), other searches look at a few characters.

Example:
    >>> find_final_number("3 + 4 = 7, so the answer is 7 apples").value
    Fraction(7, 1)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from tunegate.harness.metrics._words import LETTER

Percent = Literal["unit", "hundredth"]
Decimal = Literal["point", "comma"]

_LONGEST = 1000
"""Digits of the longest number that is read, and the largest power of ten."""

_MINUS = "-\u2212\u2013\ufe63\uff0d"
_PLAIN = r"(?:\d++(?:[.,'’_\u00a0\u2009\u202f]\d++)*+|(?<![\w.])\.\d++)"
_SIGNED = rf"[{_MINUS}+]?{_PLAIN}"
_EXPONENT = rf"(?:\^\s?\{{?\s?[{_MINUS}+]?\d++|[⁺⁻]?[⁰¹²³⁴-⁹]++)"
_TIMES = r"\s?(?:[×xX*·⋅]|\\times|\\cdot)\s?"
_VULGAR = "¼-¾⅐-⅞"

_NUMBER = re.compile(
    rf"""
    (?=[\d.\\{_VULGAR}])                                           # most characters end here
    (?<![{LETTER}\d_^]) (?<!\d[.,])                            # no part of a name
    (?<![_^]\{{) (?<!\^[{_MINUS}]) (?<!\^\{{[{_MINUS}])            # no index, no exponent
    (?:
      (?:(?P<frac_whole>\d++)\s?)? \\frac\s?
      (?: \{{\s?(?P<frac_top>{_SIGNED})\s?\}}\s?\{{\s?(?P<frac_bottom>{_PLAIN})\s?\}}
        | (?P<digit_top>\d)(?P<digit_bottom>\d) )
    | (?<!/) (?:(?P<whole>\d++)[ ])? (?P<top>{_PLAIN})\s?[/⁄∕]\s?(?P<bottom>{_PLAIN})
      (?!\s?/\s?\d)
    | (?:(?P<vulgar_whole>\d++)[ ]?)? (?P<vulgar>[{_VULGAR}])
    | (?P<plain>{_PLAIN})
      (?: e(?P<e>[{_MINUS}+]?\d++)
        | {_TIMES}10 (?P<ten>{_EXPONENT})
        | (?P<power>{_EXPONENT})
        | \s?(?P<scale>thousand|million|billion|trillion)\b )?
    )
    (?P<percent>\s?(?:\\?%|٪|％|per[ ]?cent\b))?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}

_CURRENCY = r"\\?[$¢£¤¥\u20a0-\u20cf]"

_SIGN = re.compile(
    rf"(?:(?<![\w)\]}}%])(?<![\w)\]}}%.]['\"])[{_MINUS}]|(?<!\w)negative\s)(?:{_CURRENCY})?$", re.I
)
"""A minus in front of a number; behind a word, digit, closing bracket or quote it subtracts."""

_GSM8K = re.compile(
    rf"####[ \t]{{0,8}}(?=[^\w\s]{{0,3}}(?:\d|\\frac))(?!\d{{1,3}}[.:)][ \t]{{1,4}}[{LETTER}])"
)
"""The line of GSM8K's answers; `#### 2. Next step` is a heading."""

_SAID = re.compile(
    r"<answer>|\banswer\b(?:[^.\n:=]{0,60}?\b(?:is|are|be|equals)\b|[*_ ]{0,4}[:=\n])"
    r"|(?P<quote>[\"'])(?:final[_ ]?)?answer(?P=quote)\s{0,4}:",
    re.I,
)

_CHAIN = re.compile(
    rf"[\s)]{{0,4}}(?:[{_MINUS}+*/×·÷^xX=]|\\times|\\cdot|\\div)[\s(]{{0,4}}[{_MINUS}]?(?:{_CURRENCY})?"
)
"""Operators between the numbers of an equation."""


@dataclass(frozen=True, slots=True)
class LocatedNumber:
    """A number and its place in the simplified text."""

    value: Fraction
    text: str
    start: int
    end: int


def find_final_number(
    text: str, *, percent: Percent = "unit", decimal: Decimal = "point"
) -> LocatedNumber | None:
    r"""Return the number that `text` gives as its answer; None if it holds none.

    The last of `\boxed{…}` and GSM8K's `####` decides; else the last "answer is", "Answer:" or
    JSON field `"answer":`; without any of them, or where no number follows it, the last number
    counts.
    """
    text = _simplify_latex(text)
    for segment in (_boxed_or_marked(text), _final_answer(text)):
        stated = segment and _first(_numbers(text[segment], percent, decimal), text[segment])
        if stated:
            return stated
    return _last(text, percent, decimal)


def _simplify_latex(text: str) -> str:
    """Replace LaTeX's spellings of what plain text writes in one character."""
    for old, new in (
        ("{,}", ","), ("\\,", "\u2009"), ("\\!", ""), ("\\;", " "), ("\\left", ""), ("\\right", ""),
        ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("\\cfrac", "\\frac"),
    ):  # fmt: skip
        text = text.replace(old, new)
    return text


def _boxed_or_marked(text: str) -> slice | None:
    box = text.rfind("\\boxed{")
    mark = -1
    for match in _GSM8K.finditer(text):
        mark = match.end()
    if box < 0 and mark < 0:
        return None
    return slice(mark, None) if mark > box else _brace_content(text, box + len("\\boxed{"))


def _brace_content(text: str, start: int) -> slice:
    """Return the text from `start` to the brace that closes; `=` ends a name before it."""
    depth, end = 1, len(text)
    for brace in re.finditer(r"[{}]", text[start:]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            end = start + brace.start()
            break
    return slice(max(start, text.rfind("=", start, end) + 1), end)


def _final_answer(text: str) -> slice | None:
    end = None
    for found in _SAID.finditer(text):
        end = found.end()
    return None if end is None else slice(end, None)


def _first(numbers: Iterator[LocatedNumber], text: str) -> LocatedNumber | None:
    """Return the first number, or the one behind the last `=` of the equation it begins."""
    first = next(numbers, None)
    if first is None:
        return None
    answer = last = first
    for number in numbers:
        gap = text[last.end : number.start]
        if len(gap) > 20 or not _CHAIN.fullmatch(gap):
            break
        last = number
        answer = number if "=" in gap else answer
    return answer


def _last(text: str, percent: Percent, decimal: Decimal) -> LocatedNumber | None:
    """Return the last number; only from the end are values made, which takes longest."""
    starts = [match.start() for match in _NUMBER.finditer(text)]
    for start in reversed(starts):
        match = _NUMBER.match(text, start)
        if match and (numbers := _read(match, percent, decimal)):
            return numbers[-1]
    return None


def _numbers(text: str, percent: Percent, decimal: Decimal) -> Iterator[LocatedNumber]:
    for found in _NUMBER.finditer(text):
        yield from _read(found, percent, decimal)


def _read(match: re.Match[str], percent: Percent, decimal: Decimal) -> list[LocatedNumber]:
    values = _values(match, decimal)
    if values and _SIGN.search(match.string[max(0, match.start() - 12) : match.start()]):
        values[0] = -values[0]
    if values and match["percent"] and percent == "hundredth":
        values[-1] /= 100
    text = match[0]
    return [LocatedNumber(value, text, match.start(), match.end()) for value in values]


def _values(match: re.Match[str], decimal: Decimal) -> list[Fraction]:
    """Return the values of what was found: none if it is too large, several if it is a list."""
    top = match["frac_top"] or match["digit_top"] or match["top"]
    if top is not None:
        bottom = match["frac_bottom"] or match["digit_bottom"] or match["bottom"]
        whole = match["frac_whole"] or match["whole"]
        return _mixed_fraction(whole, _parse_run(top, decimal), _parse_run(bottom, decimal))
    if match["vulgar"] is not None:
        above, _, below = unicodedata.normalize("NFKC", match["vulgar"]).partition("\u2044")
        return _mixed_fraction(match["vulgar_whole"], Fraction(int(above)), Fraction(int(below)))
    values = _runs(match["plain"], decimal)
    last = _apply_scale(values[-1], match) if values else None
    return [] if last is None else [*values[:-1], last]


def _mixed_fraction(
    whole: str | None, top: Fraction | None, bottom: Fraction | None
) -> list[Fraction]:
    if top is None or not bottom:
        return []
    part = top / bottom
    if whole is None or len(whole) > _LONGEST or not 0 < part < 1:
        return [part]
    return [int(whole) + part]


def _parse_run(run: str, decimal: Decimal) -> Fraction | None:
    """Return the value of one number; None if it is too long or a list."""
    values = _runs(run.lstrip("+" + _MINUS), decimal)
    if len(values) != 1:
        return None
    return -values[0] if run[0] in _MINUS else values[0]


def _apply_scale(value: Fraction, match: re.Match[str]) -> Fraction | None:
    """Apply a power or a scale word; None if the result is too large or undefined."""
    if match["scale"]:
        return value * Fraction(10) ** _SCALES[match["scale"].lower()]
    base = value if match["power"] else Fraction(10)
    written = match["e"] or match["ten"] or match["power"]
    if written is None:
        return value
    exponent = _exponent(written)
    size = max(base.numerator, base.denominator)
    if exponent is None or size > 10**8 or (base == 0 and exponent < 0):
        return None
    return base**exponent if match["power"] else value * base**exponent


def _exponent(written: str) -> int | None:
    text = unicodedata.normalize("NFKC", written).lstrip("^{ \t\n")
    digits = text.lstrip("+" + _MINUS)
    if len(digits) > 3:
        return None
    return -int(digits) if text[0] in _MINUS else int(digits)


_GROUPED = {
    "point": re.compile(
        r"(?:[1-9]\d{0,2}(?P<s>[,'’_\u00a0\u2009\u202f])\d{3}(?:(?P=s)\d{3})*+"
        r"|[1-9]\d?(?:,\d\d)+,\d{3}|\d++)?(?P<part>\.\d++)?"
    ),
    "comma": re.compile(
        r"(?:[1-9]\d{0,2}(?P<s>[.'’_\u00a0\u2009\u202f])\d{3}(?:(?P=s)\d{3})*+|\d++)"
        r"(?P<part>,\d++)?"
    ),
}
"""A number as the option `decimal` reads it: groups of three, or Indian groups, then decimals."""


def _runs(run: str, decimal: Decimal) -> list[Fraction]:
    """Return the one number that digits and separators make, else each run of digits.

    What has too many digits to be meant is left out.
    """
    match = _GROUPED[decimal].fullmatch(run)
    if match is None:
        digits = re.findall(r"\d+", run)
        return [Fraction(int(each)) for each in digits if len(each) <= _LONGEST]
    if len(run) > _LONGEST:
        return []
    part = match["part"] or ""
    whole = "".join(c for c in run[: len(run) - len(part)] if c.isdecimal())
    return [Fraction(int(whole + part[1:] or "0"), 10 ** max(0, len(part) - 1))]
