"""What judging will take: as many calls as are made, priced by litellm's list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fake_judges import FakeModel, reply_to
from tunegate.harness.contracts.judge import JudgeQuestion, Steps
from tunegate.harness.judges.asking.conversation import AskedJudgeModel
from tunegate.harness.judges.asking.costs import ASSUMED_ITEMS, forecast_judging, forecast_lines
from tunegate.harness.judges.asking.judge_model import JudgementTask
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.suite import Suite, load_suite

CALL = {"name": "weather", "arguments": {"city": "Paris"}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
JUDGES = {
    "rubric": ('criteria = ["Is kind.", "Is short."]', 2 * 2),
    "tone": ("", 2),
    "pairwise": ("", 2),
    "tool_use": ("", 2 * 6),
    "instruction_following": ("", 1 + 2 * ASSUMED_ITEMS),
    "faithfulness": ("", 2 + ASSUMED_ITEMS),  # both arms are assumed to make the same claims
}
"""Judge → its options, and the questions of a case with both arms' answers, by hand."""


@pytest.fixture(name="load")
def _load(suite_folder: Any) -> Callable[..., Suite]:
    def load(judge: str, options: str = "", cases: int = 8) -> Suite:
        rows = [
            {"id": f"c{n}", "prompt": f"q{n}", "context": f"source {n}", "tools": TOOLS}
            for n in range(cases)
        ]
        toml = f'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "{judge}"\n{options}\n'
        return load_suite(suite_folder(toml, rows))

    return load


def replied(question: JudgeQuestion) -> str:
    """Reply with the first choices, and as many items as a forecast assumes."""
    fields: dict[str, Any] = {}
    for name, form in question.fields.items():
        items = [f"item {n}" for n in range(ASSUMED_ITEMS)]
        fields[name] = (
            form["enum"][0] if "enum" in form else (items if form["type"] == "array" else "")
        )
    return reply_to(question, **fields)


@pytest.mark.parametrize(("name", "options", "each"), [(n, *v) for n, v in JUDGES.items()])
def test_as_many_calls_as_are_made(
    load: Callable[..., Suite], name: str, options: str, each: int
) -> None:
    suite = load(name, options)
    (told,) = forecast_judging([suite], ["a-model"])
    judge = suite.metrics[0].judge
    assert judge is not None
    answers = [(Completion(text=f"{arm} says"),) for arm in ("base", "tuned")]
    given = [(answers[0][0], answers[1][0])] if judge.pairs else answers
    tasks = [JudgementTask(name, judge, case, each) for case in suite.cases for each in given]
    model = FakeModel(replied)
    list(AskedJudgeModel(model).judge(tasks))

    assert told.calls == len(model.asked) == 8 * each


def test_many_cases_are_sampled(load: Callable[..., Suite]) -> None:
    """430 cases of one question for each answer: 860 calls, from 54 cases looked at."""
    (told,) = forecast_judging([load("tone", cases=430)], [])

    assert told.calls == pytest.approx(860, rel=0.01)
    assert (told.judge, told.cost) == ("a judge", None)


def test_a_price_is_the_lists(load: Callable[..., Suite]) -> None:
    """0.15 and 0.60 dollars for a million tokens of gpt-4o-mini in and out."""
    (told,) = forecast_judging([load("tone")], ["litellm:openai/gpt-4o-mini?rpm=5"])
    (unknown,) = forecast_judging([load("tone")], ["litellm:openai/no-such-model"])

    tokens = told.input_tokens or 0, told.output_tokens or 0
    assert told.cost == pytest.approx((tokens[0] * 0.15 + tokens[1] * 0.60) / 1e6)
    assert unknown.cost is None
    assert 16 * 200 < tokens[0] < 16 * 600  # system turn, schema, prompt and answer


def test_programs_and_recorded_judgements_have_no_tokens(
    load: Callable[..., Suite], tmp_path: Path
) -> None:
    """A program gets one line for an answer; what was recorded is asked nothing."""
    suite = load("rubric", 'criteria = ["a", "b"]')
    program, recorded = forecast_judging([suite], ["command:cat", "replay:x.jsonl"])

    assert (program.calls, program.input_tokens, program.cost) == (16, None, None)
    assert recorded.calls == 0
    assert len(list(forecast_lines([program, recorded]))) == 1


def test_a_judge_of_a_users_own_that_stumbles_is_no_error(load: Callable[..., Suite]) -> None:
    suite = load("tone")
    (metric,) = suite.metrics
    judge = metric.judge
    assert judge is not None

    def steps(case: Case, completion: Completion, **options: Any) -> Steps:
        yield next(judge.steps(case, completion, **options))
        raise KeyError("seen")

    broken = replace(metric, judge=replace(judge, steps=steps))
    (told,) = forecast_judging([replace(suite, metrics=(broken,))], [])

    assert told.calls == 16
