"""The `gate` fixture: deltas in code, for what a suite.toml cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunegate.harness.comparison.delta import Delta
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.comparison.score_table import ScoreTable
from tunegate.harness.defaults import CONFIDENCE
from tunegate.harness.errors import BackendError, NotComparable, UnknownName
from tunegate.harness.lookup import unknown_name_message
from tunegate.harness.records.cases import Case, Completion
from tunegate.harness.records.manifest import SuiteRecord
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.suite import Suite

if TYPE_CHECKING:
    from tunegate.harness.plugin.session import GateSession


@dataclass(frozen=True, slots=True)
class CompletionPair:
    """One case with both arms' completions; a completion is None where the arm failed."""

    case: Case
    base: Completion | None
    tuned: Completion | None


@dataclass(frozen=True)
class GateFixture:
    """What the `gate` fixture returns."""

    session: GateSession
    root: Path

    def compare(
        self,
        suite: str | Path,
        metric: str,
        *,
        tag: str | None = None,
        confidence: float = CONFIDENCE,
    ) -> Delta:
        """Return the delta of one metric on one suite; the first call makes the completions.

        Args:
            suite: Folder of the suite, or its suite.toml.
            metric: Name of the metric.
            tag: Tag that the cases must have; None compares on all of them.
            confidence: Two-sided confidence of the interval.

        Raises:
            SuiteError: the suite has problems.
            UnknownName: the suite has no such metric, or no case with the tag.
            NotComparable: the arms differ in more than the weights.
            BackendError: more cases are unscored than the suite allows.
        """
        loaded, run = self._run(suite)
        loaded.metric(metric)
        tags = tuple(dict.fromkeys(known for case in loaded.cases for known in case.tags))
        if tag is not None and tag not in tags:
            raise UnknownName(f"{loaded.path}: {unknown_name_message(tag, tags, what='tag')}")
        suite_record = next(s for s in run.manifest.suites if s.name == loaded.name)
        look = _look(run, suite_record)
        record = next(m for m in suite_record.metrics if m.name == metric)
        scores = {(s.metric, s.case, s.arm): s for s in run.scores if s.suite == loaded.name}
        seen = {c.id: c for c in loaded.cases if look is None or c.id in look.seen}
        unseen = {c.id: c for c in loaded.cases if c.id not in seen}
        table = ScoreTable(suite_record, seen, scores, look=look, unseen=unseen).on_tag(tag)
        for arm in ("base", "tuned"):
            missing, asked = len(table.unscored(metric, arm)), len(table.asked(metric))
            if missing > suite_record.max_unscored * asked:
                raise BackendError(
                    f"{loaded.name}: {metric}: {missing} of {asked} cases of {arm} are unscored, "
                    f"more than the {suite_record.max_unscored:.0%} the suite allows"
                )
        if table.look is not None:  # several looks share the error that one would have
            confidence = table.look.confidence((1 - confidence) / 2)
        return Delta(table.pairs(record), confidence)

    def pairs(self, suite: str | Path) -> Iterator[CompletionPair]:
        """Yield every case that was asked with base's and tuned's first completion."""
        loaded, run = self._run(suite)
        decided = {
            c.cell.case for c in run.cells if c.cell.suite == loaded.name and c.status == "skipped"
        }
        for case in (c for c in loaded.cases if c.id not in decided):
            cells = [run.completions.get((loaded.name, case.id, a)) for a in ("base", "tuned")]
            base, tuned = (cell.completion if cell else None for cell in cells)
            yield CompletionPair(case, base, tuned)

    def _run(self, path: str | Path) -> tuple[Suite, Run]:
        """Return the suite and the run that holds it: the session's own, or another one."""
        state = self.session
        place = self.root / path
        file = (place / "suite.toml" if place.is_dir() else place).resolve()
        if any(suite is state.loaded.get(file) for suite in state.chosen):
            suite, verdict, folder = state.loaded[file], state.evaluate(), state.folder
        else:
            suite, verdict, folder = state.evaluate_beside(file)
        if verdict.verdict is Verdict.NOT_COMPARABLE:
            raise NotComparable(verdict.sentence)
        if state.options["max-cases"]:
            state.codes.add(Verdict.UNDECIDED.exit_code)
            state.why = state.why or state.filtered[0]
        return suite, Run.load(folder)


def _look(run: Run, suite: SuiteRecord) -> InterimLook | None:
    """Return the look at which a suite of a finished run ended."""
    if suite.looks is None:
        return None
    skipped = sum(s.n_skipped_decided for s in run.verdict.suites if s.name == suite.name)
    return InterimLook(suite.looks, suite.looks.sizes.index(suite.n_cases - skipped))
