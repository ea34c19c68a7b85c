"""The section of axes: one line a tolerance, what it leaves possible, and the cases that turned."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from tunegate.harness.records.gate_results import GateReason, GateStatus
from tunegate.harness.records.run_folder import Run
from tunegate.reports import page
from tunegate.reports.case_detail import prompt_snippet
from tunegate.reports.data import prepare_data
from tunegate.reports.sections import axes
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
    found = find_axes(prepare_data(run))

    assert [(axis.name, axis.gate.metric) for axis in found] == [
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
        assert turned == sum(values[c, "tuned"] - values[c, "base"] == sign for c in cases)
    assert axis.worse > 0


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
    assert re.match(r"Held: 2 gates, with \d+ scores worse and \d+ better; the largest loss ", held)
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


def test_axes_that_held_have_no_row_and_the_others_link_to_their_cases(make_run: Any) -> None:
    """One gate lost, two tags are open; what held is in a sentence, and no text of a case shows."""
    run = with_axes(make_run("BLOCK"), status=GateStatus.UNDECIDED)
    data = prepare_data(run)
    html = str(axes.render(data))
    rows = re.findall(r'<th scope="row">(.*?) <span', html)

    assert rows == ["general_knowledge", *(f"general_knowledge: {tag}" for tag in tags(run)[:2])]
    place, words = data.gate_links["general_knowledge", "choice_probability::tolerance"]
    assert f'gate={place}">Show the {words}<' in html
    assert "offensive" not in html
    assert not any(prompt_snippet(view) in html for view in data.cases)


def test_axes_that_all_held_are_one_sentence(make_run: Any) -> None:
    run = with_axes(make_run("SHIP"))
    html = str(axes.render(prepare_data(run)))

    assert "<b>Held:</b>" in html
    assert "<table" not in html
