"""`tunegate plan`: what suites can prove, told before a token is spent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.records.errors import SuiteError, UsageError

PAGE = Path(__file__).parents[2] / "docs" / "getting-started" / "write-a-suite.md"


def _plan(*args: str | Path) -> str:
    """Run the command in this process; errors of ours pass through, as to `main`."""
    result = CliRunner().invoke(app, ["plan", *map(str, args)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_without_a_run_the_spread_is_assumed(project: Any) -> None:
    """Three discordances, three chances: Φ((.1√200 - 1.645√ψ)/√(ψ - .01)) = .999, .940, .830.

    With looks the last is .82. Where all that changes is a gain, four wins are enough (mid-p .031),
    and 54 cases have them in four runs of five: 1 - Σ(k<4) C(54, k) .1^k .9^(54 - k) = .80.
    """
    project.suite(gates="gain = 0.0\nexpected_gain = 0.1\nfloor = 0.5", n=200)

    lines = _plan("suites/demo").splitlines()

    assert lines == [
        "demo: 200 cases; spread assumed (--from RUN measures it)",
        "  gate                    spread             proves (80 %)          true change  passes"
        "           cases",
        "  exact_match::floor 0.5  not planned: depends on tuned's level",
        "  exact_match::gain 0.0   ψ 0.1 / 0.2 / 0.3  0.055 / 0.079 / 0.097  +0.1         "
        ">99 / 94 / 82 %  54 / 122 / 188",
        "  ψ: share of the cases that one model gets right and the other one wrong",
        "  SHIP: >99 / 94 / 82 % where the floors hold; 80 % takes 54 / 122 / 188 cases",
        "  note: chances are for a run that may end early; --early-stop off adds a point or two",
        "  time: unknown; give a timed run with --from RUN",
    ]


def test_a_run_tells_spread_and_time(project: Any) -> None:
    """65 wins of 100 in the run; each answer took 3 ms, and 100 cases of two arms 0.6 s."""
    project.suite()
    base, tuned = (
        project.model("base", 30, delay_s=0.003),
        project.model("tuned", 95, delay_s=0.003),
    )
    project.gate(f"--gate-base={base}", f"--gate-tuned={tuned}", "--gate-early-stop=off")

    output = _plan("suites/demo", "--from", "run")

    assert "demo: 100 cases; spread as in run\n" in output
    assert "exact_match::gain 0.1   ψ 0.65" in output
    assert "time: as in the run, 100 cases take 0:01" in output


def test_several_suites_are_one_run(project: Any) -> None:
    gates = "gain = 0.0\nexpected_gain = 0.1"
    project.suite("first", gates=gates, n=200)
    project.suite("second", gates=gates, n=200)

    output = _plan("suites", "suites/first")

    assert output.count("; 80 % takes 54 / 122 / 188 cases") == 2
    # .942² = .89 at ψ = .2, .82² = .67 at ψ = .3
    assert output.splitlines()[-1] == "all 2 suites: SHIP >99 / 89 / 67 %"


def test_a_declared_spread_counts_in_each_column_of_the_whole_run(project: Any) -> None:
    """Beside .999, .942 and .82 of an assumed spread, a declared ψ of .2 ships with .942."""
    gates = "gain = 0.0\nexpected_gain = 0.1"
    project.suite("assumed", gates=gates, n=200)
    project.suite("declared", gates=gates + "\n[plan]\nspread = { exact_match = 0.2 }", n=200)

    output = _plan("suites")

    # .999 x .942 = .94, .942² = .89, .82 x .942 = .77
    last = "all 2 suites: SHIP 94 / 89 / 77 %, declared spreads as in suite.toml"
    assert output.splitlines()[-1] == last


def test_a_bundled_suite_is_found_by_its_name(project: Any) -> None:
    """As with `tunegate gate`; its suite.toml says what spread to expect."""
    output = _plan("production")

    assert "spread of suite.toml" in output
    assert "answer_logprob::tolerance 0.75" in output


def test_scores_without_a_range_have_no_spread_before_a_first_run(project: Any) -> None:
    project.raw_suite(
        'name = "likely"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "answer_logprob"\n'
        '[[gates]]\nmetric = "answer_logprob"\ntolerance = 0.05',
        [{"prompt": f"q{number}", "expected": "a"} for number in range(200)],
        "likely",
    )
    output = _plan("suites/likely")

    assert "answer_logprob::tolerance 0.05  σ unknown: plan from a first run" in output
    assert "SHIP: unknown for answer_logprob::tolerance" in output


def test_a_suite_of_floors_has_nothing_to_plan(project: Any) -> None:
    """Nothing is compared, so everything depends on tuned's level; no gates, no say."""
    project.suite(gates="floor = 0.5")
    project.raw_suite(
        'name = "none"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "length"',
        [{"prompt": "q"}],
        "none",
    )

    assert "SHIP: depends on tuned's level alone" in _plan("suites/demo")
    assert "no gates: it can neither ship nor block" in _plan("suites/none")


