"""The section of axes: one line a tolerance, what it leaves possible, and the cases that turned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunegate.harness.records.gate_results import GateReason, GateStatus
from tunegate.harness.records.run_folder import Run
from tunegate.reports import page
from tunegate.reports.data import prepare_data
from tunegate.reports.sections.axes import find_axes, reviewer_sentences


def with_axes(run: Run, **changed: Any) -> Run:
    """Return the run with a gate on a tag beside the one on all of general_knowledge."""

    def more(suite: Any) -> Any:
        if suite.name != "general_knowledge":
            return suite
        gate = suite.gates[0]
        tagged = [gate.model_copy(update={"tag": tag, **changed}) for tag in tags(run)[:2]]
        return suite.model_copy(update={"gates": (*suite.gates, *tagged)})

    suites = tuple(map(more, run.verdict.suites))
    return replace(run, verdict=run.verdict.model_copy(update={"suites": suites}))


def tags(run: Run) -> list[str]:
    return sorted({tag for suite, case in run.cases for tag in run.cases[suite, case].case.tags})


def test_few_tolerances_need_no_overview(make_run: Any) -> None:
    run = make_run("BLOCK")

    assert find_axes(prepare_data(run)) == []
    assert 'id="axes"' not in page.render_page(run)


def test_each_tolerance_is_an_axis_and_goals_and_floors_are_not(make_run: Any) -> None:
    run = with_axes(make_run("BLOCK"))
    axes = find_axes(prepare_data(run))

    assert [(axis.name, axis.gate.metric) for axis in axes] == [
        ("support_json", "json_fields"),
        ("support_json", "truncated"),
        ("general_knowledge", "choice_accuracy"),
        ("general_knowledge", "choice_probability"),
        *((f"general_knowledge: {tag}", "choice_accuracy") for tag in tags(run)[:2]),
    ]


def test_cases_that_turned_are_those_whose_scores_differ(make_run: Any) -> None:
    run = with_axes(make_run("BLOCK"))
    axis = find_axes(prepare_data(run))[2]
    values = {(s.case, s.arm): s.value for s in run.scores if s.metric == "choice_accuracy"}
    cases = [case for suite, case in run.cases if suite == "general_knowledge"]

    for turned, sign in ((axis.worse, -1), (axis.better, 1)):
        wanted = [c for c in cases if values[c, "tuned"] - values[c, "base"] == sign]
        assert [one.view.name for one in turned] == wanted
    assert axis.worse


def test_a_loss_that_the_interval_leaves_possible_is_named(make_run: Any) -> None:
    axis = find_axes(prepare_data(with_axes(make_run("BLOCK"), low=-0.04, rate=True)))[-1]

    assert axis.hidden == 0.04
    assert axis.hidden_words == "4.0 points"
    lower = find_axes(prepare_data(with_axes(make_run("BLOCK"), low=0.01)))[-1]
    assert lower.hidden == 0


def test_the_sentences_name_what_is_lost_open_and_advisory(make_run: Any) -> None:
    run = with_axes(make_run("BLOCK"), status=GateStatus.UNDECIDED)
    lost, held, still, advisory = reviewer_sentences(find_axes(prepare_data(run)))

    assert lost == "Lost: general_knowledge (choice_probability)."
    assert held.startswith("Held: 2 gates; the largest loss that could still hide is ")
    assert all(f"general_knowledge: {tag} (" in still for tag in tags(run)[:2])
    assert "support_json (truncated)" in advisory


def test_a_loss_that_an_advisory_gate_proves_is_told_before_what_held(make_run: Any) -> None:
    seen = {"advisory": True, "status": GateStatus.FAIL, "reason": GateReason.REGRESSED}
    run = with_axes(make_run("BLOCK"), **seen)
    said = list(reviewer_sentences(find_axes(prepare_data(run))))

    assert [line.split(":")[0] for line in said] == [
        "Lost",
        "Advisory, but a loss is proven",
        "Held",
        "Advisory, so it decided nothing",
    ]
    assert all(f"general_knowledge: {tag} (" in said[1] for tag in tags(run)[:2])


def test_the_page_hides_the_texts_until_a_click(make_run: Any) -> None:
    run = with_axes(make_run("BLOCK"))
    html = page.render_page(run)
    part = html[html.index('id="axes"') :]
    part = part[: part.index("<section", 10)] if "<section" in part[10:] else part
    axis = find_axes(prepare_data(run))[2]

    outside = part.split("<details")[0]
    assert axis.worse[0].snippet in part
    assert axis.worse[0].snippet not in outside
    assert "<template>" in part
