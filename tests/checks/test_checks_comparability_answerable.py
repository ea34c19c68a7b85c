"""What an arm cannot answer is refused before a case is spent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.image_files import png, write_image_suite
from tunegate.harness import suite as suites
from tunegate.harness.checks import comparability
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.answers import Cell, CellKind
from tunegate.harness.records.errors import UsageError

TOML = """
name = "quiz"
cases = "cases.jsonl"
[[metrics]]
use = "choice_accuracy"
[[gates]]
metric = "choice_accuracy"
tolerance = 0.5
"""


def test_a_metric_that_an_arm_cannot_serve_is_refused(suite_folder: Any, scripted: Any) -> None:
    """The message names suite and metric, and gives the arm's own reason; else nothing happens."""
    case = {"prompt": "1 + 1?", "choices": ["2", "3"], "answer": 0}
    folder: Path = suite_folder(TOML, [case])
    suite = suites.load_suite(folder / "suite.toml")
    specs = {name: scripted(name, default="x") for name in ("base", "tuned")}
    arms: dict[str, Any] = dict(open_arms(specs))

    comparability.check_answerable([suite], arms)
    arms["tuned"] = replace(arms["tuned"], kinds=frozenset({CellKind.GENERATE}))
    with pytest.raises(UsageError, match=r"quiz: metric 'choice_accuracy': scripted:.* choices"):
        comparability.check_answerable([suite], arms)


def test_a_suite_of_which_no_prompt_can_be_shown_is_refused() -> None:
    """One case that can be shown is enough; with none the first case's reason is told."""
    cells = [
        Cell(suite="quiz", case=case, arm=arm, kind=CellKind.GENERATE, key=f"{case} {arm}")
        for case in ("a", "b")
        for arm in ("base", "tuned")
    ]
    said = r"^quiz: tuned can answer none of the cases; case a: no chat template$"

    comparability.check_prompts(cells, {"a tuned": "no chat template"})
    with pytest.raises(UsageError, match=said):
        comparability.check_prompts(
            cells, {"a tuned": "no chat template", "b tuned": "no chat template"}
        )


def test_an_arm_that_reads_text_only_is_refused_before_it_sees_an_image(
    tmp_path: Path, scripted: Any
) -> None:
    pytest.importorskip("PIL")
    (tmp_path / "1.png").write_bytes(png())
    suite = suites.load_suite(write_image_suite(tmp_path, {"a": "1.png"}))
    specs = {name: scripted(name, default="x") for name in ("base", "tuned")}
    arms: dict[str, Any] = dict(open_arms(specs))

    comparability.check_answerable([suite], arms)
    arms["tuned"] = replace(arms["tuned"], image_kinds=frozenset({CellKind.CHOICES}))
    with pytest.raises(UsageError, match=r"1 case: metric 'exact_match' asks for 'generate'"):
        comparability.check_answerable([suite], arms)
    arms["tuned"] = replace(arms["tuned"], image_kinds=frozenset())
    with pytest.raises(UsageError, match=r"seen has images in 1 case, and tuned \(scripted:.*text"):
        comparability.check_answerable([suite], arms)
