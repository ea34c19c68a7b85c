"""Axes: what is lost, open or held of all that must not get worse, in a few sentences.

An axis is a tag, or a suite, with a tolerance of its own. Those that held are one sentence; the
others have a row with what their gates do not say: the loss that may hide, and the cases that
turned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.wording import count_noun
from tunegate.reports.data import ReportData
from tunegate.reports.formatting import REASONS, STATUSES
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Axes"
ORDER = 11
LEAST = 3
"""Fewest axes that need an overview beside the gates."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One gate on a suite or a tag of it."""

    suite: str
    gate: GateResult
    worse: int
    """Cases whose score got worse."""
    better: int

    @property
    def name(self) -> str:
        """The tag, or the suite where the gate rests on all its cases."""
        return self.suite if self.gate.tag is None else f"{self.suite}: {self.gate.tag}"

    @property
    def title(self) -> str:
        """Its name with the metric, for sentences."""
        return f"{self.name} ({self.gate.metric})"

    @property
    def held(self) -> bool:
        """Whether there is nothing to say of it but that."""
        return self.gate.status is GateStatus.PASS and self.gate.reason is None

    @property
    def warns(self) -> bool:
        """Whether it decides nothing and yet shows a loss."""
        return self.gate.advisory and gate_kind(self.gate.kind).claims_loss(self.gate)

    @property
    def hidden(self) -> float | None:
        """The largest loss that the interval leaves possible; None without an interval."""
        end = self.gate.low if self.gate.higher_is_better else self.gate.high
        return None if end is None else max(0.0, -end if self.gate.higher_is_better else end)

    @property
    def hidden_words(self) -> str:
        """That loss in words."""
        if self.hidden is None:
            return "any size"
        return gate_kind(self.gate.kind).quantity_format(self.gate).size(self.hidden)


def render(data: ReportData) -> Markup:
    """Return the sentences, and a row for each axis that did not just hold; nothing if few."""
    axes = find_axes(data)
    return fill_page_template(
        "axes.html",
        rows=[a for a in axes if a.warns or not (a.held or a.gate.advisory)],
        said=list(reviewer_sentences(axes)),
        statuses=STATUSES,
        reasons=REASONS,
        links=data.gate_links,
    )


def find_axes(data: ReportData) -> list[Axis]:
    """Return the axes of a run, in the order of the gates; none if they are fewer than `LEAST`."""
    gates = [
        (suite.name, gate)
        for suite in data.run.verdict.suites
        for gate in suite.gates
        if gate.against is None
        and gate_kind(gate.kind).tests_difference
        and not gate_kind(gate.kind).is_goal
    ]
    if len({(suite, gate.tag) for suite, gate in gates}) < LEAST:
        return []
    return [
        Axis(suite, gate, *(_turned(data, suite, gate, sign) for sign in (-1, 1)))
        for suite, gate in gates
    ]


def reviewer_sentences(axes: Sequence[Axis]) -> Iterator[str]:
    """Yield what a reviewer needs: what is lost, what is open, and what may hide in the rest."""
    counting = [axis for axis in axes if not axis.gate.advisory]
    lost = [axis.title for axis in counting if axis.gate.status is GateStatus.FAIL]
    held = [axis for axis in counting if axis.gate.status is GateStatus.PASS]
    ended = (GateStatus.FAIL, GateStatus.PASS)
    still = [axis for axis in counting if axis.gate.status not in ended]
    advisory = [axis for axis in axes if axis.gate.advisory]
    warning = [axis.title for axis in advisory if axis.warns]
    silent = [axis.title for axis in advisory if axis.title not in warning]
    if lost:
        yield f"Lost: {', '.join(lost)}."
    if warning:
        yield f"Advisory, but a loss is proven: {', '.join(warning)}."
    if held:
        worst = max(held, key=lambda axis: axis.hidden or 0.0)
        yield (
            f"Held: {count_noun(len(held), 'gate')}, with {sum(a.worse for a in held):,} scores "
            f"worse and {sum(a.better for a in held):,} better; the largest loss that could still "
            f"hide is {worst.hidden_words}, on {worst.title}."
        )
    if still:
        named = (f"{axis.title}, where a loss of {axis.hidden_words} could hide" for axis in still)
        yield f"Not decided: {'; '.join(named)}."
    if silent:
        yield f"Advisory, so it decided nothing: {', '.join(silent)}."


def _turned(data: ReportData, suite: str, gate: GateResult, sign: int) -> int:
    """Return how many cases turned to the worse (-1) or the better (1)."""
    return sum(
        (score.change or 0.0) * sign > 0
        for view, score in data.pair_scores.get((suite, gate.metric), ())
        if not view.left_out and view.case.counts_for(gate.tag)
    )
