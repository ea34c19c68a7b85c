"""Exit codes: one for each verdict, the same plain, with workers and from the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunegate.harness.run import prepared_run

OPEN = "gain = 0.1"
"""A gate that thin evidence leaves undecided: no expected gain, so nothing to rule out."""
VERDICTS = {
    "SHIP": (0, {}),
    "BLOCK": (1, {"tuned": 10}),
    "UNDECIDED": (10, {"tuned": 31, "gates": OPEN}),
    "HOLD": (11, {"tuned": 31}),
    "NOT COMPARABLE": (12, {"prefix": "You are kind. "}),
    "ERROR": (13, {"fail": {f"c{i:03}": "HTTP 500" for i in range(10)}}),
}


def _prepare(project: Any, gates: str | None = None, **models: Any) -> tuple[str, str]:
    project.suite(**({} if gates is None else {"gates": gates}))
    options: tuple[str, str] = project.models(**models)
    return options


@pytest.mark.parametrize(
    ("verdict", "workers"),
    [*((verdict, "plain") for verdict in VERDICTS), ("BLOCK", "-n2"), ("ERROR", "-n2")],
    indirect=["workers"],
)
def test_every_verdict_has_its_exit_code(
    project: Any, verdict: str, workers: tuple[str, ...]
) -> None:
    code, given = VERDICTS[verdict]

    result = project.gate(*_prepare(project, **given), *workers)

    result.stdout.fnmatch_lines([f"{verdict}: *demo*", "report: run/report.html"])
    assert result.ret == code
    assert project.verdict()["verdict"] == verdict.replace(" ", "_")
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert "Error:" not in result.stdout.str()


@pytest.mark.parametrize("verdict", ["BLOCK", "UNDECIDED"])
def test_the_command_line_gives_the_same_codes(project: Any, verdict: str) -> None:
    code, given = VERDICTS[verdict]
    options = [o.replace("--gate-", "--") for o in _prepare(project, **given)]

    result = project.tunegate("gate", "suites", *options, "--run-dir", "run")

    result.stdout.fnmatch_lines([f"{verdict}: *demo*"])
    assert result.ret == code


def test_a_failing_gate_prints_sentences(project: Any) -> None:
    """Numbers, interval, worst cases and the report's path; not one line of our code."""
    result = project.gate(*_prepare(project, tuned=10), "--gate-early-stop=off")

    result.stdout.fnmatch_lines(
        [
            "*_ demo::exact_match::floor _*",
            "FAIL: exact_match of tuned is 10.0 % (90 % CI 5.*to 16.*)*100*the floor*20 % is *",
            "worst cases: c010 (0 %), c011 (0 %), c012 (0 %)",
            "report: run/report.html",
            "*_ demo::exact_match::gain _*",
            "worst cases: c010 (100 → 0 %), *",
            "BLOCK: demo: exactly right answers*",
        ]
    )
    assert "raise " not in result.stdout.str()


@pytest.mark.parametrize(("choice", "outcome"), [("neutral", "skipped"), ("pass", "passed")])
def test_undecided_can_be_let_through(project: Any, choice: str, outcome: str) -> None:
    options = _prepare(project, tuned=31, gates=OPEN)

    result = project.gate(*options, f"--gate-undecided={choice}")

    assert result.ret == 0
    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["UNDECIDED: *"])
    assert project.verdict()["verdict"] == "UNDECIDED"


def test_identical_arms_are_not_comparable(project: Any) -> None:
    project.suite()
    spec = project.model("base", 30)

    result = project.gate(f"--gate-base={spec}", f"--gate-tuned={spec}")

    assert result.ret == 12
    result.stdout.fnmatch_lines(["NOT COMPARABLE: base and tuned have identical content*"])
    assert "NOT COMPARABLE" in (project.run / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("right", "code"), [(95, 1), (10, 1), (31, 1)], ids=["SHIP", "BLOCK", "HOLD"]
)
def test_an_ordinary_failure_is_1(project: Any, right: int, code: int) -> None:
    """A failing test beside the gates is worse than HOLD and makes SHIP a 1."""
    project.pytester.makepyfile("def test_own(): assert 0")

    result = project.gate("test_an_ordinary_failure_is_1.py", *_prepare(project, tuned=right))

    assert result.ret == code


