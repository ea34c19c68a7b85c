"""instruction_following: prompts that can be obeyed, say their rules and need to be read."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.metrics.format import format as keeps_rules
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score
from tunegate.harness.suite import load_suite

FOLDER = Path(__file__).parents[2] / "suites" / "instruction_following"
SUITE = load_suite(FOLDER)
CASES = SUITE.cases
TEXT_RULES = (
    "contains",
    "contains_any",
    "not_contains",
    "starts_with",
    "ends_with",
    "one_of",
    "postscript",
    *(f"{bound}{table}" for bound in ("", "min_", "max_") for table in ("count", "sections")),
    "paragraph_first_word",
)
"""Rules whose value names texts, which a prompt has to name as well."""
SIGNS_IN_WORDS = {
    "!": "exclamation mark",
    "?": "question mark",
    ".": "full stop",
    ";": "semicolon",
    ":": "colon",
    ",": "comma",
    "(": "round brackets",
    ")": "round brackets",
    '"': "strings",
    "[": "array",
}


def recorded(name: str) -> dict[str, Completion]:
    """Return the completions of a file of recorded answers by the id of their case."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return {row["id"]: Completion(text=row["completion"]) for row in map(json.loads, lines)}


def scores(name: str) -> dict[str, Score]:
    """Return the score of every case with the answers of a file."""
    answers = recorded(name)
    assert [case.id for case in CASES] == list(answers)
    return {case.id: keeps_rules(case, answers[case.id]) for case in CASES}


def test_there_are_enough_cases_of_each_kind() -> None:
    """264 cases, 24 of each of eleven kinds; the id begins with the kind, which is the tag."""
    assert set(Counter(tag for case in CASES for tag in case.tags).values()) == {24}
    assert len(CASES) == 264
    assert [case.id.rpartition("-")[0] for case in CASES] == [case.tags[0] for case in CASES]


def test_the_ideal_answers_keep_every_rule() -> None:
    found = scores("ideal.jsonl")

    assert {name: score.reason for name, score in found.items() if score.value != 1.0} == {}


def test_the_wrong_answers_break_a_rule() -> None:
    found = scores("wrong.jsonl")

    assert [name for name, score in found.items() if score.value != 0.0] == []


def test_every_rule_is_broken_somewhere() -> None:
    found = scores("wrong.jsonl")
    broken = {
        rule for score in found.values() for rule, held in (score.parts or {}).items() if not held
    }

    assert {rule for case in CASES for rule in case.rules or {}} - broken == set()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Yes.",
        "Sure! Here is an answer, as you asked.",
        "I'm sorry, but I can't help with that.",
    ],
)
def test_a_stock_answer_obeys_nothing(text: str) -> None:
    """An answer that fits every prompt alike scores 0 on all of them."""
    assert [case.id for case in CASES if keeps_rules(case, Completion(text=text)).value] == []


def _named(value: Any) -> list[str]:
    """Return the texts in a rule's value."""
    if isinstance(value, str):
        return [value]
    texts = value if isinstance(value, list | tuple) else [*value, *value.values()]
    return [text for text in texts if isinstance(text, str)]


def _said(text: str, prompt: str) -> bool:
    """Return whether the prompt names the text, in its own spelling or in words."""
    spelled = SIGNS_IN_WORDS.get(text, text.strip(' ".!')).casefold()
    return text.isdecimal() or spelled in prompt.casefold()


def test_prompts_name_the_texts_of_their_rules() -> None:
    """What must or must not occur stands in the prompt; no rule is a secret."""
    unsaid = [
        (case.id, rule, text)
        for case in CASES
        for rule, value in (case.rules or {}).items()
        if rule in TEXT_RULES
        for text in _named(value)
        if not _said(text, case.prompt or "")
    ]

    # An answer to a question or a sorted list is for the model to find, not for the prompt to say.
    assert {name for name, _, _ in unsaid} == {
        "length-08",  # cow
        "lists-09",  # 1. mouse 2. cat 3. horse
        "lists-19",  # 1. breakfast 2. lunch 3. dinner
        "letter_case-09",  # paris
        "structure-05",  # eight
    }


def test_no_template_fills_the_suite() -> None:
    words = [re.findall(r"\w+", (case.prompt or "").lower()) for case in CASES]
    openings = Counter(tuple(prompt[:3]) for prompt in words)
    sets = [frozenset(prompt) for prompt in words]
    likeness = [
        len(one & two) / len(one | two) for i, one in enumerate(sets) for two in sets[i + 1 :]
    ]

    assert openings.most_common(1)[0][1] <= len(CASES) / 20
    assert max(likeness) < 0.5


@pytest.mark.parametrize(("base", "tuned", "code"), [("wrong", "ideal", 0), ("ideal", "wrong", 1)])
def test_the_verdict_tells_obeying_from_disobeying(
    project: Any, base: str, tuned: str, code: int
) -> None:
    arms = [
        f"--gate-{arm}=replay:{FOLDER / f'{name}.jsonl'}"
        for arm, name in (("base", base), ("tuned", tuned))
    ]

    assert project.pytest_here(FOLDER, *arms).ret == code


def test_rules_are_read_from_the_case() -> None:
    """The file's `rules` arrive in the case as they are written."""
    case = next(case for case in CASES if case.id == "length-02")

    assert isinstance(case, Case)
    assert case.rules == {"words": 10, "contains": "roof"}
