"""The first look's work: what is promised, for every figure that the gate's answers show."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import UsageError
from harness.lookup import unknown
from harness.run import Run
from harness.suite import Suite
from harness.tracing.watch.figures import Figure
from harness.tracing.watch.promised import Gated, promise
from harness.tracing.watch.state import FigureState, WatchState


def begin(run: Run, suite: Suite, arm: str, figures: Sequence[Figure], alpha: float) -> WatchState:
    """Return the state before the first call.

    The error is parted equally among the figures (Bonferroni); of a figure's part, half goes to the
    gate's sample and half to the stream.

    Args:
        run: The run that shipped.
        suite: Its suite whose answers production's are compared with.
        arm: The arm that shipped.
        figures: What is to be watched.
        alpha: Probability of any false alarm, as long as the stream runs.
    """
    gated = Gated(run, suite.name, arm)
    units = {figure.name: gated.units(figure) for figure in figures}
    compared = [figure for figure in figures if units[figure.name]]
    own = alpha / max(1, len(compared)) / 2
    states = []
    for figure in compared:
        told = promise(figure, units[figure.name], own)
        states.append(
            FigureState(
                name=figure.name,
                says=figure.says,
                kind=figure.kind.value,
                n=told.n,
                level=told.level,
                threshold=told.threshold,
                bound=told.bound,
            )
        )
    return WatchState(
        run_id=run.manifest.run_id,
        suite=suite.name,
        suite_sha256=suite.hash,
        arm=arm,
        alpha=alpha,
        figures=tuple(states),
        not_compared={f.name: _why(f) for f in figures if not units[f.name]},
    )


def chosen(figures: Sequence[Figure], names: Sequence[str]) -> list[Figure]:
    """Return the figures of these names; all of them where none is named.

    Raises:
        UsageError: there is none of a name.
    """
    known = {figure.name: figure for figure in figures}
    for name in names:
        if name not in known:
            raise UsageError(unknown(name, tuple(known), what="figure"))
    return [known[name] for name in dict.fromkeys(names)] if names else list(figures)


def _why(figure: Figure) -> str:
    if figure.times:
        return (
            "the gate timed no answers one at a time; the metric latency in the suite has it do so"
        )
    if figure.metric is not None and figure.metric.judge is not None:
        return "the gate has no scores of this judge; `tunegate judge run` adds them"
    return "the gate's answers have no such value"
