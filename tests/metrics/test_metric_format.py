"""format: each rule by a table written from its definition, all rules together by the score."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics._format_rules import RULES
from tunegate.harness.metrics.format import format as form
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def score(text: str | None, own: dict[str, Any] | None, **options: Any) -> Score:
    """Score `text` without the safety net of Metric.__call__, so that an exception shows."""
    case = Case(id="c", prompt="Say hello, please.", rules=own)
    return form.score(case, Completion(text=text), **options)


def problems(rules: dict[str, Any] | None, own: dict[str, Any] | None = None) -> list[str]:
    """Return what is said when a suite with these rules, and these of its one case, is loaded."""
    assert form.check is not None
    options = {} if rules is None else {"rules": rules}
    return list(form.check(options, [Case(id="c", prompt="p", rules=own)]))


LIST = "Buy:\n* milk\n- eggs\n  + salt\n• tea\n---\n*not* a bullet\n-neither\n* * *"
MARKDOWN = "# Title\n\nText\ngoes on.\n\n\n## Part\n1. one\n2) two\n 3. three\n4.no\n#no"


@pytest.mark.parametrize(
    ("thing", "text", "count"),
    [
        ("words", "one two  three\nfour", 4),
        ("words", "well-known don't - — *", 2),  # a lone sign is not a word
        ("words", "…", 0),
        ("words", "3 apples, 4.5 kg", 4),
        ("characters", "  abc d \n", 5),
        ("characters", "é😀", 2),
        ("sentences", "One. Two! Three? Four", 4),
        ("sentences", "Mr. Bell met Dr. Ahn at 4.30. They spoke.", 2),
        ("sentences", "Fruit, e.g. apples, i.e. the red ones.", 1),
        ("sentences", "He left at 5 p.m. and slept.", 1),
        ("sentences", "He left at 5 p.m. She stayed.", 2),
        ("sentences", "J. S. Bach wrote it.", 1),
        ("sentences", "Wait... what? No!!!", 2),  # "Wait... what?" goes on in lower case
        ("sentences", '"Really?" he asked. "Yes."', 2),
        ("sentences", "all small. no capitals. none.", 3),
        ("sentences", "He said (twice.) Then left.", 2),
        ("sentences", "A heading\n\nA text without a stop", 2),
        ("sentences", "1. One thing\n2. Another thing.", 2),
        ("sentences", "Wrapped over\ntwo lines.", 1),
        ("sentences", "我来了。他走了！真的？", 3),
        ("sentences", "... !!! ---", 0),
        ("sentences", "It cost $3.50! Version 2.0.1 came out in 2020.", 2),
        ("lines", "a\n\n b\n\t\nc", 3),
        ("paragraphs", "a\nb\n\nc\n \n\nd", 3),
        ("paragraphs", "\n\na\n\n", 1),
        ("parts", "a\n***\nb\n***\nc", 3),
        ("parts", "***\na *** b\n***", 2),
        ("parts", "a\n******\nb", 1),  # six are the divider of two answers
        ("bullets", LIST, 4),
        ("bullets", "none", 0),
        ("numbered", MARKDOWN, 3),
        ("headings", MARKDOWN, 2),
        ("placeholders", "Dear [name], see [the date] and [] and [a\nb]", 2),
        ("placeholders", "[[x]]", 1),
        ("highlights", "*one* and **two** and ***three***, 2 * 3 * 4, * no", 3),
        ("highlights", "*a\nb*", 0),
        ("capital_words", 'NASA said: "STOP!" I think A1 is Not.', 4),  # NASA, STOP, I, A1
        ("capital_words", "WELL-KNOWN 42", 1),
    ],
)
def test_counts_things(thing: str, text: str, count: int) -> None:
    """Exactly, at least and at most rest on one count; each side of it is tried."""
    parts = {
        thing: count,
        f"min_{thing}": count,
        f"max_{thing}": count,
    }
    if text.strip():
        assert score(text, parts).parts == dict.fromkeys(parts, 1.0)
    assert score(text, {thing: count + 1}).value == 0.0
    assert score(text, {f"min_{thing}": count + 1}).value == 0.0
    assert count == 0 or score(text, {f"max_{thing}": count - 1}).value == 0.0


@pytest.mark.parametrize(
    ("rules", "text", "kept"),
    [
        ({"count": {"cat": 2}}, "Cat in a category", True),
        ({"count": {"cat": 1}}, "Cat in a category", False),
        ({"min_count": {"l": 3}}, "Hello, Lucy", True),  # one letter: letter frequency
        ({"min_count": {"l": 4}}, "Hello, Lucy", False),
        ({"max_count": {"e": 1, "o": 0}}, "Hello", False),  # o stands there
        ({"max_count": {"e": 1, "o": 1}}, "Hello", True),
        ({"sections": {"SECTION": 2}}, "Section 1\na\nSection 2\nb", True),
        ({"min_sections": {"Day": 3}}, "Day 1: a. Day2: b. Daylight", False),
        ({"max_sections": {"Day": 2}}, "Day 1: a. Day2: b. Daylight", True),
        ({"contains": ["Milk", "tea"]}, "milk and TEA", True),
        ({"contains": ["milk", "tea"]}, "milk", False),
        ({"contains": "cat"}, "category", True),
        ({"contains_any": ["yes", "no"]}, "My answer is yes.", True),
        ({"contains_any": ["yes", "no"]}, "Perhaps.", False),
        ({"not_contains": "cat"}, "category", True),  # whole words only
        ({"not_contains": ["dog", "cat"]}, "A Cat!", False),
        ({"not_contains": "a+"}, "grade a+ work", False),
        ({"starts_with": "hello"}, ' "Hello there"', True),
        ({"starts_with": "hello"}, "Well, hello", False),
        ({"starts_with": ["Yes", "No"]}, "no.", True),
        ({"ends_with": "Any other questions?"}, "Fine. any other questions?\n", True),
        ({"ends_with": "Any other questions?"}, '"Fine. Any other questions?"', True),
        ({"ends_with": "Any other questions?"}, "Any other questions? No.", False),
        ({"ends_with": 'say "hi"'}, 'You say "hi"', True),
        ({"one_of": ["yes", "no"]}, " yes\n", True),
        ({"one_of": ["yes", "no"]}, "Yes", False),
        ({"one_of": ["yes", "no"]}, "yes.", False),
        ({"postscript": "P.S."}, "Bye.\nP. S. Bring cake", True),
        ({"postscript": "P.S."}, "Bye. p.s. bring cake", True),
        ({"postscript": "P.S."}, "Keep the ship.s. away", False),
        ({"paragraph_first_word": {"2": "weather"}}, "One.\n\nWeather, it rains.", True),
        ({"paragraph_first_word": {"1": "weather"}}, "One.\n\nWeather.", False),
        ({"paragraph_first_word": {"3": "weather"}}, "One.\n\nWeather.", False),
        ({"all_lowercase": True}, "only small, 3 of them", True),
        ({"all_lowercase": True}, "only Small", False),
        ({"all_lowercase": True}, "123", False),  # nothing shows that it is kept
        ({"all_uppercase": True}, "LOUD 3!", True),
        ({"all_uppercase": True}, "LOUd", False),
        ({"no_commas": True}, "a; b", True),
        ({"no_commas": True}, "a, b", False),
        ({"json_only": True}, ' {"a": [1]}\n', True),
        ({"json_only": True}, '```json\n{"a": 1}\n```', False),
        ({"json_only": True}, 'Here: {"a": 1}', False),
        ({"json_fenced": True}, '```json\n{"a": 1}\n```\n', True),
        ({"json_fenced": True}, '```\n{"a": 1}```', True),
        ({"json_fenced": True}, '{"a": 1}', True),
        ({"json_fenced": True}, 'Here:\n```json\n{"a": 1}\n```', False),
        ({"json_fenced": True}, '```json\n{"a": 1,}\n```', False),
        ({"in_quotes": True}, '"All of it."\n', True),
        ({"in_quotes": True}, "“All of it.”", True),
        ({"in_quotes": True}, '"Some" of it', False),
        ({"in_quotes": True}, '"', False),
        ({"title": True}, "<<Ode to joy>>\nFreude", True),
        ({"title": True}, "<< >>\nFreude", False),
        ({"title": True}, "<Ode>\nFreude", False),
        ({"two_answers": True}, "Rome\n******\nParis", True),
        ({"two_answers": True}, "******\nRome\n******\nParis\n******", True),
        ({"two_answers": True}, "Rome\n******\n Rome", False),
        ({"two_answers": True}, "Rome", False),
        ({"two_answers": True}, "a******b******c", False),
        ({"two_answers": True}, "a************c", False),  # an empty answer in the middle
        ({"repeats_prompt": True}, "say hello, please. Hello!", True),
        ({"repeats_prompt": True}, "Hello! Say hello, please.", False),
    ],
)
def test_keeps_or_breaks_a_rule(rules: dict[str, Any], text: str, kept: bool) -> None:
    assert score(text, rules).value == float(kept)


def test_every_rule_is_tried() -> None:
    marks = [*test_counts_things.pytestmark, *test_keeps_or_breaks_a_rule.pytestmark]  # type: ignore[attr-defined]
    things, rules = (mark.args[1] for mark in marks)
    tried = {name for row in rules for name in row[0]}
    tried |= {prefix + row[0] for row in things for prefix in ("", "min_", "max_")}

    assert set(RULES) == tried


def test_one_broken_rule_is_a_zero() -> None:
    """The score is strict; its parts and its reason tell the rules apart."""
    result = score("one, two", {"max_words": 1, "no_commas": True, "contains": "two"})

    assert result.value == 0.0
    assert result.parts == {"max_words": 0.0, "no_commas": 0.0, "contains": 1.0}
    assert result.reason == "broken: max_words=1 (found 2), no_commas"


def test_a_case_adds_to_the_suites_rules() -> None:
    """Rules of the option and of the case both count; where both name one, the case wins."""
    result = score("a b c", {"max_words": 3}, rules={"max_words": 1, "bullets": 4})

    assert result.parts == {"max_words": 1.0, "bullets": 0.0}


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_answer_keeps_nothing(text: str) -> None:
    result = score(text, {"no_commas": True, "max_words": 5})

    assert result.value == 0.0
    assert result.parts == {"no_commas": 0.0, "max_words": 0.0}
    assert result.reason == "the answer is empty"


def test_missing_data_and_broken_rules_are_unscored() -> None:
    assert score(None, {"no_commas": True}).value is None
    assert score("a", None).value is None
    assert "max_word" in str(score("a", {"max_word": 1}).reason)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"max_word": 5}, "unknown rule 'max_word'; did you mean 'max_words'?"),
        ({"words": -1}, "words=-1 must be a whole number of 0 or more"),
        ({"words": True}, "words=True must be a whole number of 0 or more"),
        ({"words": 2.0}, "words=2.0 must be a whole number of 0 or more"),
        ({"no_commas": False}, "no_commas=False must be true; leave the rule out where not asked"),
        ({"contains": []}, "contains=[] must be a text or a list of texts, none of them empty"),
        ({"contains": [""]}, "must be a text or a list of texts, none of them empty"),
        ({"count": {}}, "count={} must be a table of texts and whole numbers"),
        ({"count": {"a": "b"}}, "must be a table of texts and whole numbers"),
        ({"paragraph_first_word": {"0": "x"}}, "must be a table of paragraph numbers and words"),
        ({"min_words": 5, "max_words": 4}, "min_words=5 and max_words=4 cannot both be kept"),
        ({"words": 5, "max_words": 4}, "words=5 and max_words=4 cannot both be kept"),
    ],
)
def test_a_wrong_rule_is_found_when_the_suite_is_loaded(rules: dict[str, Any], said: str) -> None:
    (of_option,) = problems(rules)
    (of_case,) = problems(None, rules)

    assert said in of_option
    assert said in of_case
    assert "case 'c'" in of_case


def test_a_case_without_rules_is_refused() -> None:
    assert problems({"words": 3}) == []
    assert problems(None, {"words": 3}) == []
    assert "case 'c'" in problems(None)[0]


def test_repeating_needs_a_prompt_in_words() -> None:
    rules = {"repeats_prompt": True}
    turns = ({"role": "user", "content": "No"}, {"role": "user", "content": "Say hello"})
    spoken = Case(id="c", messages=turns, rules=rules)
    silent = Case(id="d", messages=({"role": "user", "content": [1]},), rules=rules)

    assert form(spoken, Completion(text="Say hello: hello")).value == 1.0
    assert form(silent, Completion(text="Say hello: hello")).value is None
    assert form.check is not None
    assert form.check({}, [spoken]) == []
    assert "case 'd'" in form.check({}, [silent])[0]


def test_the_docstring_names_every_rule() -> None:
    text = str(form.score.__doc__)
    plain = {name.removeprefix("min_").removeprefix("max_") for name in RULES}

    assert {name for name in plain if not re.search(rf"`{name}\b", text)} == set()


EVERY: dict[str, Any] = {
    name: 3 for name in RULES if name.removeprefix("min_").removeprefix("max_") not in (
        "count", "sections",
    )
}  # fmt: skip
EVERY |= {name: {"a": 1} for name in RULES if name.endswith(("count", "sections"))}
EVERY |= {name: "a" for name in RULES if "with" in name or "contains" in name}
EVERY |= {"one_of": "a", "postscript": "P.S.", "paragraph_first_word": {"1": "a"}}
YES = ("all_lowercase", "all_uppercase", "no_commas", "json_only", "json_fenced", "in_quotes")
EVERY |= dict.fromkeys((*YES, "title", "two_answers", "repeats_prompt"), True)


@given(st.text(st.characters(exclude_categories=())) | st.text("ab.,*-#[]<>\"'\n 1Ä。"))
def test_any_text_is_scored(text: str) -> None:
    result = score(text, EVERY)

    assert result.value in (0.0, 1.0)
    assert result.parts is not None
    assert set(result.parts) == set(RULES)


@given(st.text("ab .,\n*-1", min_size=1))
def test_exactly_is_at_least_and_at_most(text: str) -> None:
    things = [name.removeprefix("min_") for name in RULES if name.startswith("min_")]
    for thing in set(things) - {"count", "sections"}:
        parts = score(text, {thing: 2, f"min_{thing}": 2, f"max_{thing}": 2}).parts
        assert parts is not None
        assert parts[thing] == parts[f"min_{thing}"] * parts[f"max_{thing}"]


@pytest.mark.parametrize(
    "unit",
    ["a", " ", "\n", ".", ". ", "a. ", "*", "* ", "*a", "[", "[a", "<<", "<", "- ", "```", "\n ",
     "1", "#", '"', "P.", "P. ", "。", "?)", "A.", "***", "aB", "\n\n1."],
)  # fmt: skip
def test_time_grows_with_the_answer_and_not_with_its_square(unit: str) -> None:
    """16 times the text takes about 16 times as long; with the square it would take 256 times.

    `min_` and `max_` count as the plain rule does.
    """
    rules = {name: value for name, value in EVERY.items() if not name.startswith(("min_", "max_"))}

    def seconds(characters: int) -> float:
        start = time.process_time()
        score(unit * (characters // len(unit)) + "x", rules)
        return time.process_time() - start

    assert seconds(16 * 20_000) < 64 * seconds(20_000)
