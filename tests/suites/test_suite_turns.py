"""The bundled suite `turns`: choices and rules agree, and ignoring the first turn is blocked."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.suite_templates import commonest_opening, largest_template
from tunegate.harness.metrics.format import format as keeps_rules
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.suites.turns import make

FOLDER = Path(__file__).parents[2] / "suites/turns"


def user_turns(case: Case) -> list[str]:
    """Return what the user says."""
    return [m["content"] for m in case.input_messages() if m["role"] == "user"]


def last_answers(case: Case) -> tuple[str, list[str]]:
    """Return the answer that keeps the rule, and the others."""
    choices = list(case.choices or ())
    return choices.pop(case.answer or 0), choices


def keeps(case: Case, text: str) -> bool:
    return keeps_rules(case, Completion(text=text)).value == 1.0


def test_the_files_are_what_the_material_makes(cases: list[Case]) -> None:
    """`python -m tunegate.suites.turns.make` would change no byte."""
    lines = [json.dumps(row, ensure_ascii=False) for row in make.cases()]
    ideal = [json.loads(x) for x in (FOLDER / "ideal.jsonl").read_text("utf-8").splitlines()]

    assert (FOLDER / "cases.jsonl").read_text(encoding="utf-8").splitlines() == lines
    assert ideal == [{"id": c.id, "completion": last_answers(c)[0]} for c in cases]


def test_it_has_as_many_conversations_of_each_kind_as_it_says(cases: list[Case]) -> None:
    counts = Counter(tag for case in cases for tag in case.tags)

    assert len(cases) == 112
    assert counts == {
        "rule:format": 32, "rule:role": 24, "rule:language": 24, "rule:fact": 32,
        "turns:2": 38, "turns:3": 37, "turns:4": 37,
    }  # fmt: skip
    for case in cases:
        roles = [m["role"] for m in case.input_messages()]
        assert f"turns:{roles.count('user')}" in case.tags
        assert roles == [("user", "assistant")[at % 2] for at in range(len(roles))]


def test_the_right_choice_keeps_the_rule_and_the_others_break_it(cases: list[Case]) -> None:
    for case in cases:
        right, others = last_answers(case)
        assert keeps(case, right), case.id
        assert [text for text in others if keeps(case, text)] == [], case.id


def test_the_earlier_answers_keep_the_rule(cases: list[Case]) -> None:
    """Facts are told, not shown; the words barred for a language are those of its last answer."""
    for case in cases:
        if case.tags[0] in ("rule:format", "rule:role"):
            said = [m["content"] for m in case.input_messages() if m["role"] == "assistant"]
            assert [text for text in said if not keeps(case, text)] == [], case.id


def test_a_fact_is_in_the_first_turn_and_not_in_the_last(cases: list[Case]) -> None:
    for case in cases:
        if case.tags[0] == "rule:fact":
            wanted = (case.rules or {})["contains_any"]
            wanted = [wanted] if isinstance(wanted, str) else wanted
            first, *others = user_turns(case)
            assert any(text in first.casefold() for text in wanted), case.id
            assert not any(text in others[-1].casefold() for text in wanted), case.id


def test_no_template_makes_more_than_a_twentieth(cases: list[Case]) -> None:
    first = [user_turns(case)[0] for case in cases]

    assert len(set(first)) == len(first)
    assert largest_template(first) <= 0.05
    assert commonest_opening(first) <= 0.05


def test_the_right_choice_is_as_often_in_each_place(cases: list[Case]) -> None:
    pairs = Counter(case.answer for case in cases if len(case.choices or ()) == 2)

    assert set(pairs.values()) == {40}


@pytest.mark.parametrize(
    ("ignored", "code"),
    [((), 0), (("fact",), 1), (("language",), 1), (("format", "role", "language", "fact"), 1)],
)
def test_a_model_that_ignores_the_first_turn_is_blocked(
    project: Any, cases: list[Case], tmp_path: Path, ignored: tuple[str, ...], code: int
) -> None:
    """Of one kind of rule alone, too; a model that changes nothing ships."""
    arms = []
    for arm, lost in (("base", ()), ("tuned", ignored)):
        script: dict[str, Any] = {"completions": {}, "choice_logprobs": {}, "default": arm}
        for case in cases:
            right, (other, *_) = last_answers(case)
            is_lost = case.tags[0].removeprefix("rule:") in lost
            script["completions"][case.id] = other if is_lost else right
            script["choice_logprobs"][case.id] = [
                -5.0 if (at == case.answer) == is_lost else -4.0
                for at in range(len(case.choices or ()))
            ]
        path = tmp_path / f"{arm}.json"
        path.write_text(json.dumps(script), encoding="utf-8")
        arms.append(f"--gate-{arm}=scripted:{path}")

    assert project.pytest_here(FOLDER, *arms).ret == code
