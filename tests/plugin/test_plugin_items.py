"""Collection: an item a gate, ids that can be given again, one run for all suites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def _ids(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "suite.toml::" in line]


@pytest.mark.parametrize("place", ["suites", "suites/demo", "suites/demo/suite.toml"])
def test_every_gate_is_an_item(project: Any, place: str) -> None:
    project.suite()

    result = project.pytest_here(place, *project.models(), "--collect-only", "-q")

    assert _ids(result) == [
        "suites/demo/suite.toml::exact_match::floor",
        "suites/demo/suite.toml::exact_match::gain",
    ]
    assert result.ret == 0
    assert not (project.path / ".tunegate").exists()


@pytest.mark.parametrize("asked", ["file", "folder"])
def test_a_suite_outside_of_the_root_is_named_by_its_folder(project: Any, asked: str) -> None:
    """A bundled suite lies outside of the project: its ids begin with its folder, not with `::`."""
    project.suite()
    elsewhere = project.path.parent / f"{project.path.name}-elsewhere" / "demo"
    elsewhere.parent.mkdir()
    (project.path / "suites" / "demo").rename(elsewhere)
    (project.path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    place = elsewhere / "suite.toml" if asked == "file" else elsewhere

    result = project.pytest_here(
        f"--rootdir={project.path}", place, *project.models(), "--collect-only", "-q"
    )

    assert _ids(result) == [
        "demo/suite.toml::exact_match::floor",
        "demo/suite.toml::exact_match::gain",
    ]


def test_two_suites_make_one_run(project: Any) -> None:
    project.suite("first", n=60)
    project.suite("second", gates="floor = 0.99")

    result = project.gate(*project.models())

    assert result.ret == 1
    verdict = project.verdict()
    assert [(s["name"], s["verdict"]) for s in verdict["suites"]] == [
        ("first", "SHIP"),
        ("second", "BLOCK"),
    ]
    result.assert_outcomes(passed=2, failed=1)
    assert [p.parent for p in project.path.rglob("verdict.json")] == [project.run]


@pytest.mark.parametrize(
    "choice",
    [
        ("suites", "-k", "gain"),
        ("suites/demo/suite.toml::exact_match::gain",),
        ("suites", "--deselect", "suites/demo/suite.toml::exact_match::floor"),
        ("suites", "--gate-max-cases=50"),
    ],
    ids=["k", "id", "deselect", "max-cases"],
)
def test_a_filtered_run_never_ships(project: Any, choice: tuple[str, ...]) -> None:
    project.suite()

    result = project.pytest_here(*choice, *project.models(tuned=95), "--gate-run-dir=run")

    assert result.ret == 10
    assert project.verdict()["verdict"] == "UNDECIDED"
    result.stdout.fnmatch_lines(["UNDECIDED: demo: judged in part only: *"])


def test_a_broken_floor_blocks_a_filtered_run_too(project: Any) -> None:
    """Filtering can hide a success, not a failure."""
    project.suite()

    assert project.gate(*project.models(tuned=10), "-k", "floor").ret == 1


def test_only_suites_with_a_selected_gate_are_answered(project: Any) -> None:
    project.suite("first", n=20)
    project.suite("second", n=20)

    project.gate(*project.models(tuned=100), "-k", "second")

    assert len(project.stored()) == 2 * 20
    assert [s["name"] for s in project.verdict()["suites"]] == ["second"]


def test_nothing_left_to_judge_is_undecided(project: Any) -> None:
    """All gates filtered away exit 10, not 0 and not pytest's 5."""
    project.suite()

    result = project.gate(*project.models(), "-k", "nothing_like_this")

    assert result.ret == 10
    result.stdout.fnmatch_lines(["UNDECIDED: no gate was judged: all were deselected"])


def test_a_suite_without_gates_is_undecided(project: Any) -> None:
    toml = 'name = "demo"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'
    project.raw_suite(toml, [{"id": "a", "prompt": "q", "expected": "yes"}])

    result = project.gate(*project.models())

    assert result.ret == 10
    result.stdout.fnmatch_lines(["UNDECIDED: no gate was judged: *"])


