"""The gate fixture: deltas in code, undecided asserts, pairs of completions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TESTS = """
    import pytest
    from tunegate import NotComparable, Undecided

    SUITE = "suites/demo"

    def test_delta(gate):
        delta = gate.compare(SUITE, metric="exact_match")
        assert delta.tuned >= 0.9
        assert delta.gains(by=0.10)
        assert delta.holds(within=0.02)

    def test_pairs(gate):
        pairs = list(gate.pairs(SUITE))
        assert len(pairs) == 100
        assert [p.tuned.text for p in pairs if p.case.id == "c050"] == ["yes"]
        assert [p.base.text for p in pairs if p.case.id == "c050"] == ["no"]
"""
UNDECIDED = """
    def test_holds(gate):
        assert gate.compare("suites/demo", metric="exact_match").holds(within=0.02)
"""


def _tests(project: Any, source: str) -> str:
    project.pytester.makepyfile(test_own=source.replace("NotComparable, ", ""))
    return "test_own.py"


def test_a_suite_that_only_code_asks_for(project: Any, workers: tuple[str, ...]) -> None:
    project.suite()
    run = project.pytest_apart if workers else project.pytest_here

    options = *project.models(), "--gate-run-dir=run", "--gate-early-stop=off"
    result = run(_tests(project, TESTS), *options, *workers)

    result.assert_outcomes(passed=2)
    assert result.ret == 0
    assert set(project.stored().values()) == {1}
    assert project.verdict(project.path / "run.demo")["verdict"] == "SHIP"
    assert not list(project.path.glob("run*/holder.json"))


def test_a_suite_of_the_session_is_not_run_twice(project: Any) -> None:
    project.suite()

    options = *project.models(), "--gate-early-stop=off"
    result = project.gate(_tests(project, TESTS), *options)

    result.assert_outcomes(passed=4)
    assert result.ret == 0
    assert not (project.path / "run.demo").exists()


def test_an_undecided_assert_is_10(project: Any, workers: tuple[str, ...]) -> None:
    """Too little evidence for a user's assert is UNDECIDED, not BLOCK."""
    project.suite(gates="gain = 0.1")
    run = project.pytest_apart if workers else project.pytest_here

    result = run(_tests(project, UNDECIDED), *project.models(tuned=29), *workers)

    result.assert_outcomes(failed=1)
    assert result.ret == 10
    result.stdout.fnmatch_lines(["test_own.py:2: UNDECIDED: exact_match on demo*undecided*100*"])


def test_an_undecided_assert_can_be_let_through(project: Any) -> None:
    project.suite(gates="gain = 0.1")

    result = project.pytest_here(
        _tests(project, UNDECIDED), *project.models(tuned=29), "--gate-undecided=neutral"
    )

    result.assert_outcomes(skipped=1)
    assert result.ret == 0


def test_a_refuted_assert_is_1(project: Any) -> None:
    project.suite()

    result = project.pytest_here(_tests(project, UNDECIDED), *project.models(tuned=5))

    assert result.ret == 1


@pytest.mark.parametrize(
    ("call", "script", "code", "line"),
    [
        ("compare('suites/demo', metric='exact')", {}, 4, "did you mean 'exact_match'?"),
        ("compare('suites/nowhere', metric='x')", {}, 4, "nowhere: no such suite"),
        ("compare('suites/demo', metric='exact_match')", {"prefix": "Hi. "}, 12, "get different"),
        (
            "compare('suites/demo', metric='exact_match')",
            {"fail": {f"c{i:03}": "HTTP 500" for i in range(10)}},
            13,
            "10 of 100 cases of tuned are unscored",
        ),
    ],
    ids=["metric", "suite", "prompts", "unscored"],
)
def test_an_error_of_ours_has_its_code_and_no_traceback(
    project: Any, call: str, script: dict[str, Any], code: int, line: str
) -> None:
    project.suite()
    source = f"def test_own(gate): gate.{call}"

    result = project.pytest_here(_tests(project, source), *project.models(**script))

    assert result.ret == code
    result.stdout.fnmatch_lines(["test_own.py:1: *"])
    assert line in result.stdout.str()
    assert "raise " not in result.stdout.str()


def test_the_fixture_without_a_model_is_skipped_with_a_reason(project: Any) -> None:
    """A colleague's plain `pytest` has no model; a job of CI that must have one says so."""
    project.suite()
    tests = _tests(project, UNDECIDED)

    result = project.pytest_here(tests, "-rs")
    result.assert_outcomes(skipped=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["SKIPPED*test_own.py:1*no model is named*--gate-tuned SPEC*"])

    for options in (("--gate-missing=fail",), ("--gate-tuned=",)):
        refused = project.pytest_here(tests, *options)
        assert refused.ret == 4
        assert "no tuned model: name the fine-tune with --gate-tuned" in refused.stdout.str()


