"""From `--gate-judge SPEC[, SPEC …]` to the jurors of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness import lookup
from harness.engine.store import Store
from harness.errors import UsageError
from harness.judging.asking import ModelJuror
from harness.judging.juror import Juror
from harness.judging.stage import judge_metrics
from harness.suite import Suite

NONE = "none"
"""Says that a run goes without a judge: its judge metrics are unscored, their gates advisory."""
ROOM = "harness.judging.backends"


def specs_of(given: str | None) -> tuple[str, ...]:
    """Return the specs of an option's value; commas part the judges of a jury.

    Raises:
        UsageError: one is empty, or named twice.
    """
    if given is None or given.strip() == NONE:
        return ()
    specs = tuple(spec.strip() for spec in given.split(","))
    if not all(specs):
        raise UsageError(f"judge={given!r} has an empty name; write SPEC, or SPEC,SPEC for a jury")
    if len(set(specs)) < len(specs):
        raise UsageError(f"judge={given!r} names a judge twice: its vote would count double")
    return specs


def refuse_unjudged(suites: Sequence[Suite], given: str | None) -> None:
    """Refuse gates on a judge's metric where no judge was named.

    Raises:
        UsageError: in one line, what to give.
    """
    if given is not None:
        return
    for suite, metric in judge_metrics(suites):
        if metric in suite.gated_metrics:
            raise UsageError(
                f"{suite.name}: the gate on {metric.name!r} needs a judge: name one with "
                "--gate-judge SPEC (litellm:PROVIDER/MODEL, server:URL#MODEL, a local model), or "
                "go without with --gate-judge none"
            )


def open_jurors(specs: Sequence[str], store: Store | None) -> tuple[Juror, ...]:
    """Open the judges.

    Raises:
        UsageError: one cannot be opened.
    """
    return tuple(_open(spec, store) for spec in specs)


def _open(spec: str, store: Store | None) -> Juror:
    prefix, has_prefix, target = spec.partition(":")
    name = prefix if has_prefix and prefix in lookup.available(ROOM) else "local"
    factory: Any = lookup.find(ROOM, name, what="judge backend")
    opened: Any = factory(spec if name == "local" else target)
    if hasattr(opened, "ask"):
        return ModelJuror(opened, store)
    juror: Juror = opened.keeping(store) if hasattr(opened, "keeping") else opened
    return juror
