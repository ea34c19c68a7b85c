"""Format rules: for each name the value it takes and how an answer breaks it.

Definitions follow IFEval (Zhou et al., Instruction-Following Evaluation for Large Language Models,
2023) unless the docstring of `format` names another source.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.metrics import _json_parsing
from tunegate.harness.metrics._text_counts import COUNTS, split_paragraphs
from tunegate.harness.records.errors import unknown_name_message

Holds = Callable[[str, Any], bool]
_QUOTES = '"“”'


@dataclass(frozen=True, slots=True)
class FormatRule:
    """Allowed values of a rule, and its check of a text."""

    allowed: str
    """Description of the allowed value."""
    valid: Callable[[Any], bool]
    holds: Holds
    count: Callable[[str], int] | None = None
    """Counts the unit, for the reason of a broken rule."""

    def broken(self, name: str, value: Any, text: str) -> str | None:
        """Return how `text` breaks the rule, or None."""
        if self.holds(text, value):
            return None
        if value is True or name == "repeats_prompt":
            return name
        count = f" (found {self.count(text)})" if self.count else ""
        return _json_parsing.shorten_text(f"{name}={value!r}{count}", 150)


def rule_problems(rules: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a table of rules."""
    for name, value in rules.items():
        if name not in RULES:
            yield unknown_name_message(name, tuple(RULES), what="rule")
        elif not RULES[name].valid(value):
            yield _json_parsing.shorten_text(f"{name}={value!r} must be {RULES[name].allowed}")
    for thing in COUNTS:
        low = _bound(rules, f"min_{thing}", thing)
        high = _bound(rules, f"max_{thing}", thing)
        if low and high and low[1] > high[1]:
            yield f"{low[0]}={low[1]} and {high[0]}={high[1]} cannot both be kept"


def _bound(rules: Mapping[str, Any], *names: str) -> tuple[str, int] | None:
    there = ((name, rules[name]) for name in names if _is_count(rules.get(name)))
    return next(there, None)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_is_text, value))
    return _is_text(value)


def _is_counts(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(_is_text(key) and _is_count(number) for key, number in value.items())
    )


def _is_first_words(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(
            re.fullmatch("[1-9][0-9]{0,5}", str(key)) and _is_text(word)
            for key, word in value.items()
        )
    )


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _fold_texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(text.strip().casefold() for text in _texts(value))


def _occurrences(text: str, word: str) -> int:
    return text.casefold().count(word.casefold())


def _numbered_sections(text: str, word: str) -> int:
    return len(re.findall(re.escape(word.casefold()) + r"\s?\d", text.casefold()))


def _contains(text: str, value: Any) -> bool:
    folded = text.casefold()
    return all(word in folded for word in _fold_texts(value))


def _contains_any(text: str, value: Any) -> bool:
    folded = text.casefold()
    return any(word in folded for word in _fold_texts(value))


def _not_contains(text: str, value: Any) -> bool:
    folded = text.casefold()
    return not any(
        re.search(rf"(?<!\w){re.escape(word)}(?!\w)", folded) for word in _fold_texts(value)
    )


def _bare(text: str) -> tuple[str, str]:
    """Return the stripped text with and without quotes around it."""
    stripped = text.casefold().strip()
    return stripped, stripped.strip(_QUOTES).strip()


def _starts_with(text: str, value: Any) -> bool:
    return any(bare.startswith(_fold_texts(value)) for bare in _bare(text))


def _ends_with(text: str, value: Any) -> bool:
    return any(bare.endswith(_fold_texts(value)) for bare in _bare(text))


def _one_of(text: str, value: Any) -> bool:
    return text.strip() in {option.strip() for option in _texts(value)}


def _postscript(text: str, value: Any) -> bool:
    folded = text.casefold()
    marks = (r"\s?".join(map(re.escape, "".join(mark.split()))) for mark in _fold_texts(value))
    return any(re.search(rf"(?<!\w){mark}", folded) for mark in marks)


