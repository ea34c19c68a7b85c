"""Cost and behavior of the arms: time, tokens, calls, truncation, loops and refusals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from tunegate.harness.contracts.further_arm import further_arm
from tunegate.harness.records.answers import WRITTEN, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.reports.data import ReportData
from tunegate.reports.formatting import format_level, format_percent
from tunegate.reports.sections.judge_health import judgement_cost
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Cost and behaviour"
ORDER = 65
Number = TypeVar("Number", int, float)
READ = 1_000
"""Answers of each arm and suite that are read for loops and refusals: reading all takes minutes."""


def render(data: ReportData) -> Markup:
    """Return a table of arms for each suite, and what the judges took."""
    behaviours = arm_behaviours(data)
    return fill_page_template(
        "behaviour.html",
        behaviours=behaviours,
        ratios=length_ratios(data),
        batched=any(b.batched for b in behaviours),
        called=any(b.called for b in behaviours),
        read=READ,
        judges=judgement_cost(data.run.judgements),
        share=_share,
    )


def _share(n: int, of: int) -> str:
    """Return a count with its share; a dash if there is nothing to count."""
    return f"{n:,} ({format_percent(n / of)})" if of else format_level(None)


@dataclass(slots=True)
class ArmBehaviour:
    """Behavior of one arm on one suite."""

    suite: str
    arm: str
    asked: int = 0
    """Cells, of every kind."""
    failed: int = 0
    stored: int = 0
    """Cells that were in the store when the run began."""
    called: int = 0
    """Answers whose number of calls is known: those over a network."""
    retried: int = 0
    """Of those, the ones that took more than one call."""
    calls: int = 0
    """Calls for all of them."""
    latencies: list[float] = field(default_factory=list, repr=False)
    """Seconds of each written answer."""
    batched: bool = False
    """Whether some of these times are those of a batch."""
    read: list[int] = field(default_factory=list, repr=False)
    """Prompt tokens of each cell."""
    wrote: list[int] = field(default_factory=list, repr=False)
    """Tokens of each written answer."""
    finished: int = 0
    """Written answers whose finish reason is known."""
    cut: int = 0
    """Of those, the ones cut off by the token limit."""
    examined: int = 0
    """Answers read for loops and refusals."""
    looping: int = 0
    refused: int = 0
    cost: float | None = None
    """US dollars; None if no price is known."""

    def latency(self, share: float) -> float | None:
        """Return the time within which this share of the answers came (nearest rank)."""
        times = sorted(self.latencies)
        return times[max(0, ceil(share * len(times)) - 1)] if times else None

    @property
    def length(self) -> float | None:
        """Median tokens of an answer."""
        return float(median(self.wrote)) if self.wrote else None

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens read and written in all."""
        return sum(self.read), sum(self.wrote)


def arm_behaviours(data: ReportData) -> tuple[ArmBehaviour, ...]:
    """Return what each arm did on each suite, in the order of suites and arms."""
    behaviours: dict[tuple[str, str], ArmBehaviour] = {}
    kinds = {suite.name: {m.needs for m in suite.metrics} for suite in data.run.manifest.suites}
    for stored in data.run.cells:
        cell = stored.cell
        if cell.kind is CellKind.RECORDED and CellKind.GENERATE in kinds[cell.suite]:
            continue  # the same answer is in the other cell
        if stored.status != "skipped" and further_arm(cell.arm).reported:
            behaviour = behaviours.setdefault(
                (cell.suite, cell.arm), ArmBehaviour(cell.suite, cell.arm)
            )
            _count(behaviour, stored)
            _read(behaviour, stored)
    suites = [suite.name for suite in data.run.manifest.suites]
    arms = list(data.arms)
    return tuple(
        sorted(behaviours.values(), key=lambda b: (_at(suites, b.suite), _at(arms, b.arm)))
    )


def length_ratios(data: ReportData) -> dict[str, float]:
    """Return suite → median of tuned's tokens over base's, case by case."""
    ratios: dict[str, list[float]] = defaultdict(list)
    for view in data.cases:
        base, tuned = (view.answer(arm) for arm in ("base", "tuned"))
        if base and tuned and base.output_tokens and tuned.output_tokens is not None:
            ratios[view.suite].append(tuned.output_tokens / base.output_tokens)
    return {suite: float(median(values)) for suite, values in ratios.items()}


def _at(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _count(behaviour: ArmBehaviour, stored: StoredAnswer) -> None:
    behaviour.asked += 1
    behaviour.failed += stored.status != "ok"
    behaviour.stored += stored.cache_hit
    done = stored.completion
    if done is None:
        return
    if done.attempts is not None:
        behaviour.called += 1
        behaviour.retried += done.attempts > 1
        behaviour.calls += done.attempts
    behaviour.read += _known_values(done.input_tokens)
    if done.cost is not None:
        behaviour.cost = (behaviour.cost or 0.0) + done.cost
    if stored.cell.kind in WRITTEN:
        behaviour.latencies += _known_values(done.latency_s)
        behaviour.batched |= (done.batch_size or 1) > 1
        behaviour.wrote += _known_values(done.output_tokens)
        behaviour.finished += done.finish_reason is not None
        behaviour.cut += done.finish_reason == "length"


def _known_values(value: Number | None) -> Sequence[Number]:
    """Return a value that is known, alone."""
    return () if value is None else (value,)


def _read(behaviour: ArmBehaviour, stored: StoredAnswer) -> None:
    """Look at the first answers for loops and refusals, whatever the suite measures."""
    done = stored.completion
    if stored.cell.kind not in WRITTEN or done is None or done.text is None:
        return
    if behaviour.examined == READ:
        return
    behaviour.examined += 1
    behaviour.looping += _is(done, "loops")
    behaviour.refused += _is(done, "refusal")


def _is(done: Completion, metric: str) -> bool:
    """Return whether an answer loops, or declines."""
    from tunegate.harness.metrics.loops import loops
    from tunegate.harness.metrics.refusal import refusal

    if metric == "loops":
        return loops(_CASE, done).value == 1
    return refusal(_CASE, done, expected="refuse").value == 1


_CASE = Case(id="any", prompt="")
"""These two metrics look at the answer alone."""
