"""The stage: which completions are judged, and how judgements become the rows of a score table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_judges import FakeModel, graded, reply_to
from tunegate.harness import suite as suites
from tunegate.harness.contracts.judge import JudgeQuestion
from tunegate.harness.judges.asking import stage
from tunegate.harness.judges.asking.conversation import AskedJudgeModel
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.suite import Suite

RUBRIC = '[[metrics]]\nuse = "rubric"\ncriteria = "Apologises."\n'
PAIRWISE = '[[metrics]]\nuse = "pairwise"\n'


@pytest.fixture(name="load")
def _load(suite_folder: Callable[..., Path]) -> Callable[..., Suite]:
    def load(metrics: str, more: str = "") -> Suite:
        cases: list[dict[str, Any]] = [{"id": f"c{i}", "prompt": f"q{i}"} for i in range(2)]
        return suites.load_suite(
            suite_folder(f'name = "s"\ncases = "cases.jsonl"\n{metrics}{more}', cases)
        )

    return load


def cell(case: str, arm: str, text: str | None, *, sample: int = 0) -> StoredAnswer:
    place = Cell(
        suite="s", case=case, arm=arm, kind=CellKind.GENERATE, sample=sample, key=f"{case}{arm}"
    )
    if text is None:
        return StoredAnswer(cell=place, status="error", error="HTTP 500")
    return StoredAnswer(cell=place, status="ok", completion=Completion(text=text))


def longest(question: JudgeQuestion) -> str:
    """Prefer the longer of two answers."""
    first, second = (
        question.text.split(f"<<{name} ")[1].partition(">>\n")[2].split("\n<</")[0]
        for name in ("first", "second")
    )
    verdict = "first" if len(first) > len(second) else "second"
    return reply_to(question, reason="longer", verdict=verdict)


def test_a_comparison_gives_both_arms_a_score(load: Callable[..., Suite]) -> None:
    """Tuned wins on c0 (0 and 1), base on c1 (1 and 0): the deltas are +1 and -1."""
    cells = [
        cell("c0", "base", "short"),
        cell("c0", "tuned", "much longer"),
        cell("c1", "base", "much longer"),
        cell("c1", "tuned", "short"),
    ]

    judged = stage.run_judges([load(PAIRWISE)], cells, [AskedJudgeModel(FakeModel(longest))])

    assert {(r.case, r.arm): r.value for r in judged.rows} == {
        ("c0", "base"): 0.0,
        ("c0", "tuned"): 1.0,
        ("c1", "base"): 1.0,
        ("c1", "tuned"): 0.0,
    }
    assert [(j.case, j.arm, j.value, j.attempts) for j in judged.judgements] == [
        ("c0", "tuned", 1.0, 2),
        ("c1", "tuned", -1.0, 2),
    ]
    assert judged.rows[0].parts is not None
    assert judged.rows[0].parts["base_first"] == 1.0


def test_a_comparison_needs_both_answers(load: Callable[..., Suite]) -> None:
    model = FakeModel(longest)
    cells = [cell("c0", "base", "x"), cell("c0", "tuned", None)]

    judged = stage.run_judges([load(PAIRWISE)], cells, [AskedJudgeModel(model)])

    assert [(r.arm, r.value, r.reason) for r in judged.rows] == [
        ("base", None, "HTTP 500"),
        ("tuned", None, "HTTP 500"),
    ]
    assert model.asked == []


def test_samples_of_a_case_are_averaged(load: Callable[..., Suite]) -> None:
    """1 and 0 are 0.5; a case with a failed sample is unscored."""
    sampled = "[generation]\ntemperature = 1.0\nsamples = 2\n"
    cells = [
        cell("c0", "tuned", "sorry"),
        cell("c0", "tuned", "no", sample=1),
        cell("c1", "tuned", "sorry"),
        cell("c1", "tuned", None, sample=1),
    ]

    judged = stage.run_judges([load(RUBRIC, sampled)], cells, [AskedJudgeModel(FakeModel(graded))])

    assert [(r.case, r.value, r.reason) for r in judged.rows] == [
        ("c0", 0.5, "r"),
        ("c1", None, "HTTP 500"),
    ]


def test_base_asked_again_is_judged_too(load: Callable[..., Suite]) -> None:
    """The noise floor needs its scores; equal text costs no second question."""
    model = FakeModel(graded)
    cells = [cell("c0", "base", "sorry"), cell("c0", "base_again", "sorry")]

    judged = stage.run_judges([load(RUBRIC)], cells, [AskedJudgeModel(model)])

    assert {r.arm: r.value for r in judged.rows} == {"base": 1.0, "base_again": 1.0}
    assert len(model.asked) == 1


def test_the_judge_sees_the_suites_system_prompt(load: Callable[..., Suite]) -> None:
    model = FakeModel(graded)
    told = '[generation]\nsystem = "Answer in French."\n'

    stage.run_judges([load(RUBRIC, told)], [cell("c0", "base", "oui")], [AskedJudgeModel(model)])

    assert "[system]\nAnswer in French.\n\n[user]\nq0\n" in model.asked[0].text


def test_without_judge_models_every_row_says_so(load: Callable[..., Suite]) -> None:
    judged = stage.run_judges([load(RUBRIC)], [cell("c0", "base", "x")], [])

    assert [(r.value, r.reason) for r in judged.rows] == [(None, stage.NO_JUDGE)]
    assert judged.judgements == ()


def test_a_jury_that_is_split_in_half_has_no_score(load: Callable[..., Suite]) -> None:
    broken = FakeModel(lambda question: ValueError("HTTP 503"), name="broken")
    judge_models = [AskedJudgeModel(FakeModel(graded)), AskedJudgeModel(broken)]

    judged = stage.run_judges([load(RUBRIC)], [cell("c0", "base", "sorry")], judge_models)

    assert [(r.value, r.reason) for r in judged.rows] == [(None, "judge_error: HTTP 503")]
    assert [(j.judge, j.status) for j in judged.judgements] == [
        ("fake", "ok"),
        ("broken", "judge_error"),
    ]
