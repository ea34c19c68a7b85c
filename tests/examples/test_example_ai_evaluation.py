"""The ai-evaluation judge, run as its users run it, against a stand-in of the library."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.judge import Judge
from tunegate.harness.judges.asking.judge_model import JudgementOutcome, JudgementTask
from tunegate.harness.judges.backends.command import command
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

PROGRAM = Path(__file__).parents[2] / "examples" / "judges" / "ai_evaluation.py"
LIBRARY = """
from types import SimpleNamespace

def evaluate(name, *, output, context, input, augment=False, model=None):
    print("loading")  # it writes to standard output
    if model and not augment:
        return SimpleNamespace(status="failed", score=None, reason="", error="needs a prompt")
    if output == "outage":  # a rate limit is a finished evaluation with score 0.0
        reason = "LLM provider failed: 429 rate limit"
        return SimpleNamespace(status="completed", score=0.0, reason=reason, error=None)
    if output == "nan":
        return SimpleNamespace(status="completed", score=float("nan"), reason="no", error=None)
    if output == "raise":
        raise RuntimeError("no network")
    score = 1.0 if output in context else 0.0
    return SimpleNamespace(status="completed", score=score, reason=f"{name} {model}", error=None)
"""
METRICS = """
from types import SimpleNamespace

class CustomLLMJudge:
    def __init__(self, provider, config):
        self.criteria = config["grading_criteria"]

    def evaluate(self, inputs):
        text = inputs[0]["response"]
        if text == "outage":
            return self._found(0.0, "Failed to parse LLM response")
        return self._found(0.7, f"{self.criteria}: {text}")

    def _found(self, output, reason):
        return SimpleNamespace(eval_results=[SimpleNamespace(output=output, reason=reason)])
"""


@pytest.fixture(autouse=True)
def _library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a library of that name and form in the program's way."""
    folder = tmp_path / "fi" / "evals"
    folder.mkdir(parents=True)
    (tmp_path / "fi" / "__init__.py").write_text("")
    (folder / "__init__.py").write_text(LIBRARY)
    (folder / "llm.py").write_text("class LiteLLMProvider: pass\n")
    (folder / "metrics.py").write_text(METRICS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def judged(name: str, judge: Judge, texts: list[str]) -> list[JudgementOutcome]:
    """Have the program judge texts."""
    judge_model = command(shlex.join([sys.executable, str(PROGRAM), *name.split()]))
    case = Case(id="c", prompt="Where?", context="in Hamburg")
    tasks = [JudgementTask("m", judge, case, (Completion(text=text),)) for text in texts]
    found = {id(task): outcome for task, outcome in judge_model.judge(tasks)}
    return [found[id(task)] for task in tasks]


@pytest.fixture(name="faithfulness")
def _faithfulness() -> Judge:
    """The judge whose place the program takes."""
    found = lookup.find_object("tunegate.harness.judges", "faithfulness", what="judge")
    assert isinstance(found, Judge)
    return found


def test_scores_are_scores_and_outages_are_not(faithfulness: Judge) -> None:
    """1 and 0 count; an outage as 0.0, a NaN, an exception and silence do not."""
    texts = ["Hamburg", "Bremen", "outage", "nan", "raise", " "]

    outcomes = judged("faithfulness --model gpt-4o", faithfulness, texts)

    assert [o.status for o in outcomes] == ["ok"] * 2 + ["judge_error"] * 3 + ["abstained"]
    assert [o.score.value for o in outcomes[:2] if o.score] == [1.0, 0.0]
    assert outcomes[0].score is not None
    assert outcomes[0].score.reason == "faithfulness gpt-4o"
    assert outcomes[2].error == "LLM provider failed: 429 rate limit"
    assert outcomes[4].error == "RuntimeError: no network"


def test_a_custom_judge_takes_the_rubrics_criteria() -> None:
    """The suite's criteria are the grading criteria; its parse failures are errors."""
    from dataclasses import replace

    rubric = lookup.find_object("tunegate.harness.judges", "rubric", what="judge")
    assert isinstance(rubric, Judge)
    judge = replace(rubric, options={"criteria": "Is kind"})

    good, bad = judged("custom --model gpt-4o", judge, ["Hello", "outage"])

    assert good.score is not None
    assert (good.score.value, good.score.reason) == (0.7, "Is kind: Hello")
    assert bad.error == "Failed to parse LLM response"
