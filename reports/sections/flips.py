"""Multiple-choice questions that changed sides: an unchanged mean can hide many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunegate.reports.case_detail import ChoiceComparison, compare_choices, prompt_snippet
from tunegate.reports.case_view import CaseView, MetricFacts
from tunegate.reports.data import ReportData
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Flipped questions"
ORDER = 45
SHOWN = 100
"""Limit of each list."""


@dataclass(frozen=True, slots=True)
class AnswerFlip:
    """A question that one arm has right and the other wrong."""

    view: CaseView
    snippet: str
    tags: tuple[str, ...]
    right: str
    """The right choice."""
    picked: str
    """Choice of the arm that has it wrong."""


@dataclass(frozen=True, slots=True)
class MetricFlips:
    """The questions of one metric that changed sides."""

    metric: MetricFacts
    lost: tuple[AnswerFlip, ...]
    """Right with base, wrong with tuned."""
    won: tuple[AnswerFlip, ...]
    """Wrong with base, right with tuned."""


def render(data: ReportData) -> Markup:
    """Return two lists for each metric that calls questions right or wrong, gated or not."""
    return fill_page_template("flips.html", flipped=find_flips(data), shown=SHOWN)


def find_flips(data: ReportData) -> list[MetricFlips]:
    """Return the questions that changed sides, metric by metric, in plan order."""
    flips = []
    for facts in data.metrics.values():
        if facts.picks:
            lost, won = (tuple(_flips(data.cases, facts, sign)) for sign in (-1, 1))
            flips.append(MetricFlips(facts, lost, won))
    return flips


def _flips(views: Iterable[CaseView], facts: MetricFacts, sign: int) -> Iterable[AnswerFlip]:
    for view in views:
        if any(s.metric is facts and s.delta == sign for s in view.scores):
            choices = compare_choices(view)
            wrong = 1 if sign < 0 else 0  # the arm that has it wrong: tuned, or base
            yield AnswerFlip(
                view=view,
                snippet=prompt_snippet(view),
                tags=view.case.tags,
                right=_right_text(choices),
                picked=_picked_text(choices, wrong),
            )


def _right_text(choices: Sequence[ChoiceComparison]) -> str:
    return next((choice.text for choice in choices if choice.right), "–")


def _picked_text(choices: Sequence[ChoiceComparison], arm: int) -> str:
    return next((c.text for c in choices if c.picked[arm] and not c.right), "–")
