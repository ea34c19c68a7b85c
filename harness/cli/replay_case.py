"""`tunegate replay --case ID`: one case side by side, from a run or asked now.

One case with all that was answered to it, for the terminal: the differences are marked by word.

`[-so-]` stands only in what base wrote, `{+so+}` only in what tuned wrote, as in `git diff
--word-diff`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.errors import UsageError
from tunegate.harness.lookup import unknown
from tunegate.harness.records.cases import CellKind
from tunegate.harness.records.manifest import RECORDED

if TYPE_CHECKING:
    from tunegate.harness.records.cases import Case, StoredCell
    from tunegate.harness.suite import Suite

STORE = Path(".tunegate/store.sqlite")
ARMS = (RECORDED, "base", "tuned")


def show_stored(folder: Path, name: str) -> None:
    """Print a case of a finished run with its answers.

    Raises:
        UsageError: the folder is no finished run, or has no such case.
    """
    from tunegate.harness.records.run_folder import Run

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
        print(*lines(kept.case, cells, where=f"{suite}, {kept.where}"), sep="\n")


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
    from tunegate.harness.suite import load

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
    shown = lines(sourced.case, ordered | failed, where=suite.name)
    print(*shown, sep="\n")


def _answers(suite: Suite, specs: Mapping[str, str | None], dtype: str) -> list[StoredCell]:
    from tunegate.harness.checks import comparability, liveness
    from tunegate.harness.engine.answer_cache import Store
    from tunegate.harness.engine.inference.sequence import ALL
    from tunegate.harness.engine.plan import make_plan
    from tunegate.harness.engine.progress import Progress
    from tunegate.harness.engine.runner import Runner, collect
    from tunegate.harness.models.open_arms import open_arms

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


WIDTH = 78


def lines(case: Case, cells: Mapping[str, StoredCell], *, where: str) -> Iterator[str]:
    """Yield the lines to print.

    Args:
        case: The case.
        cells: Arm → the cell that holds what it wrote.
        where: Where the case came from.
    """
    from tunegate.reports.escaping import plain

    labels = " · ".join([where, *case.tags])
    yield plain(f"{case.id}  ({labels})")
    for turn in case.input_messages():
        yield _rule(str(turn.get("role", "turn")))
        yield plain(_said(turn))
    if case.tools:
        yield _rule("tools")
        yield plain(", ".join(str(t.get("function", t).get("name")) for t in case.tools))
    marked = _marked(cells)
    for arm in (*(a for a in cells if a not in marked), *(a for a in cells if a in marked)):
        yield _rule(arm, _how(cells[arm]))
        yield plain(marked.get(arm) or _text(cells[arm]))


def _rule(name: str, about: str = "") -> str:
    head = f"── {name}{f' ({about})' if about else ''} "
    return head + "─" * max(WIDTH - len(head), 0)


def _said(turn: Mapping[str, Any]) -> str:
    content = turn.get("content") or ""
    calls = [call.get("function", call) for call in turn.get("tool_calls") or ()]
    called = [f"→ {call.get('name')}({call.get('arguments')})" for call in calls]
    return "\n".join([*([str(content)] if content else []), *called])


def _how(cell: StoredCell) -> str:
    done = cell.completion
    if done is None:
        return cell.status
    known = [
        f"{done.output_tokens} tokens" if done.output_tokens is not None else "",
        f"{done.latency_s:.2f} s" if done.latency_s is not None else "",
        done.finish_reason or "",
    ]
    return ", ".join(one for one in known if one)


def _text(cell: StoredCell) -> str:
    if cell.completion is None:
        return cell.error or "no answer"
    return cell.completion.text or "(empty)"


def _marked(cells: Mapping[str, StoredCell]) -> dict[str, str]:
    """Return arm → its answer with what the other has not marked."""
    from tunegate.reports.case_detail import compare

    both = [cells[arm].completion for arm in ("base", "tuned") if arm in cells]
    if len(both) < 2 or any(one is None or one.text is None for one in both):
        return {}
    base, tuned = (one.text or "" for one in both if one is not None)
    segments = compare(base, tuned).segments
    return {
        "base": "".join(_mark("[-", s.base, "-]", s.changed) for s in segments),
        "tuned": "".join(_mark("{+", s.tuned, "+}", s.changed) for s in segments),
    }


def _mark(left: str, text: str, right: str, changed: bool) -> str:
    return f"{left}{text}{right}" if changed and text else text
