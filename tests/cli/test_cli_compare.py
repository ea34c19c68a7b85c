"""`tunegate compare`: a table, a page and an exit code from run folders alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.records.errors import NotComparable, UsageError

OTHER_SUITE = "floor = 0.2\ngain = 0.2\nexpected_gain = 0.3"


def _compare(*args: str) -> Any:
    """Run the command in this process; errors of ours pass through, as to `main`."""
    return CliRunner().invoke(app, ["compare", *args], catch_exceptions=False)


@pytest.fixture
def runs(project: Any) -> Any:
    """Return a project with two runs, of 60 and of 80 right answers against 30."""
    project.suite()
    for name, right in (("low", 60), ("high", 80)):
        _run(project, name, right)
    return project


def _run(project: Any, name: str, right: int, **script: Any) -> None:
    project.pytest_here(
        "suites",
        f"--gate-run-dir={name}",
        f"--gate-base={project.model('base', 30, **script)}",
        f"--gate-tuned={project.model(name, right, **script)}",
        "--gate-early-stop=off",
    )


def test_the_better_one_ships(runs: Any) -> None:
    """Table, pairs, choice, files, and exit code 0."""
    result = _compare("low", "high", "-o", "out")

    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "2 candidates on demo; each gate gets 1/2 of its error"
    rows = {line[0]: line for line in lines if line[:3] in ("A  ", "B  ")}
    assert "SHIP" in rows["A"]
    assert "+50.0 points " in rows["B"]
    assert any(line.startswith("A → B  demo exact_match  +20.0 points ") for line in lines)
    assert lines[-2].startswith(
        "SHIP: B may ship as one of 2 candidates: demo: exactly right answers"
    )
    assert lines[-1] == "page: out/compare.html"
    assert {p.name for p in Path("out").iterdir()} == {"compare.html", "compare.md", "compare.json"}


def test_gates_on_tags_are_told_apart(project: Any) -> None:
    suite = project.suite(gates='gain = 0.05\n[[gates]]\nmetric = "exact_match"\ntag = "even"\n'
                          "tolerance = 0.3")  # fmt: skip
    cases = suite.parent / "cases.jsonl"
    rows = [json.loads(line) for line in cases.read_text(encoding="utf-8").splitlines()]
    tagged = [json.dumps({**row, "tags": ["even"] if i % 2 else []}) for i, row in enumerate(rows)]
    cases.write_text("\n".join(tagged), encoding="utf-8")
    for name, right in (("low", 60), ("high", 80)):
        _run(project, name, right)

    lines = _compare("low", "high", "-o", "out").output.splitlines()

    assert [line.split("  ")[1].strip() for line in lines if line.startswith("A → B")] == [
        "demo exact_match",
        "demo exact_match (tag even)",
    ]


def test_json_is_the_file_and_nothing_else(runs: Any) -> None:
    """A script reads standard output; the default folder is beside the runs'."""
    result = _compare("low", "high", "--json")

    assert result.output == Path(".tunegate/compare/compare.json").read_text(encoding="utf-8")
    assert json.loads(result.output)["chosen"] == "B"


def test_the_exit_code_is_that_of_the_chosen_run(runs: Any) -> None:
    """BLOCK is 1, for a run that the user insists on too."""
    _run(runs, "worse", 5)

    assert _compare("low", "worse").exit_code == 0
    assert _compare("low", "worse", "--choose", "worse").exit_code == 1
    with pytest.raises(UsageError, match="--choose high: not one of the runs; allowed: low, worse"):
        _compare("low", "worse", "--choose", "high")


def test_runs_that_are_not_comparable_are_refused(runs: Any) -> None:
    """In one line, with exit code 12 from the command, and nothing is written."""
    runs.suite(gates=OTHER_SUITE)
    _run(runs, "other", 80)

    with pytest.raises(NotComparable, match=r"low and other: .*the gates differ") as error:
        _compare("low", "other", "-o", "out")
    result = runs.tunegate("compare", "low", "other")

    assert result.ret == error.value.exit_code == 12
    assert len(result.stderr.lines) == 1
    assert not Path("out").exists()


def test_another_template_is_refused(runs: Any) -> None:
    """The prompts as the models saw them are compared, not the suite alone."""
    _run(runs, "prefixed", 80, prefix="system: be brief\n")

    with pytest.raises(NotComparable, match=r"low and prefixed: base differs: script_sha256="):
        _compare("low", "prefixed")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "a comparison takes two or more"),
        (("low",), "a comparison takes two or more"),
        (("low", "./low"), "low: named twice"),
        (("low", "nowhere"), "nowhere: no such run folder"),
    ],
)
def test_too_little_to_compare_is_a_mistake(runs: Any, args: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _compare(*args)


def test_a_folder_that_cannot_be_written_is_named(runs: Any) -> None:
    Path("file").write_text("", encoding="utf-8")

    with pytest.raises(UsageError, match=r"file/x: cannot be written \(.*\); choose another"):
        _compare("low", "high", "-o", "file/x")


def test_moved_runs_compare_the_same(runs: Any) -> None:
    before = json.loads(_compare("low", "high", "--json").output)
    for name in ("low", "high"):
        Path(name).rename(Path("moved-" + name))
    for path in [*Path("suites").rglob("*"), *Path().glob("*.json")]:
        if path.is_file():
            path.unlink()

    after = json.loads(_compare("moved-low", "moved-high", "--json").output)

    for one in (*before["candidates"], *after["candidates"]):
        del one["folder"]
    assert after == before


def test_suites_are_matched_by_name(project: Any) -> None:
    for suite in ("one", "two"):
        project.suite(suite)
    for name, order in (("first", ("one", "two")), ("second", ("two", "one"))):
        project.pytest_here(
            *(f"suites/{suite}/suite.toml" for suite in order),
            f"--gate-run-dir={name}",
            f"--gate-base={project.model('base', 30)}",
            f"--gate-tuned={project.model(name, 80)}",
        )
    orders = [[s["name"] for s in project.verdict(Path(n))["suites"]] for n in ("first", "second")]

    found = json.loads(_compare("first", "second", "--json").output)

    assert orders == [["one", "two"], ["two", "one"]]  # else there is nothing to match
    names = [[suite["name"] for suite in one["suites"]] for one in found["candidates"]]
    assert names == [["one", "two"]] * 2
