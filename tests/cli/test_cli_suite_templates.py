"""`tunegate suite new --template`: suites over questions that the user has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness import suite as suites
from tunegate.harness.cli import app
from tunegate.harness.decision.planning.unreachable_gates import unreachable_gates
from tunegate.harness.records.errors import UsageError


def _call(*args: str) -> str:
    """Run a command in this process; errors of ours pass through, as to `main`."""
    result = CliRunner().invoke(app, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def _questions(folder: Path, subjects: int, each: int) -> None:
    """Write MMLU's files for invented subjects."""
    for split, rows in (("test", each), ("dev", 5)):
        (folder / split).mkdir(parents=True)
        for i in range(subjects):
            text = "".join(f"Question {i} {row}?,red,blue,green,grey,B\n" for row in range(rows))
            (folder / split / f"subject{i}_{split}.csv").write_text(text, encoding="utf-8")


def test_mmlu_gates_the_continuous_measure(project: Any) -> None:
    """Five questions of each of 57 subjects load, and their gate can be proven."""
    output = _call("suite", "new", "knowledge", "--template", "mmlu")
    _questions(project.path / "knowledge" / "data", subjects=57, each=6)

    assert "next: put the questions into knowledge/data" in output
    assert "285 cases, 1 gate" in _call("suite", "check", "knowledge")  # 57 × 5
    suite = suites.load_suite(Path("knowledge"))
    assert suite.name == "knowledge"
    assert [metric.name for metric in suite.metrics] == ["choice_probability", "choice_accuracy"]
    assert [gate.id for gate in suite.gates] == ["choice_probability::tolerance"]
    assert not unreachable_gates(suite)


def test_a_gate_on_accuracy_can_be_switched_on(project: Any) -> None:
    _call("suite", "new", "knowledge", "--template", "mmlu")
    _questions(project.path / "knowledge" / "data", subjects=57, each=6)
    file = project.path / "knowledge" / "suite.toml"
    text = file.read_text(encoding="utf-8")
    for line in ("[[gates]]", 'metric = "choice_accuracy"', "tolerance = 0.05"):
        text = text.replace(f"# {line}", line)
    file.write_text(text, encoding="utf-8")

    assert "285 cases, 2 gates" in _call("suite", "check", "knowledge")


@pytest.mark.parametrize(
    ("folder", "template", "message"),
    [
        ("mine", "mmul", "unknown template 'mmul'; did you mean 'mmlu'?"),
        ("there", "mmlu", "there: is already there; choose another name"),
        ("file/mine", "mmlu", "file/mine: cannot be written (Not a directory); choose another"),
    ],
)
def test_a_mistake_is_one_sentence(project: Any, folder: str, template: str, message: str) -> None:
    Path("there").mkdir()
    Path("file").write_text("", encoding="utf-8")

    with pytest.raises(UsageError) as caught:
        _call("suite", "new", folder, "--template", template)

    assert message in str(caught.value)


def test_without_the_questions_their_place_is_named(project: Any) -> None:
    from tunegate.harness.records.errors import SuiteError

    _call("suite", "new", "knowledge", "--template", "mmlu")

    with pytest.raises(SuiteError, match=r"knowledge/data: no such file or folder"):
        suites.load_suite(Path("knowledge"))
