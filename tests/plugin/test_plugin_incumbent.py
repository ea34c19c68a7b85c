"""--gate-incumbent: the fine-tune that is shipped today, beside base and tuned."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app


def incumbent(project: Any, right: int) -> str:
    """Return the option that names an incumbent with so many right answers of 100."""
    return f"--gate-incumbent={project.model('incumbent', right)}"


@pytest.mark.parametrize(("right", "code"), [(60, 0), (94, 0), (100, 1)])
def test_better_than_base_and_no_worse_than_todays(project: Any, right: int, code: int) -> None:
    """A fine-tune at 75 of 100 beats base at 30; whether it ships depends on what is there."""
    project.suite()
    tuned = {60: 95, 94: 95, 100: 75}[right]

    result = project.gate(*project.models(tuned=tuned), incumbent(project, right))

    standing = project.verdict()["further_arms"]["incumbent"]
    assert result.ret == code
    assert standing["suites"][0]["gates"][0]["n"] == 100
    assert standing["suites"][0]["gates"][0]["base"] == right / 100
    assert project.verdict()["suites"][0]["verdict"] == "SHIP"


def test_the_reports_name_the_incumbent(project: Any) -> None:
    project.suite()

    result = project.gate(*project.models(tuned=75), incumbent(project, 100))

    result.stdout.fnmatch_lines(
        ["BLOCK: worse than the incumbent: demo: exactly right answers fell *"]
    )
    page = (project.run / "report.html").read_text(encoding="utf-8")
    assert 'aria-label="Incumbent and tuned on demo"' in page
    summary = (project.run / "summary.md").read_text(encoding="utf-8")
    assert "### Incumbent\n\nworse than the incumbent: demo" in summary
    cases = ET.parse(project.run / "junit.xml").getroot().iter("testcase")
    (case,) = [case for case in cases if case.get("name") == "incumbent"]
    assert case.find("failure") is not None
    quality = json.loads((project.run / "codequality.json").read_text(encoding="utf-8"))
    assert {row["location"]["path"] for row in quality} == {"suites/demo/suite.toml"}


def test_without_an_incumbent_all_is_as_it_was(project: Any) -> None:
    project.suite()

    project.gate(*project.models())

    assert "further_arms" not in project.verdict()
    assert "Incumbent" not in (project.run / "report.html").read_text(encoding="utf-8")


def test_base_and_tuned_are_judged_as_without(project: Any) -> None:
    project.suite()
    project.gate(*project.models())
    alone = project.verdict()

    project.gate(*project.models(), incumbent(project, 60))

    assert alone["suites"][0]["n_skipped_decided"] > 0
    assert project.verdict()["suites"] == alone["suites"]


def test_a_stored_run_is_reported_again(project: Any) -> None:
    project.suite()
    options = *project.models(), incumbent(project, 60)
    project.gate(*options)
    first = (project.run / "verdict.json").read_bytes()

    result = CliRunner().invoke(app, ["report", "run"], catch_exceptions=False)
    project.gate(*options)

    assert "no worse than the incumbent by 1 gate" in result.output
    assert (project.run / "verdict.json").read_bytes() == first
