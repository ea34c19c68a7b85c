"""The `gate` fixture: deltas in code, for what a suite.toml cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import BackendError, NotComparable
from harness.records import Case, Completion
from harness.run import Run
from harness.suite import Suite
from harness.verdict.compare import Delta
from harness.verdict.record import Verdict
from harness.verdict.scores import Table

if TYPE_CHECKING:
    from harness.plugin.session import GateSession


@dataclass(frozen=True, slots=True)
class Pair:
    """One case with both arms' completions; a completion is None where the arm failed."""

    case: Case
    base: Completion | None
    tuned: Completion | None


@dataclass(frozen=True)
class Gate:
    """What the `gate` fixture returns."""

    session: GateSession
    root: Path

    def compare(self, suite: str | Path, metric: str, *, confidence: float = 0.90) -> Delta:
        """Return the delta of one metric on one suite; the first call makes the completions.

        Raises:
            SuiteError: the suite has problems.
            UnknownName: the suite has no such metric.
            NotComparable: the arms differ in more than the weights.
        """
        loaded, run = self._run(suite)
        loaded.metric(metric)
        record = next(m for m in loaded.record().metrics if m.name == metric)
        scores = {
            (s.metric, s.case, s.arm): s for s in run.scores if s.suite == loaded.name
        }
        table = Table(loaded.record(), {s.case.id: s.case for s in loaded.cases}, scores)
        return Delta(table.pairs(record), confidence)

    def pairs(self, suite: str | Path) -> Iterator[Pair]:
        """Yield every case with base's and tuned's first completion."""
        loaded, run = self._run(suite)
        for case in (s.case for s in loaded.cases):
            cells = [run.completions.get((loaded.name, case.id, a)) for a in ("base", "tuned")]
            base, tuned = (cell.completion if cell else None for cell in cells)
            yield Pair(case, base, tuned)

    def _run(self, path: str | Path) -> tuple[Suite, Run]:
        """Return the suite and the run that holds it: the session's own, or one beside it."""
        session = self.session
        place = Path(path) if Path(path).is_absolute() else self.root / path
        file = (place / "suite.toml" if place.is_dir() else place).resolve()
        if file in session.loaded:
            verdict, folder = session.evaluate(), session.folder
        else:
            suite = session.load(file)
            del session.loaded[file]
            folder = session.folder.with_name(f"{session.folder.name}.{suite.name}")
            key = str(folder)
            if key not in _done:
                _done[key] = session.run((suite,), folder).verdict
            verdict = session.verdict
            if _done[key] is Verdict.NOT_COMPARABLE:
                raise NotComparable(Run.load(folder).verdict.sentence)
        if verdict is not None and verdict.verdict is Verdict.NOT_COMPARABLE:
            raise NotComparable(verdict.sentence)
        run = Run.load(folder)
        if not run.cells:
            raise BackendError(f"{folder}: the run has no completions")
        loaded = session.loaded.get(file) or session.load(file)
        session.loaded.pop(file, None) if folder != session.folder else None
        return loaded, run


_done: dict[str, Verdict] = {}
"""Run folders made for suites that only code asks for, within this process."""
