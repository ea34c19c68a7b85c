"""Kinds of gates that answer each question unlike the built-in ones: nothing may guess for them."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator

import pytest

from tests.installed_kinds import KindProject, installed
from tunegate.harness.decision.verdict.next_step import next_step
from tunegate.harness.gates.contract.registry import gate_kind, gate_kinds
from tunegate.harness.plugin.items import explain_failure
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.suite import file_schema
from tunegate.reports.data import prepare_data
from tunegate.reports.typical_cases import typical_cases

KINDS = '''
from tunegate.harness.gates.contract.gate_kind import GateKind
from tunegate.harness.gates.contract.outcome import GateOutcome
from tunegate.harness.gates.contract.words import GateWords
from tunegate.harness.records.gate_results import GateReason, GateStatus


class MostChanged(GateKind):
    """At most so many cases change, for better or worse: it counts cases, and no loss fails it."""

    name = "most_changed"
    summary = "at most so many cases change"
    schema = {"most_changed": {"type": "number", "minimum": 0, "description": "Most cases."}}
    counts_cases = True
    ranks_cases = False
    words = GateWords(
        quantity="changed cases",
        rule="the limit of {margin} changed cases",
        label="at most {margin} cases change",
        against="that changed",
    )

    def decide(self, gate, pairs, context):
        gained = sum(d > 0 for d in pairs.differences)
        changed = gained + sum(d < 0 for d in pairs.differences)
        end = (GateStatus.PASS, None)
        if changed > gate.margin:
            end = (GateStatus.FAIL, GateReason.BOUND_BROKEN)
        return GateOutcome(
            *end, None, changed, changed, "count", estimate=changed, facts={"gained": gained}
        )

    def claims_loss(self, result):
        return False

    def contradiction(self, result, base, tuned):
        return 0.0 if base is None else abs(tuned - base)

    def passes_above(self, result):
        return False


class Wins(GateKind):
    """A goal other than a gain: tuned wins a share of the cases that change."""

    name = "wins"
    summary = "tuned wins so large a share of the cases that change"
    schema = {"wins": {"type": "number", "description": "Share of the cases that change."}}
    is_goal = True
    words = GateWords(quantity="share of wins", remedy="ask more people")

    def decide(self, gate, pairs, context):
        return GateOutcome(
            GateStatus.UNDECIDED, GateReason.UNDERPOWERED, None, 0.4, 0.9, "count", estimate=0.6
        )


most_changed, wins = MostChanged(), Wins()
'''
RIGHT, WRONG = "abcdefghij", "vwxyz"


@pytest.fixture(name="project", scope="module")
def _project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KindProject]:
    """Return a project with both kinds; tuned is better on ten cases, and worse on none."""
    folder = tmp_path_factory.mktemp("strangers")
    (folder / "site").mkdir()
    (folder / "work").mkdir()
    project = KindProject(folder / "work")
    project.path = str(installed(folder / "site", KINDS, "most_changed", "wins"))
    cases = [{"id": f"c{i}", "prompt": f"p{i}", "expected": RIGHT} for i in range(30)]
    project.suite("change", "most_changed = 3", cases)
    project.suite("win", "wins = 0.5", cases)
    project.answers("base", [RIGHT] * 20 + [WRONG] * 10)
    project.answers("tuned", [RIGHT] * 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(project.path)
        for cached in (gate_kind, gate_kinds, file_schema.suite_validator):
            cached.cache_clear()
        importlib.invalidate_caches()
        yield project
    sys.modules.pop("house_gates", None)
    for cached in (gate_kind, gate_kinds, file_schema.suite_validator):
        cached.cache_clear()


@pytest.fixture(name="run", scope="module")
def _run(project: KindProject) -> Run:
    """Return a run of both suites."""
    gate = project.tunegate(
        "gate", "change", "win", "--base", "replay:base.jsonl", "--tuned", "replay:tuned.jsonl",
        "--run-dir", "run",
    )  # fmt: skip
    assert gate.returncode == 1, gate.stdout + gate.stderr
    return Run.load(project.folder / "run")


def test_a_count_of_cases_is_no_share_that_may_be_lost(project: KindProject) -> None:
    check = project.tunegate("suite", "check", "change")

    assert check.returncode == 0, check.stderr
    assert "lets" not in check.stdout + check.stderr


def test_a_gate_that_fails_without_a_loss_is_not_called_one(run: Run) -> None:
    """Neither the next step nor a likely cause speaks of what was lost or forgotten."""
    verdict = run.verdict
    step = next_step(verdict, (), run="run", report="report.html")

    assert verdict.verdict is Verdict.BLOCK
    assert verdict.suites[0].causes == ()
    assert step == "look at the failing cases: report.html"
    assert "rose 66.7 → 100 %, the limit of 3 changed cases is broken" in verdict.sentence


def test_the_cases_against_a_gate_are_those_that_it_names(run: Run) -> None:
    """Tuned gained on all of them, which is what this kind limits."""
    (result,) = run.verdict.suites[0].gates
    data = prepare_data(run)
    cases = data.gate_cases[0]
    typical = typical_cases(data)

    assert sorted(cases.cases) == [f"c{i}" for i in range(20, 30)]
    assert cases.words == "10 cases that changed"
    assert typical is not None
    assert typical.title == "Typical of 10 cases that changed on edit_similarity of change"
    assert "worst cases: c20 (0 → 100 %), " in explain_failure(run.folder, "change", result)
    assert not data.metrics["change", "edit_similarity"].ranks


def test_numbers_of_a_kind_are_stored_under_its_names(run: Run) -> None:
    stored = json.loads((run.folder / "verdict.json").read_text("utf-8"))
    change, win = (suite["gates"][0] for suite in stored["suites"])

    assert (change["estimate"], change["facts"]) == (10, {"gained": 10})
    assert "facts" not in win


def test_a_goal_that_is_no_gain_is_not_planned_as_one(project: KindProject) -> None:
    plan = project.tunegate("plan", "win")

    assert plan.returncode == 0, plan.stderr
    assert "not planned: wins" in plan.stdout
    assert "expected_gain" not in plan.stdout
    assert "unknown for edit_similarity::wins" in plan.stdout


def test_an_undecided_goal_says_what_its_kind_advises(run: Run) -> None:
    verdict = run.verdict.model_copy(
        update={"verdict": Verdict.UNDECIDED, "suites": run.verdict.suites[1:]}
    )
    step = next_step(verdict, (), run="run", report="report.html")

    assert step is not None
    assert step.startswith("ask more people: ")
