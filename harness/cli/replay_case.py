"""`tunegate replay --case ID`: one case of a run, or one call of traces that is asked now."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli import side_by_side
from harness.errors import UsageError
from harness.lookup import unknown
from harness.manifest import RECORDED
from harness.records import CellKind

if TYPE_CHECKING:
    from harness.records import StoredCell
    from harness.suite import Suite

STORE = Path(".tunegate/store.sqlite")
ARMS = (RECORDED, "base", "tuned")


def show_stored(folder: Path, name: str) -> None:
    """Print a case of a finished run with its answers.

    Raises:
        UsageError: the folder is no finished run, or has no such case.
    """
    from harness.run import Run

    run = Run.load(folder)
    found = [(suite, case) for suite, case in run.cases if case == name]
    if not found:
        raise UsageError(f"{folder}: {_unknown(name, [case for _, case in run.cases])}")
    for suite, case in found:
        kept = run.cases[suite, case]
        cells = {
            arm: run.completions[suite, case, arm]
            for arm in ARMS
            if (suite, case, arm) in run.completions
        }
        print(*side_by_side.lines(kept.case, cells, where=f"{suite}, {kept.where}"), sep="\n")


def show_asked(folder: Path, name: str, specs: Mapping[str, str | None], *, dtype: str) -> None:
    """Ask base and tuned one case of a production suite, unless it is stored, and print it.

    Args:
        folder: The suite.
        name: Id of the case.
        specs: Model specs of base, tuned and, where there is one, recorded.
        dtype: Number format of local models.

    Raises:
        UsageError: there is no such case, or an arm cannot be opened.
        NotComparable: the arms are one model.
        BackendError: an arm or the store failed.
    """
    from harness.suite import load

    suite = load(folder)
    sourced = next((one for one in suite.cases if one.case.id == name), None)
    if sourced is None:
        raise UsageError(f"{folder}: {_unknown(name, [one.case.id for one in suite.cases])}")
    only = replace(
        suite,
        cases=(sourced,),
        metrics=tuple(m for m in suite.metrics if m.needs is CellKind.GENERATE),
    )
    cells = {stored.cell.arm: stored for stored in _answers(only, specs, dtype)}
    ordered = {arm: cells[arm] for arm in ARMS if arm in cells and cells[arm].status == "ok"}
    failed = {arm: stored for arm, stored in cells.items() if stored.status != "ok"}
    shown = side_by_side.lines(sourced.case, ordered | failed, where=suite.name)
    print(*shown, sep="\n")


def _answers(suite: Suite, specs: Mapping[str, str | None], dtype: str) -> list[StoredCell]:
    from harness.checks import comparability, liveness
    from harness.engine.levers import ALL
    from harness.engine.plan import make_plan
    from harness.engine.progress import Progress
    from harness.engine.runner import Runner, collect
    from harness.engine.store import Store
    from harness.models.pair import open_arms

    arms = open_arms(specs, dtype=dtype)
    liveness.check(arms)
    plan = make_plan([suite], arms, seed=0)
    comparability.check(plan.prompts, arms)
    store = Store(STORE.absolute())
    try:
        cached = store.answered(cell.key for cell in plan.cells)
        Runner(plan, arms, store, Progress(1.0, stream=sys.stderr), levers=ALL).run()
        return list(collect(plan, store, cached))
    finally:
        store.close()


def _unknown(name: str, known: list[str]) -> str:
    return unknown(name, tuple(known[:20]), what="case")
