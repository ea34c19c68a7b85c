"""The bundled suite `long_context`: a loss at one length alone is blocked, and named."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.cases import Case
from tunegate.harness.suite import Suite

FOLDER = Path(__file__).parents[2] / "suites/long_context"


def test_it_has_a_hundred_cases_a_length(suite: Suite, cases: list[Case]) -> None:
    """Twenty documents with five questions each; a gate on each length and one on all."""
    lengths = Counter(t for case in cases for t in case.tags if t.startswith("length:"))

    assert lengths == {"length:1k": 100, "length:2k": 100}
    assert len({case.cluster for case in cases}) == 40
    assert {gate.tag for gate in suite.gates} == {None, *lengths}


@pytest.mark.parametrize(
    ("lost", "code"),
    [(None, 0), ("length:2k", 1), ("length:1k", 1)],
)
def test_a_model_that_loses_one_length_is_blocked(
    project: Any, cases: list[Case], tmp_path: Path, lost: str | None, code: int
) -> None:
    """It guesses at that length; one that changes nothing ships."""
    arms = []
    for arm, lost_by_arm in (("base", None), ("tuned", lost)):
        script: dict[str, Any] = {"completions": {}, "choice_logprobs": {}, "default": arm}
        for case in cases:
            gap = 0.0 if lost_by_arm in case.tags else 2.0
            script["completions"][case.id] = (case.choices or ())[case.answer or 0] if gap else "?"
            script["choice_logprobs"][case.id] = [
                -4.0 + gap * (at == case.answer) for at in range(4)
            ]
        path = tmp_path / f"{arm}.json"
        path.write_text(json.dumps(script), encoding="utf-8")
        arms.append(f"--gate-{arm}=scripted:{path}")

    result = project.pytest_here(FOLDER, *arms, "--gate-early-stop=off", "--gate-run-dir=run")

    assert result.ret == code
    gates = project.verdict()["suites"][0]["gates"]
    assert {gate.get("tag") for gate in gates if gate["status"] == "fail"} == (
        {lost, None} if lost else set()
    )
