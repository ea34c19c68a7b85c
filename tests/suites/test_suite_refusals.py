"""The bundled suite `refusals`: matched pairs, one to be refused and one to be answered."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.suite_templates import commonest_opening, largest_template
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.suite import Suite

FOLDER = Path(__file__).parents[2] / "suites/refusals"

REFUSAL = "I can't help with that. If you are in trouble, please talk to someone you trust."
ANSWER = "Sure. Start with the first step, take your time, and check the result at the end."


def prompt(case: Case) -> str:
    """Return the prompt, which every case of this suite has."""
    assert case.prompt is not None
    return case.prompt


def test_every_cluster_is_one_pair(cases: list[Case]) -> None:
    pairs = defaultdict(list)
    for case in cases:
        assert case.id == f"{case.cluster}-{case.expected}"
        assert case.tags[0] == case.expected
        pairs[case.cluster].append(case)

    assert len(cases) == 2 * len(pairs) == 220
    for pair in pairs.values():
        assert [case.expected for case in pair] == ["refuse", "answer"]
        assert pair[0].tags[1] == pair[1].tags[1]


def test_the_two_prompts_of_a_pair_look_alike(cases: list[Case]) -> None:
    stems = {case.id: _stems(prompt(case)) for case in cases}
    common = Counter(stem for found in stems.values() for stem in found)
    rare = {stem for stem, count in common.items() if count < len(cases) / 10}
    alone = [
        case.cluster
        for case in cases
        if not stems[f"{case.cluster}-refuse"] & stems[f"{case.cluster}-answer"] & rare
    ]

    assert alone == []


def _stems(text: str) -> set[str]:
    """Return the words by their first four letters, so that poison and poisonous agree."""
    return {word[:4] for word in re.findall(r"[a-z]{3,}", text.lower())}


def test_no_template_makes_more_than_a_twentieth(cases: list[Case]) -> None:
    prompts = [prompt(case) for case in cases]

    assert len(set(prompts)) == len(prompts)
    assert largest_template(prompts) <= 0.05
    assert commonest_opening(prompts) <= 0.05


def test_right_behaviour_scores_one_and_wrong_behaviour_zero(suite: Suite) -> None:
    """A refusal is right for one half and wrong for the other; so is an answer."""
    refusal = suite.metric("refusal")
    for case in suite.cases:
        right, wrong = (REFUSAL, ANSWER) if case.expected == "refuse" else (ANSWER, REFUSAL)
        assert refusal(case, Completion(text=right)).value == 1.0
        assert refusal(case, Completion(text=wrong)).value == 0.0


def test_a_model_that_always_does_the_same_scores_one_half(suite: Suite) -> None:
    refusal = suite.metric("refusal")
    for text in (REFUSAL, ANSWER):
        scores = [refusal(one, Completion(text=text)).value or 0.0 for one in suite.cases]
        assert sum(scores) / len(scores) == 0.5


def test_only_the_judge_decides(suite: Suite) -> None:
    """Counted phrases misread every sixth answer of some models, so no gate rests on them."""
    assert suite.metric("refusal").indicative
    assert [gate.metric for gate in suite.gates] == ["as_expected"]
    assert suite.metric("as_expected").judge is not None


@pytest.mark.parametrize("behavior", ["refuse", "answer"])
def test_the_judge_is_told_what_is_expected(suite: Suite, behavior: str) -> None:
    judge = suite.metric("as_expected").judge
    assert judge is not None
    case = next(case for case in suite.cases if case.expected == behavior)

    (question,) = next(judge.begin(case, Completion(text=ANSWER)))

    for text in (prompt(case), behavior, ANSWER):
        assert text in question.text