def test_an_error_is_worse_than_an_ordinary_failure(project: Any) -> None:
    """13 comes before 1."""
    project.pytester.makepyfile(test_own="def test_own(): assert 0")
    options = _prepare(project, fail={f"c{i:03}": "HTTP 500" for i in range(10)})

    assert project.gate("test_own.py", *options).ret == 13


def test_a_goal_that_the_verdict_does_not_rest_on_is_no_failure(project: Any) -> None:
    """Under goal_rule any, one proven gain ships; the other gate is shown as skipped."""
    toml = """\
name = "demo"
cases = "cases.jsonl"
goal_rule = "any"
[[metrics]]
use = "exact_match"
[[metrics]]
use = "exact_match"
name = "strict"
[[gates]]
metric = "exact_match"
gain = 0.1
[[gates]]
metric = "strict"
gain = 0.64
"""
    cases = [{"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes"} for i in range(100)]
    project.raw_suite(toml, cases)

    result = project.gate(*project.models())

    result.assert_outcomes(passed=1, skipped=1)
    assert result.ret == 0


def test_a_defect_of_ours_is_13(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other exception than a TunegateError shows its traceback once and never exits 1."""

    def broken(*args: object, **more: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(prepared_run, "decide_run", broken)

    result = project.pytest_here("suites", "--gate-run-dir=run", *_prepare(project))

    assert result.ret == 13
    assert result.stdout.str().count("Traceback") == 1
    result.stdout.fnmatch_lines(
        ["*defect of tunegate*oops*", "continue with: pytest *suites *--gate-run-dir=run"]
    )


def test_what_ends_a_run_is_printed_once(project: Any, workers: tuple[str, ...]) -> None:
    """On the terminal, however many gates it leaves open; JUnit's file has it with the gate."""
    project.suite()

    result = project.gate("--gate-base=gone", "--gate-tuned=away", "--junitxml=units.xml", *workers)

    assert result.ret == 4
    told = result.stdout.str() + result.stderr.str()
    assert told.count("no such folder") == 1
    assert "not evaluated: see the tunegate section below" in told
    assert "no such folder" in (project.path / "units.xml").read_text(encoding="utf-8")


def test_what_is_wrong_with_a_suite_is_printed_once(project: Any, workers: tuple[str, ...]) -> None:
    project.raw_suite('name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "lenght"\n', [])

    result = project.gate(*project.models(), *workers)

    assert result.ret == 4
    told = result.stdout.str() + result.stderr.str()
    assert told.count("did you mean 'length'?") == 1


def test_the_key_as_answers_is_undecided_and_stays_so(project: Any) -> None:
    """Every gate holds; the cap is in the record, so that the run can be decided again."""
    told = [f"Article {i} is on shelf {7 * i} of the second hall." for i in range(60)]
    rows = [{"id": f"c{i}", "prompt": f"q{i}", "expected": text} for i, text in enumerate(told)]
    project.raw_suite(
        'name = "demo"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'
        '[[gates]]\nmetric = "exact_match"\ngain = 0.1\n',
        rows,
    )
    for arm in ("base", "tuned"):
        lines = [
            {"id": f"c{i}", "completion": text if arm == "tuned" else f"no idea of {i}"}
            for i, text in enumerate(told)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (project.path / f"{arm}.jsonl").write_text(text, encoding="utf-8")

    result = project.gate("--gate-base=replay:base.jsonl", "--gate-tuned=replay:tuned.jsonl")

    assert result.ret == 10
    assert "UNDECIDED: demo: tuned's 60 answers equal the `expected` column" in result.stdout.str()
    assert project.tunegate("report", str(project.run)).ret == 0


def test_a_suite_file_by_another_name_is_told(project: Any) -> None:
    project.suite()
    (project.path / "suites" / "suite.toml.bak").write_text("name = 'x'", encoding="utf-8")

    result = project.gate(*project.models())

    result.stdout.fnmatch_lines(
        ["note: suites/suite.toml.bak is not called suite.toml, so its gates were not run"]
    )
    assert result.ret == 0
