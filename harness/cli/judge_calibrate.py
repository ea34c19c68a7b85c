"""`tunegate judge calibrate LABELS.jsonl`: how a judge does beside people, and may it gate?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.calibrating.calibrate import Labelled
    from harness.calibration import Calibration
    from harness.judging.juror import Juror
    from harness.labels import Label
    from harness.metric import Metric
    from harness.suite import Suite

STORE = Path(".tunegate/store.sqlite")
"""Where replies are kept, so that a second calibration asks nothing again."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("calibrate")(calibrate)


def calibrate(
    labels: Annotated[Path, typer.Argument(help="JSON lines of answers that people labelled.")],
    judge: Annotated[str, typer.Option(help="Judge: SPEC, or SPEC,SPEC for a jury.")],
    suite: Annotated[Path, typer.Option(help="Suite with the metric that asks the judge.")],
    metric: Annotated[
        str, typer.Option(help="The metric. Default: the suite's only judge metric.")
    ] = "",
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("calibration.json"),
    repeats: Annotated[
        int, typer.Option(min=0, help="Times that up to 50 answers are judged again.")
    ] = 2,
) -> None:
    """Ask a judge about labelled answers; write what it got right, and what it may do."""
    from harness import suite as suites
    from harness.engine.store import Store
    from harness.judging import opening
    from harness.run import record_json, write_atomic

    loaded = suites.load(suite)
    used = judge_metric(loaded, metric)
    given = _labelled(labels, loaded, used)
    specs = opening.specs_of(judge)
    if not specs:
        raise UsageError("--judge none: a calibration needs a judge; name one")
    STORE.parent.mkdir(parents=True, exist_ok=True)
    replies = Store(STORE)
    try:
        known = _calibrated(used, opening.open_jurors(specs, replies), given, repeats)
    finally:
        replies.close()
    try:
        write_atomic(out, record_json(known))
    except OSError as error:
        raise UsageError(
            f"{out}: cannot be written ({error.strerror}); choose another with --out FILE"
        ) from error
    for line in table(known):
        print(line)
    print(f"\n{out}")


def _calibrated(
    metric: Metric, jurors: Sequence[Juror], given: Labelled, repeats: int
) -> Calibration:
    from harness.calibrating.asking import Bench
    from harness.calibrating.calibrate import calibrate as measured

    return measured(Bench(metric, jurors, sys.stderr), given, repeats=repeats)


def table(known: Calibration) -> list[str]:
    """Return the figures of a calibration and what follows, line by line."""
    from harness.calibrating.words import figures, standing

    rows = figures(known)
    width = max(len(name) for name, _ in rows)
    models = ", ".join(str(model.get("spec")) for model in known.judge.get("models", ()))
    head = f"{known.metric}, judged by {models}; intervals at {100 * known.confidence:g} %"
    return [head, *(f"  {name:<{width}}  {text}" for name, text in rows), "", standing(known)]


def judge_metric(suite: Suite, name: str) -> Metric:
    """Return a suite's judge metric.

    Raises:
        UsageError: there is none of the name, it asks no judge, or several do.
    """
    judged = [m for m in suite.metrics if m.judge is not None]
    if name:
        found = suite.metric(name)
        if found.judge is None:
            raise UsageError(f"{suite.path}: the metric {name!r} asks no judge")
        return found
    if len(judged) != 1:
        names = ", ".join(m.name for m in judged) or "none"
        raise UsageError(
            f"{suite.path}: {len(judged)} metrics ask a judge ({names}); name one with --metric"
        )
    return judged[0]


def _labelled(path: Path, suite: Suite, metric: Metric) -> Labelled:
    """Return the labels on a metric with their cases.

    Raises:
        UsageError: a line names a case that the suite has not and brings none.
    """
    from harness.calibrating.calibrate import Labelled
    from harness.labels import read_labels

    found = read_labels(path, range=metric.range or (0.0, 1.0))
    own = tuple(x for x in found if x.metric in (None, metric.name) and _of(x, suite))
    if not own:
        raise UsageError(f"{path}: none of {len(found)} labels is on {suite.name}: {metric.name}")
    cases = {s.case.id: s.case for s in suite.cases}
    unknown = next((x.id for x in own if x.case is None and x.id not in cases), None)
    if unknown is not None:
        raise UsageError(
            f"{path}: {suite.path} has no case {unknown!r}; name its cases, or give the line a "
            "prompt of its own"
        )
    by = sorted({x.by for x in own if x.by})
    source = f"{path.name}, labelled by {', '.join(by)}" if by else path.name
    return Labelled(own, cases, source)


def _of(label: Label, suite: Suite) -> bool:
    return label.suite in (None, suite.name)
