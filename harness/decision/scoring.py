"""Scoring: one score for every case, metric and arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product

from tunegate.harness.comparison.estimator import exact_mean
from tunegate.harness.contracts.further_arm import further_arm
from tunegate.harness.contracts.metric import Metric, refuse_other_score
from tunegate.harness.decision.answer_facts.answer_counts import cells_by_case
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score, ScoreRow
from tunegate.harness.sandbox.jobs import run_jobs
from tunegate.harness.suite import Suite


def score_suite(
    suite: Suite,
    cells: Iterable[StoredAnswer],
    arms: Sequence[str],
    *,
    scored: Iterable[ScoreRow] = (),
) -> Iterator[ScoreRow]:
    """Yield one row for every case, metric and arm; a failed cell leaves its case unscored.

    Judge metrics are scored in `tunegate.harness.judges.asking`, and votes come after the run. A
    sample of the scores of the user's own metrics is computed again at the end, in reverse order:
    state or chance in a metric would look like a difference of the arms. `cells` are grouped by
    case; `scored` are rows that are not scored again.

    Raises:
        BackendError: a metric returned another score for the same answer.
    """
    before = {(row.metric, row.case, row.arm): row for row in scored}
    cases = {case.id: case for case in suite.cases}
    metrics = [m for m in suite.metrics if m.judge is None and not m.votes]
    cells = _with_jobs_done(metrics, suite.name, cases, cells)
    stride = max(1, len(suite.cases) // _SCORED_AGAIN)
    chosen = {case.id for case in suite.cases[::stride]}
    sample: list[tuple[Metric, ScoreRow, Callable[[], ScoreRow]]] = []
    for (of_suite, name), group in cells_by_case(cells):
        if of_suite != suite.name:
            continue
        by_kind: dict[tuple[str, CellKind], list[StoredAnswer]] = {}
        for stored in group:
            by_kind.setdefault((stored.cell.arm, stored.cell.kind), []).append(stored)
        for metric, arm in product(metrics, arms):
            samples = by_kind.get((arm, metric.needs))
            if samples:
                # Its own prompt has another hash than base's.
                alike = not further_arm(arm).reference
                base = by_kind.get(("base", metric.needs), ()) if alike else ()
                compute = partial(_row, suite, metric, cases[name], samples, base)
                earlier = before.get((metric.name, name, arm))
                row = earlier or compute()
                if name in chosen and row is not earlier and not metric.is_bundled:
                    sample.append((metric, row, compute))
                yield row
    for metric, first, compute_again in reversed(sample):
        place = f"answer of {first.arm} to case {first.case!r} of {suite.name}"
        refuse_other_score(metric, first.value, compute_again().value, place)


def _with_jobs_done(
    metrics: Iterable[Metric],
    suite: str,
    cases: Mapping[str, Case],
    cells: Iterable[StoredAnswer],
) -> Iterable[StoredAnswer]:
    """Return the answers after the programs that their scores need have run, side by side."""
    making = [(metric.job, metric) for metric in metrics if metric.job is not None]
    if not making:
        return cells
    kept = list(cells)
    answered = [(c.cell, c.completion) for c in kept if c.completion and c.cell.suite == suite]
    jobs = (
        make(cases[cell.case], completion, **metric.options)
        for make, metric in making
        for cell, completion in answered
        if cell.kind is metric.needs
    )
    run_jobs(job for job in jobs if job is not None)
    return kept


_SCORED_AGAIN = 20
"""About how many cases of a suite the user's own metrics score twice."""


def _row(
    suite: Suite,
    metric: Metric,
    case: Case,
    samples: Sequence[StoredAnswer],
    base: Sequence[StoredAnswer],
) -> ScoreRow:
    """Score the samples of one case and average them."""
    of_base = {stored.cell.sample: stored.completion for stored in base}
    scores = [_score(metric, case, stored, of_base.get(stored.cell.sample)) for stored in samples]
    values = [s.value for s in scores if s.value is not None]
    reasons = [s.reason for s in scores if s.reason]
    unscored = [s.reason for s in scores if s.value is None]
    missing, played = len(unscored), suite.episode is not None
    least = max(metric.least_samples, len(scores) / 2) if played else len(scores)
    enough = bool(values) and len(values) >= least
    average = metric.over_samples or exact_mean
    bounded = enough and missing and metric.range is not None
    ends = [average([*values, *[end] * missing]) for end in metric.range or ()] if bounded else []
    return ScoreRow(
        suite=suite.name,
        metric=metric.name,
        case=case.id,
        arm=samples[0].cell.arm,
        value=average(values) if enough else None,
        reason=(unscored or reasons or [None])[0],
        parts=_parts(scores) if enough else None,
        counts=_counts(scores) if enough else None,
        unscored=(missing, len(scores)) if missing and played else None,
        bounds=(min(ends), max(ends)) if ends else None,
    )


def _parts(scores: Sequence[Score]) -> dict[str, float] | None:
    by_name: dict[str, list[float]] = {}
    for score in scores:
        for name, value in (score.parts or {}).items():
            by_name.setdefault(name, []).append(value)
    return {name: exact_mean(values) for name, values in by_name.items()} or None


def _counts(scores: Sequence[Score]) -> tuple[float, ...] | None:
    rows = [score.counts for score in scores if score.counts is not None]
    return tuple(map(math.fsum, zip(*rows, strict=True))) if rows else None


def _score(metric: Metric, case: Case, stored: StoredAnswer, base: Completion | None) -> Score:
    completion: Completion | None = stored.completion
    if completion is None:
        return Score.unscored(stored.error or "there is no completion")
    hashes = {c.prompt_sha256 for c in (completion, base) if c is not None} - {None}
    if len(hashes) > 1:
        # Answers to different prompts are not a pair.
        return Score.unscored("another prompt was recorded than in base")
    return metric(case, completion)
