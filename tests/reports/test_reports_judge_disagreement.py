"""Judges' disagreement: with the order turned round, within a jury, and with a rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tunegate.harness.records.judgements import Judgement, JudgementStatus
from tunegate.reports.case_view import CaseView
from tunegate.reports.data import prepare_data
from tunegate.reports.judge_disagreement import SPREAD, disagreement_notes, order_changed


def judged(first: float, second: float) -> Judgement:
    """Return what a judge of pairs said in either order."""
    return Judgement(
        key="k", suite="support_json", metric="better", case="c", arm="tuned", judge="j",
        status=JudgementStatus.OK, value=0.0, parts={"base_first": first, "tuned_first": second},
    )  # fmt: skip


@pytest.fixture(name="pair")
def _pair(make_run: Any) -> CaseView:
    """Return a case on which json_schema and json_fields both got better."""
    return next(p for p in prepare_data(make_run("SHIP")).improvements if p.suite == "support_json")


@pytest.mark.parametrize(
    ("first", "second", "other"), [(1, -1, True), (1, 1, False), (0, 1, True), (0, 0, False)]
)
def test_another_answer_the_other_way_round_is_a_swap(
    first: float, second: float, other: bool
) -> None:
    assert order_changed(judged(first, second)) is other


def test_a_swap_is_said_by_its_metric(pair: CaseView) -> None:
    """The sentence names the judge's metric; without a swap it is left out."""
    assert disagreement_notes(pair, [judged(1, -1)], ["better"])[0].startswith(
        "better: another answer"
    )
    assert disagreement_notes(pair, [judged(1, 1)], ["better"]) == ()


def test_a_judge_against_a_rule_and_a_divided_jury_are_said(pair: CaseView) -> None:
    assert disagreement_notes(pair, [], ["json_fields"]) == ()
    turned = [
        replace(s, base=s.tuned, tuned=s.base) if s.metric.name == "json_fields" else s
        for s in pair.scores
    ]
    (said,) = disagreement_notes(replace(pair, scores=tuple(turned)), [], ["json_fields"])
    assert "opposite directions" in said
    split = [
        replace(s, base=replace(s.base, parts={SPREAD: 0.5}))
        if s.metric.name == "json_fields" and s.base
        else s
        for s in pair.scores
    ]
    assert disagreement_notes(replace(pair, scores=tuple(split)), [], ["json_fields"]) == (
        "json_fields: the jury is divided",
    )