def test_a_bound_that_asks_for_a_change_is_not_planned(project: Any) -> None:
    project.raw_suite(
        'name = "short"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "length"\n'
        '[[gates]]\nmetric = "length"\nratio_at_most = 0.8',
        [{"prompt": f"q{i}"} for i in range(20)],
        "short",
    )
    output = _plan("suites/short")

    assert "length::ratio_at_most 0.8" in output
    assert "SHIP: depends on gates that are not planned" in output


def test_what_cannot_ship_is_refused(project: Any) -> None:
    """The table is printed all the same, and every refusal on its line; exit 2."""
    project.suite(gates="tolerance = 0.02")

    result = project.tunegate("plan", "suites/demo")

    assert result.ret == 2
    assert "SHIP cannot be reached with these cases" in result.stdout.str()
    assert result.errlines == [
        "tunegate: suites/demo/suite.toml:9: tolerance=0.02 on 'exact_match' cannot be proven with "
        "100 cases even if no answer changes: it takes 149; add cases, or widen the tolerance"
    ]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "no suites; name at least one folder that holds a suite.toml"),
        (("nowhere",), "nowhere: no such suite; name a folder that holds a suite.toml"),
        (
            ("suites/demo::exact_match::gain",),
            "suites/demo::exact_match::gain: a plan is for a whole suite; leave out "
            "::exact_match::gain",
        ),
        (("suites", "--from", "nowhere"), "nowhere: no such run folder"),
        (("production", "--from", "run"), "run: unknown suite 'production'; there are: demo"),
        (("suites/more", "--from", "run"), "run: suite 'demo': unknown metric 'json_valid'"),
    ],
)
def test_a_mistake_is_one_line(project: Any, args: tuple[str, ...], message: str) -> None:
    """What is wrong, and what would be right."""
    project.suite()
    if "run" in args:
        project.gate(*project.models())
        more = (project.path / "suites/demo/suite.toml").read_text(encoding="utf-8")
        more = more.replace("exact_match", "json_valid")
        project.raw_suite(more, [{"prompt": "q"}] * 1, "more")

    with pytest.raises(UsageError) as caught:
        _plan(*args)

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_problems_of_all_suites_are_told_at_once(project: Any) -> None:
    first, second = project.suite("first", gates="flor = 1"), project.suite("second", gates="x = 1")

    with pytest.raises(SuiteError) as caught:
        _plan(first, second)

    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def test_the_documentation_shows_what_is_printed(project: Any) -> None:
    [block] = re.findall(
        r"^```\n\$ tunegate plan support_json\n(.*?)^```$",
        PAGE.read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )

    assert block == _plan("support_json")


def test_a_gate_on_a_tag_is_planned_with_its_cases(project: Any) -> None:
    toml = (
        'name = "{}"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'
        '[[gates]]\nmetric = "exact_match"\n{}tolerance = 0.1\n'
    )
    cases = [
        {"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes", "tags": [f"t{i % 2}"]}
        for i in range(180)
    ]
    project.raw_suite(toml.format("sliced", 'tag = "t0"\n'), cases, name="sliced")
    project.raw_suite(toml.format("half", ""), cases[::2], name="half")

    rows = [
        next(row for row in _plan(f"suites/{name}").splitlines() if "::tolerance" in row)
        for name in ("sliced", "half")
    ]

    assert rows[0].startswith("  exact_match::tolerance[t0] 0.1")
    provable = [re.search(r"ψ [0-9. /]+?  +([0-9. /]+?)  ", row) for row in rows]
    assert provable[0] is not None
    assert provable[1] is not None
    assert provable[0][1] == provable[1][1]


def test_a_gate_against_a_further_arm_is_planned_under_its_name(project: Any) -> None:
    gates = 'gain = 0.0\n[[gates]]\nmetric = "exact_match"\nagainst = "teacher"\ngain = 0.0'
    project.suite(gates=gates)

    rows = [row for row in _plan("suites/demo").splitlines() if "::gain" in row]

    assert [row.split()[0] for row in rows] == ["exact_match::gain", "exact_match::gain@teacher"]