def _paragraph_first_word(text: str, value: Mapping[str, str]) -> bool:
    there = split_paragraphs(text)
    for number, wanted in value.items():
        if int(number) > len(there):
            return False
        first = there[int(number) - 1].split(maxsplit=1)[0].casefold()
        if _letters(first) != _letters(wanted.strip().casefold()):
            return False
    return True


def _letters(word: str) -> str:
    """Return the word from its first letter or digit to its last."""
    places = [place for place, character in enumerate(word) if character.isalnum()]
    return word[places[0] : places[-1] + 1] if places else word


def _json_only(text: str, _: Any) -> bool:
    try:
        _json_parsing.parse_json(text)
    except _json_parsing.UnreadableJson:
        return False
    return True


def _json_fenced(text: str, _: Any) -> bool:
    inside = re.fullmatch(r"```(?:json)?(.*)```", text.strip(), re.DOTALL | re.IGNORECASE)
    return _json_only(inside[1] if inside else text, _)


def _in_quotes(text: str, _: Any) -> bool:
    bare = text.strip()
    return len(bare) > 1 and bare[0] + bare[-1] in ('""', "“”")


def _title(text: str, _: Any) -> bool:
    return any(title[1].strip() for title in re.finditer(r"<<([^<>\n]++)>>", text))


def _two_answers(text: str, _: Any) -> bool:
    answers = [part.strip() for part in text.split("******")]
    inner = answers[not answers[0] : len(answers) - (not answers[-1])]
    return len(inner) == 2 and "" not in inner and inner[0] != inner[1]


def _counting_rules() -> Iterator[tuple[str, FormatRule]]:
    for prefix, fits in (("", operator.eq), ("min_", operator.ge), ("max_", operator.le)):
        for thing, count in COUNTS.items():
            yield prefix + thing, _counting_rule(fits, count)
        yield prefix + "count", _table_rule(fits, _occurrences)
        yield prefix + "sections", _table_rule(fits, _numbered_sections)


def _counting_rule(fits: Callable[[int, int], bool], count: Callable[[str], int]) -> FormatRule:
    def holds(text: str, wanted: Any) -> bool:
        return fits(count(text), wanted)

    return FormatRule("a whole number of 0 or more", _is_count, holds, count)


def _table_rule(fits: Callable[[int, int], bool], of: Callable[[str, str], int]) -> FormatRule:
    def holds(text: str, wanted: Any) -> bool:
        return all(fits(of(text, word), number) for word, number in wanted.items())

    return FormatRule("a table of texts and whole numbers", _is_counts, holds)


_TEXT_RULES: dict[str, Holds] = {
    "contains": _contains,
    "contains_any": _contains_any,
    "not_contains": _not_contains,
    "starts_with": _starts_with,
    "ends_with": _ends_with,
    "one_of": _one_of,
    "postscript": _postscript,
}
_YES_RULES: dict[str, Holds] = {
    "all_lowercase": lambda text, _: text.islower(),
    "all_uppercase": lambda text, _: text.isupper(),
    "no_commas": lambda text, _: "," not in text,
    "json_only": _json_only,
    "json_fenced": _json_fenced,
    "in_quotes": _in_quotes,
    "title": _title,
    "two_answers": _two_answers,
    "repeats_prompt": _starts_with,
}

RULES: dict[str, FormatRule] = {
    **dict(_counting_rules()),
    **{
        name: FormatRule("a text or a list of texts, none of them empty", _is_texts, holds)
        for name, holds in _TEXT_RULES.items()
    },
    "paragraph_first_word": FormatRule(
        "a table of paragraph numbers and words", _is_first_words, _paragraph_first_word
    ),
    **{
        name: FormatRule(
            "true; leave the rule out where not asked", lambda value: value is True, holds
        )
        for name, holds in _YES_RULES.items()
    },
}
"""Name → rule; `repeats_prompt` is given the prompt where the others are given their value."""
