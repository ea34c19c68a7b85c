"""Deciding a stored run again from its files, and the findings of an A/A test.

An A/A run: what differs where nothing should, and whether a difference was claimed. Both arms of an
A/A run are base, or as good as base. How far their scores differ is the noise floor; a goal that
is reached or a regression that is proven is a false claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.comparison.noise_floor import NoiseFloor
from tunegate.harness.contracts.further_arm import comparisons
from tunegate.harness.decision.answers.answer_counts import count_answers
from tunegate.harness.decision.score_table import ScoreTable, tables_of
from tunegate.harness.decision.verdict.decide import ScoredRun, decide_run, suite_results
from tunegate.harness.decision.verdict.decision_table import suite_verdict
from tunegate.harness.decision.verdict.interim_analysis import should_stop
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import CellKind, StoredAnswer
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.jsonl import FilteredRecords
from tunegate.harness.records.labels import Label
from tunegate.harness.records.manifest import LookSchedule, SuiteRecord
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import SuiteResult, Verdict, VerdictRecord


def decide_again(run: Run) -> VerdictRecord:
    """Return the verdict of a stored run, its scores and labels being what they are now."""
    skipped: dict[str, set[str]] = {}
    for stored in run.cells:
        if stored.status == "skipped":
            skipped.setdefault(stored.cell.suite, set()).add(stored.cell.case)
    looks = {
        suite.name: look
        for suite in run.manifest.suites
        if (look := _look(suite, skipped.get(suite.name, set()))) is not None
    }
    asked = FilteredRecords(run.cells, lambda stored: stored.status != "skipped")
    verdict = decide_run(
        run.manifest,
        run.cases_of,
        run.scores,
        looks=looks,
        answers=count_answers(asked, run.cases_of),
        labels=standing_labels(run.labels, run.cells, run.manifest.suites),
    )
    scored = ScoredRun(
        manifest=run.manifest, cases=run.cases_of, scores=run.scores, cells=asked, looks=looks
    )
    results = run.verdict.further_arms
    for name, compared in comparisons(run.manifest.arms).items():
        # What took the models to find out is about their answers, which are what they were.
        if name in results:
            verdict = verdict.after(name, compared.compare_again(scored, results[name]))
    return verdict


def standing_labels(
    labels: Iterable[Label], cells: Iterable[StoredAnswer], suites: Iterable[SuiteRecord]
) -> tuple[Label, ...]:
    """Return the labels whose answer is still the run's: a label speaks of a text, not a case."""
    given = list(labels)
    if not given:
        return ()
    texts = answer_texts(cells, suites)
    return tuple(
        label
        for label in given
        if texts.get((label.suite or "", label.id, label.arm or "")) == label.completion
    )


def answer_texts(
    cells: Iterable[StoredAnswer], suites: Iterable[SuiteRecord]
) -> Mapping[tuple[str, str, str], str]:
    """Return (suite, case, arm) → the answer, in suites with one answer a case and arm."""
    several = {s.name for s in suites if s.generation.get("samples", 1) > 1}
    return {
        (stored.cell.suite, stored.cell.case, stored.cell.arm): stored.completion.text
        for stored in cells
        if stored.cell.kind is CellKind.GENERATE
        and stored.completion is not None
        and stored.completion.text is not None
        and stored.cell.suite not in several
    }


def _look(suite: SuiteRecord, skipped: set[str]) -> InterimLook | None:
    """Return the look at which a suite ended, derived from the cases that were left out."""
    if suite.looks is None:
        return None
    seen = len(suite.looks.order) - len(skipped)
    return InterimLook(suite.looks, suite.looks.sizes.index(seen))


def noise_floors(table: ScoreTable) -> tuple[NoiseFloor, ...]:
    """Return the noise floor of every metric of a suite, gated or not."""
    return tuple(NoiseFloor(table.pairs(m)) for m in table.suite.metrics)


def false_claims(
    suite: SuiteRecord, result: SuiteResult, *, adapter: bool = False
) -> tuple[GateResult, ...]:
    """Return the gates that claimed a difference between the arms of an A/A run.

    Levels do not count: a floor that base itself is below is no claim of a difference, and
    must not hide a goal that was reached as well. Without a goal a suite ships what is no
    worse, which in an A/A run is right; only a regression is a false claim there.

    Args:
        suite: The suite.
        result: How its gates ended.
        adapter: Whether one arm has an adapter, whose computing takes time: then measured times
            differ in truth, and do not count.
    """
    timed = {m.name for m in suite.metrics if m.needs is CellKind.LATENCY} if adapter else set()
    return tuple(_claims(suite, result, timed))


def _claims(suite: SuiteRecord, result: SuiteResult, left_out: set[str]) -> Iterator[GateResult]:
    differences = [
        g for g in result.gates if not gate_kind(g.kind).reads_level and g.metric not in left_out
    ]
    yield from (g for g in differences if gate_kind(g.kind).claims_loss(g) and not g.advisory)
    if result.has_goal and suite_verdict(suite, differences) is Verdict.SHIP:
        goals = (g for g in differences if gate_kind(g.kind).is_goal)
        yield from (g for g in goals if g.status is GateStatus.PASS)


def claims_at_looks(
    run: Run, looks: LookSchedule, *, adapter: bool = False
) -> tuple[InterimLook, tuple[GateResult, ...]]:
    """Return the look at which a gate run would have ended an A/A run, and its false claims there.

    The A/A run asks all cases; its looks see what they would have seen.

    Args:
        run: An A/A run of one suite.
        looks: The looks that a gate run of the suite has.
        adapter: As for `false_claims`.
    """
    (suite,) = (s.model_copy(update={"looks": looks}) for s in run.manifest.suites)
    manifest = run.manifest.model_copy(update={"suites": (suite,)})
    cases, last = run.cases_of[suite.name], len(looks.sizes) - 1
    ended = next(
        (i for i in range(last) if should_stop(manifest, suite, cases, run.scores, i)), last
    )
    look = InterimLook(looks, ended)
    (result,) = suite_results(
        manifest, tables_of(manifest, {suite.name: cases}, run.scores, {suite.name: look})
    )
    return look, false_claims(suite, result, adapter=adapter)


def broken_levels(result: SuiteResult) -> tuple[GateResult, ...]:
    """Return the floors and ceilings that were not held: about the level, not the difference."""
    levels = (g for g in result.gates if gate_kind(g.kind).reads_level)
    return tuple(g for g in levels if g.status is GateStatus.FAIL)
