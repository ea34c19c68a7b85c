"""The `gate` fixture: deltas in code, for what a suite.toml cannot express."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tunegate.harness.comparison.delta import Delta
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.contracts.quantity import QuantityFormat
from tunegate.harness.decision.score_table import ScoreTable, split_variants
from tunegate.harness.plugin.gate_options import NO_MODEL, missing_fails
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.errors import (
    BackendError,
    NotComparable,
    UnknownName,
    unknown_name_message,
)
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

    def __repr__(self) -> str:
        """Return the case's id and both answers, shortened."""
        texts = (None if arm is None else arm.text for arm in (self.base, self.tuned))
        base, tuned = (repr(t if t is None or len(t) <= 60 else f"{t[:59]}…") for t in texts)
        return f"CompletionPair({self.case.id}: base {base}, tuned {tuned})"


@dataclass(frozen=True)
class GateFixture:
    """Value of the `gate` fixture."""

    session: GateSession
    root: Path

    def __repr__(self) -> str:
        """Return its name; the session behind it is long."""
        return "<gate fixture>"

    def compare(  # what is compared, on which models, and how surely
        self,
        suite: str | Path,
        metric: str,
        *,
        tuned: str | Path | None = None,
        base: str | Path | None = None,
        tag: str | None = None,
        confidence: float = CONFIDENCE,
    ) -> Delta:
        """Return the delta of one metric on one suite; the first call makes the completions.

        Each pair of models has a run folder and a report of its own, named at the end of the
        session. Without any model the test is skipped, or fails in CI and with
        `gate_missing = fail`.

        Args:
            suite: Folder of the suite, or its suite.toml.
            metric: Name of the metric.
            tuned: Model spec of the fine-tune; None is the session's, `--gate-tuned`.
            base: Model spec of the base; None is the session's, or the one that the adapter names.
            tag: Tag that the cases must have; None compares on all of them.
            confidence: Two-sided confidence of the interval.

        Raises:
            SuiteError: the suite has problems.
            UnknownName: the suite has no such metric, or no case with the tag.
            NotComparable: the arms differ in more than the weights.
            BackendError: more cases are unscored than the suite allows.
        """
        models = self._models(tuned, base)
        loaded, run = self._run(suite, models)
        loaded.metric(metric)
        tags = tuple(dict.fromkeys(name for case in loaded.cases for name in case.tags))
        if tag is not None and tag not in tags:
            raise UnknownName(f"{loaded.path}: {unknown_name_message(tag, tags, what='tag')}")
        suite_record = next(s for s in run.manifest.suites if s.name == loaded.name)
        look = _look(run, suite_record)
        record = next(m for m in suite_record.metrics if m.name == metric)
        scores = {(s.metric, s.case, s.arm): s for s in run.scores if s.suite == loaded.name}
        plain, variants = split_variants(loaded.cases)
        seen = {name: c for name, c in plain.items() if look is None or name in look.seen}
        unseen = {name: c for name, c in plain.items() if name not in seen}
        table = ScoreTable(
            suite_record, seen, scores, look=look, unseen=unseen, variants=variants
        ).on_tag(tag)
        for arm in ("base", "tuned"):
            missing, n_cases = len(table.unscored(metric, arm)), len(table.asked(metric))
            if missing > suite_record.max_unscored * n_cases:
                raise BackendError(
                    f"{loaded.name}: {metric}: {missing} of {n_cases} cases of {arm} are unscored, "
                    f"more than the {suite_record.max_unscored:.0%} the suite allows"
                )
        if table.look is not None:  # several looks share the error that one would have
            confidence = table.look.confidence((1 - confidence) / 2)
        delta = Delta(table.pairs(record), confidence)
        spec = models.get("tuned") or str(self.session.options["tuned"] or "")
        self.session.compared[_row(loaded.name, metric, tag, spec, delta)] = None
        return delta

    def pair(
        self,
        suite: str | Path,
        case: Case | str,
        *,
        tuned: str | Path | None = None,
        base: str | Path | None = None,
    ) -> CompletionPair:
        """Return one case with base's and tuned's first completion.

        Args:
            suite: Folder of the suite, or its suite.toml.
            case: The case or its id, such as the argument `case` of a test with the marker
                `gate_cases`.
            tuned: Model spec of the fine-tune; None is the session's.
            base: Model spec of the base; None is the session's.

        Raises:
            UnknownName: the suite has no such case, or ended before it was asked.
        """
        name = case if isinstance(case, str) else case.id
        for compared in self.pairs(suite, tuned=tuned, base=base):
            if compared.case.id == name:
                return compared
        raise UnknownName(
            f"{suite}: no answers to a case {name!r}; a suite may end early: --gate-early-stop off"
        )

    def pairs(
        self,
        suite: str | Path,
        *,
        tuned: str | Path | None = None,
        base: str | Path | None = None,
    ) -> Iterator[CompletionPair]:
        """Yield every case that was asked with base's and tuned's first completion.

        Args:
            suite: Folder of the suite, or its suite.toml.
            tuned: Model spec of the fine-tune; None is the session's.
            base: Model spec of the base; None is the session's.
        """
        loaded, run = self._run(suite, self._models(tuned, base))
        decided = {
            c.cell.case for c in run.cells if c.cell.suite == loaded.name and c.status == "skipped"
        }
        for case in (c for c in loaded.cases if c.id not in decided):
            cells = [run.completions.get((loaded.name, case.id, a)) for a in ("base", "tuned")]
            yield CompletionPair(case, *(cell.completion if cell else None for cell in cells))

    def _models(self, tuned: str | Path | None, base: str | Path | None) -> dict[str, str]:
        """Return arm → spec of the models that are not the session's; skip without a model."""
        named = {"tuned": tuned, "base": base}
        options = self.session.options
        models = {n: str(s) for n, s in named.items() if s is not None and str(s) != options[n]}
        unnamed = tuned is None and not options["tuned"] and not self.session.named
        if unnamed and not missing_fails(options):
            raise pytest.skip.Exception(NO_MODEL, _use_item_location=True)
        return models

    def _run(self, path: str | Path, models: Mapping[str, str]) -> tuple[Suite, Run]:
        """Return the suite and the run that holds it: the session's own, or another one."""
        state = self.session
        place = self.root / path
        file = (place / "suite.toml" if place.is_dir() else place).resolve()
        if not models and any(suite is state.loaded.get(file) for suite in state.chosen):
            suite, verdict, folder = state.loaded[file], state.evaluate(), state.folder
        else:
            beside = state.evaluate_beside(file, models)
            suite, verdict, folder = beside.suite, beside.verdict, beside.folder
        if verdict.verdict is Verdict.NOT_COMPARABLE:
            raise NotComparable(verdict.sentence)
        if state.options["max-cases"]:
            state.codes.add(Verdict.UNDECIDED.exit_code)
            state.why = state.why or state.filtered[0]
        return suite, Run.load(folder)


def _row(suite: str, metric: str, tag: str | None, tuned: str, delta: Delta) -> tuple[str, ...]:
    """Return the cells of a comparison in the table at the end of the session."""
    how = QuantityFormat(delta.pairs.metric.is_rate)
    interval = how.interval(delta.low, delta.high, delta.confidence, sign=True)
    shown = (
        (how.levels(delta.base, delta.tuned), f"{how.difference(delta.estimate)}{interval}")
        if delta.n
        else ("no scores", "")
    )
    name = metric if tag is None else f"{metric}[{tag}]"
    return (suite, name, tuned, *shown, str(delta.n))


def _look(run: Run, suite: SuiteRecord) -> InterimLook | None:
    """Return the look at which a suite of a finished run ended."""
    if suite.looks is None:
        return None
    skipped = sum(s.n_skipped_decided for s in run.verdict.suites if s.name == suite.name)
    return InterimLook(suite.looks, suite.looks.sizes.index(suite.n_cases - skipped))
