"""What a gate run prints: the sentences of a failed gate, and the section at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import Interrupted, UsageError
from harness.manifest import GateKind
from harness.plugin.text import inert
from harness.run import Run
from harness.verdict.record import GateResult, Verdict, VerdictRecord

if TYPE_CHECKING:
    from harness.plugin.session import GateSession

WORST = 3
"""Cases named below a failed gate."""


def explain(folder: Path, suite: str, result: GateResult) -> str:
    """Return the sentences of a failed gate: numbers, worst cases, where to look."""
    lines = [f"{result.status.value.upper()}: {result.sentence}."]
    worst = [inert(text).replace("\n", " ") for text in _worst(folder, suite, result)]
    if worst:
        lines.append("worst cases: " + ", ".join(worst))
    lines.append(f"report: {relative(folder / 'report.html')}")
    return inert("\n".join(lines))


def _worst(folder: Path, suite: str, result: GateResult) -> list[str]:
    """Return the cases that speak most against the gate, with their scores."""
    if not (folder / "scores.jsonl").is_file():
        return []
    run = Run.load(folder)
    leakage, table = run.manifest.leakage, run.score_table
    left_out = leakage.left_out.get(suite, ()) if leakage else ()
    sign = 1 if result.higher_is_better else -1
    level = result.kind in (GateKind.FLOOR, GateKind.CEILING)
    found = []
    for (of_suite, metric, case, arm), row in table.items():
        wanted = (of_suite, metric, arm) == (suite, result.metric, "tuned")
        if not wanted or row.value is None or case in left_out:
            continue
        base = table.get((suite, metric, case, "base"))
        before = base.value if base else None
        if level:
            found.append((sign * row.value, f"{case} ({row.value:.4g})"))
        elif before is not None and sign * (row.value - before) < 0:
            found.append((sign * (row.value - before), f"{case} ({before:.4g} → {row.value:.4g})"))
    return [text for _, text in sorted(found)[:WORST]]


def write(state: GateSession, terminal: pytest.TerminalReporter) -> None:
    """Print the verdict, the deciding sentence, the report and the next command."""
    lines = list(_lines(state))
    if not lines:
        return
    terminal.section("tunegate", sep="=")
    good = state.exit_status == 0
    for number, line in enumerate(lines):
        terminal.line(inert(line), green=good and not number, red=not good and not number)


def _lines(state: GateSession) -> Iterator[str]:
    if state.error is not None:
        yield from str(state.error).splitlines()
        yield from _remedy(state)
    elif state.verdict is not None:
        yield from _verdict(state.verdict)
    elif state.codes - {0, 1}:
        code = state.exit_status
        names = {v.exit_code: v.value.replace("_", " ") for v in Verdict}
        yield f"{names.get(code or 0, 'ERROR')}: {state.why or 'see the failed tests above'}"
    if state.verdict is not None and (state.folder / "report.html").is_file():
        yield f"report: {relative(state.folder / 'report.html')}"


def _verdict(verdict: VerdictRecord) -> Iterator[str]:
    yield f"{verdict.verdict.value.replace('_', ' ')}: {verdict.sentence}"
    for suite in verdict.suites:
        yield from (f"note: {note}" for note in suite.notes if note != verdict.sentence)
    yield from (f"note: {note}" for note in (verdict.training or {}).get("notes", ()))
    if verdict.leakage is not None:
        yield f"note: {verdict.leakage.sentence}"
    for beside in (verdict.parity, verdict.standing):
        if beside is not None and beside.sentence not in verdict.sentence:
            yield f"note: {beside.sentence}"


def _remedy(state: GateSession) -> Iterator[str]:
    """Yield how to go on after a run that broke off."""
    if isinstance(state.error, UsageError):
        return
    if (state.folder / "manifest.json").is_file():
        yield f"go on with: tunegate resume {relative(state.folder)}"
    elif isinstance(state.error, Interrupted):
        yield "nothing was asked yet: give the same command again"


def relative(path: Path) -> Path:
    """Return a path as people type it: from here, if it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
