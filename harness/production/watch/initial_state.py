"""The state before the first call: what the run that shipped promises of each figure."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.harness.production.watch.baseline import (
    BaselineAnswers,
    ProductionBaseline,
    production_baseline,
)
from tunegate.harness.production.watch.indicators import MonitoredFigure
from tunegate.harness.production.watch.state import FigureState, WatchState
from tunegate.harness.records.errors import UsageError, unknown_name_message
from tunegate.harness.records.run_folder import Run
from tunegate.harness.suite import Suite


def initial_state(
    run: Run, suite: Suite, arm: str, figures: Sequence[MonitoredFigure], alpha: float
) -> WatchState:
    """Return the state before the first call.

    `alpha` is the probability of any false alarm, as long as the stream runs. It is split equally
    among the figures (Bonferroni); half of each share goes to the gate's sample and half to the
    stream.
    """
    gated = BaselineAnswers(run, suite.name, arm)
    units = {f.name: gated.units(f) for f in figures if f.allowed is None}
    compared = [f for f in figures if f.allowed is not None or units[f.name]]
    own_alpha = alpha / max(1, len(compared)) / 2
    states = []
    for figure in compared:
        if figure.allowed is not None:
            promise = ProductionBaseline(0, figure.allowed, None, figure.allowed)
        else:
            promise = production_baseline(figure, units[figure.name], own_alpha)
        states.append(
            FigureState(
                name=figure.name,
                says=figure.says,
                kind=figure.kind.value,
                n=promise.n,
                level=promise.level,
                threshold=promise.threshold,
                bound=promise.bound,
            )
        )
    return WatchState(
        run_id=run.manifest.run_id,
        suite=suite.name,
        suite_sha256=suite.hash,
        arm=arm,
        alpha=alpha,
        figures=tuple(states),
        not_compared={f.name: _missing_reason(f) for f in figures if f not in compared},
    )


def select_figures(
    figures: Sequence[MonitoredFigure], names: Sequence[str]
) -> list[MonitoredFigure]:
    """Return the figures of these names; all of them without names."""
    by_name = {figure.name: figure for figure in figures}
    for name in names:
        if name not in by_name:
            raise UsageError(unknown_name_message(name, tuple(by_name), what="figure"))
    return [by_name[name] for name in dict.fromkeys(names)] if names else list(figures)


def _missing_reason(figure: MonitoredFigure) -> str:
    if figure.missing:
        return figure.missing
    if figure.times:
        return "the gate timed no answers one at a time; the suite's metric latency does that"
    if figure.metric is not None and figure.metric.judge is not None:
        return "the gate has no scores of this judge; `tunegate judge run` adds them"
    return "the gate's answers have no such value"