EVERY = ("--gate-early-stop=off",)
ADAPTERS = """
    import pytest

    @pytest.mark.parametrize("name", ["good", "bad"])
    def test_each(gate, name):
        tuned = f"scripted:{name}.json"
        delta = gate.compare("suites/demo", "exact_match", tuned=tuned, base="scripted:base.json")
        print("SHOWN", repr(delta), repr(gate), repr(gate.pair("suites/demo", "c099",
              tuned=tuned, base="scripted:base.json")))
        assert delta.tuned == (0.95 if name == "good" else 0.05)
        assert delta.base == 0.3
"""


def test_tests_can_be_parametrised_over_adapters(project: Any) -> None:
    project.suite()
    for name, right in (("base", 30), ("good", 95), ("bad", 5)):
        spec = project.model(name, right)
        Path(f"{name}.json").write_bytes(Path(spec.removeprefix("scripted:")).read_bytes())

    result = project.pytest_here(_tests(project, ADAPTERS), "--gate-run-dir=run", "-rP", *EVERY)

    result.assert_outcomes(passed=2)
    folders = sorted(project.path.glob("run.demo.*"))
    names = [folder.name.split(".")[2].split("-")[1] for folder in folders]
    assert names == ["bad", "good"]
    for folder in folders:
        assert all((folder / n).is_file() for n in ("report.html", "summary.md", "junit.xml"))
        assert f"report: {folder.name}/report.html" in result.outlines
    rows = [words for line in result.outlines if (words := line.split())[:1] == ["demo"]]
    assert sorted((row[2], *row[3:6], row[-1]) for row in rows) == [
        ("scripted:bad.json", "30.0", "→", "5.0", "100"),
        ("scripted:good.json", "30.0", "→", "95.0", "100"),
    ]
    shown = next(line for line in result.outlines if line.startswith("SHOWN"))
    assert len(shown) < 300
    assert "CompletionPair(c099: base 'no', tuned '" in shown


EACH = """
    import pytest

    @pytest.mark.gate_cases("suites/demo")
    def test_one(gate, case):
        assert gate.pair("suites/demo", case).tuned.text == "yes"
"""


def test_one_test_per_case(project: Any) -> None:
    """Each case of a suite is a test of its id, for who wants that; the answers are made once."""
    project.suite(n=20)

    result = project.pytest_here(_tests(project, EACH), *project.models(tuned=18), "-v")

    result.assert_outcomes(passed=18, failed=2)
    result.stdout.fnmatch_lines(["*test_own.py::test_one[[]c000[]] PASSED*"])


def test_one_test_per_case_of_a_suite_that_is_not_there(project: Any) -> None:
    result = project.pytest_here(_tests(project, EACH))

    assert result.ret == 2
    assert "suites/demo: no such suite" in result.stdout.str()
    assert "hooks.py" not in result.stdout.str()


def test_a_quick_look_in_code_never_ships(project: Any) -> None:
    project.suite()
    source = "def test_own(gate): gate.compare('suites/demo', metric='exact_match')"

    result = project.pytest_here(_tests(project, source), *project.models(), "--gate-max-cases=40")

    result.assert_outcomes(passed=1)
    assert result.ret == 10
    result.stdout.fnmatch_lines(["UNDECIDED: only the first 40 cases of each suite"])


def test_a_delta_on_the_cases_of_a_tag(project: Any) -> None:
    """Tuned has the first 60 of 100 right and the tag is that of the last 50: 10 of them."""
    cases = [
        {"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes", "tags": [f"t{i // 50}"]}
        for i in range(100)
    ]
    head = 'name = "demo"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'
    project.raw_suite(head, cases)
    source = """
        import pytest
        from tunegate.harness.records.errors import UnknownName

        def test_tag(gate):
            delta = gate.compare("suites/demo", metric="exact_match", tag="t1")
            assert (delta.n, delta.base, delta.tuned) == (50, 0.0, 0.2)
            with pytest.raises(UnknownName, match="t0, t1"):
                gate.compare("suites/demo", metric="exact_match", tag="t2")
    """

    result = project.pytest_here(_tests(project, source), *project.models(tuned=60, base=30))

    result.assert_outcomes(passed=1)