def test_x_stops_at_the_first_failing_gate(project: Any) -> None:
    project.suite()

    result = project.gate(*project.models(tuned=10), "-x")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["BLOCK: demo: *"])


def test_one_case_is_undecided(project: Any) -> None:
    project.suite(n=1, gates="floor = 0.5\ngain = 0")

    result = project.gate(*project.models(tuned=100, base=0), "--gate-max-cases=1")

    assert result.ret == 10


def _break(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("floor = 0.2", "flor = 0.2\ntolerance = 'x'"), encoding="utf-8")
    with path.with_name("cases.jsonl").open("a", encoding="utf-8") as file:
        file.write("{broken\n")


def test_suite_problems_are_lines_and_exit_4(project: Any) -> None:
    """Every problem is one line with file and line; nothing is run, no traceback."""
    _break(project.suite())
    project.suite("whole")

    result = project.gate(*project.models())

    assert result.ret == 4
    text = result.stdout.str()
    assert "did you mean 'floor'?" in text
    assert any("demo/suite.toml:" in line and "flor" in line for line in result.outlines)
    assert "Traceback" not in text + result.stderr.str()
    assert not (project.run / "manifest.json").exists()


def test_the_command_line_exits_2_for_suite_problems(project: Any) -> None:
    """`tunegate gate` calls a user's mistake 2."""
    _break(project.suite())

    result = project.tunegate("gate", "suites", "--tuned", project.model("tuned", 95))

    assert result.ret == 2
    assert "did you mean 'floor'?" in result.stdout.str()


def test_two_suites_of_one_name_are_refused(project: Any) -> None:
    project.suite("demo")
    path = project.suite("other")
    path.write_text(path.read_text(encoding="utf-8").replace('"other"', '"demo"'), encoding="utf-8")

    result = project.gate(*project.models())

    assert result.ret == 4
    result.stdout.fnmatch_lines(["*two suites are called 'demo'; give one of them another name*"])
    assert sorted(path.name for path in project.run.iterdir()) == ["comment.md", "summary.md"]


def _tagged_suite(project: Any) -> None:
    cases = [
        {"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes", "tags": [f"t{i % 2}"]}
        for i in range(100)
    ]
    gates = "".join(
        f'[[gates]]\nmetric = "exact_match"\n{tag}floor = 0.2\n'
        for tag in ("", 'tag = "t0"\n', 'tag = "t1"\n')
    )
    head = 'name = "demo"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'
    project.raw_suite(head + gates, cases)


def test_a_gate_on_a_tag_is_an_item(project: Any) -> None:
    _tagged_suite(project)
    ids = [
        "suites/demo/suite.toml::exact_match::floor",
        "suites/demo/suite.toml::exact_match::floor[t0]",
        "suites/demo/suite.toml::exact_match::floor[t1]",
    ]

    whole = project.pytest_here("suites", *project.models(), "--collect-only", "-q")
    one = project.pytest_here(ids[1], *project.models(), "--gate-run-dir=run")

    assert _ids(whole) == ids
    one.assert_outcomes(passed=1)
    [note, *_] = project.verdict()["suites"][0]["notes"]
    assert "2 of 3 gates were deselected: demo::exact_match::floor among them" in note


def test_a_tag_cannot_colour_the_terminal(project: Any) -> None:
    """What a terminal would obey is written out in the item's name."""
    head = 'name = "demo"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'
    gate = '[[gates]]\nmetric = "exact_match"\ntag = "a\\u001b[31m"\nfloor = 0.9\n'
    cases = [
        {"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes", "tags": ["a\x1b[31m"]}
        for i in range(20)
    ]
    project.raw_suite(head + gate, cases)

    result = project.gate(*project.models(tuned=0))

    assert result.ret == 1
    assert any("floor[a\\u001b[31m]" in line for line in result.outlines)
    assert not any("\x1b[31m" in line for line in result.outlines)
