"""Further arms: a declaration is all that a run needs to ask one, show it and compare it."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tunegate.harness import suite as suites
from tunegate.harness.further_arms import (
    ARM_OPTIONS,
    FURTHER_ARMS,
    ArmComparison,
    FurtherArm,
    comparison_results,
    comparisons,
    further_arm,
)
from tunegate.harness.pipeline.run import EvaluationRun
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import IncumbentResult, Verdict, VerdictRecord
from tunegate.harness.verdict.decide import ScoredRun

TOML = """
name = "s"
cases = "cases.jsonl"
[generation]
max_new_tokens = 4
samples = 2
temperature = 0.5
[[metrics]]
use = "exact_match"
[[gates]]
metric = "exact_match"
tolerance = 0.5
"""
CASES = [{"id": f"c{i:02}", "prompt": f"Q{i}", "expected": "yes"} for i in range(60)]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that declares the arm `rival` for one test."""

    def add(**fields: Any) -> None:
        monkeypatch.setitem(FURTHER_ARMS, "rival", FurtherArm(name="rival", **fields))  # type: ignore[arg-type]  # a dict
        further_arm.cache_clear()

    yield add
    further_arm.cache_clear()


@pytest.fixture
def evaluate(
    suite_folder: Callable[..., Path], scripted: Callable[..., str], tmp_path: Path
) -> Callable[[], VerdictRecord]:
    """Return a function that runs a gate on base, tuned and rival."""

    def run() -> VerdictRecord:
        answers = {"base": "no", "tuned": "yes", "rival": "maybe"}
        completions = {
            name: {str(case["id"]): text for case in CASES} for name, text in answers.items()
        }
        return EvaluationRun(
            suites=[suites.load_suite(suite_folder(TOML, CASES))],
            specs={name: scripted(name, completions=of) for name, of in completions.items()},
            folder=tmp_path / "run",
            store_path=tmp_path / "store.sqlite",
            stream=io.StringIO(),
        ).run()

    return run


def asked(folder: Path) -> list[tuple[str, int]]:
    """Return case and sample of the rival's cells."""
    cells = (stored.cell for stored in Run.load(folder).cells)
    return [(cell.case, cell.sample) for cell in cells if cell.arm == "rival"]


def test_an_arm_is_asked_as_it_is_declared(
    declare: Callable[..., None], evaluate: Callable[[], VerdictRecord], tmp_path: Path
) -> None:
    """All cases in all samples, a sample of 50 of the 60 cases, or each case once."""
    declare()
    evaluate()
    assert len(asked(tmp_path / "run")) == 2 * 60

    declare(sampled=True)
    evaluate()
    assert len({case for case, _ in asked(tmp_path / "run")}) == 50

    declare(complete=False)
    evaluate()
    assert {sample for _, sample in asked(tmp_path / "run")} == {0}


def test_an_arm_without_a_comparison_has_no_say(
    declare: Callable[..., None], evaluate: Callable[[], VerdictRecord]
) -> None:
    """The rival is always wrong, and the verdict is as without it."""
    declare()

    verdict = evaluate()

    assert verdict.verdict is Verdict.SHIP
    assert comparison_results(verdict) == {}
    assert "rival" in verdict.arms


def test_an_arm_is_compared_by_its_declared_function(
    declare: Callable[..., None],
    evaluate: Callable[[], VerdictRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The function gets the rival's scores; its result is stored, and makes the verdict worse."""
    seen: list[ScoredRun] = []

    def compare(run: ScoredRun) -> IncumbentResult:
        seen.append(run)
        return IncumbentResult(verdict=Verdict.BLOCK, sentence="worse than the rival", suites=())

    module = ModuleType("rival_comparison")
    vars(module)["compare"] = compare
    monkeypatch.setitem(sys.modules, "rival_comparison", module)
    function = "rival_comparison:compare"
    declare(comparison=ArmComparison(field="standing", function=function, order=3))

    verdict = evaluate()

    assert verdict.verdict is Verdict.BLOCK
    assert verdict.sentence == "worse than the rival"
    assert verdict.standing is not None
    assert {row.value for row in seen[0].scores if row.arm == "rival"} == {0.0}


def test_the_arms_that_there_are() -> None:
    """Options in the order of the help; comparisons in the order of the run's sentence."""
    assert ARM_OPTIONS == ("base", "tuned", "incumbent", "shipped", "recorded")
    assert list(comparisons(FURTHER_ARMS)) == ["shipped", "incumbent"]


@pytest.mark.parametrize("name", ["incumbent", "shipped"])
def test_declared_functions_exist(name: str) -> None:
    """The function is imported by its name alone, and its field is one of verdict.json."""
    comparison = comparisons(FURTHER_ARMS)[name]

    assert comparison.field in VerdictRecord.model_fields
    with pytest.raises(AttributeError):
        comparison.compare(None)
