"""Contamination strata: the difference on clean and on contaminated cases, side by side.

A fine-tune that gains only on touched cases has memorized them. The comparison is information: few
cases show little, so a small difference does not clear a suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from tunegate.harness.comparison.delta import Delta
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.decision.score_table import ScoreTable, tables_of
from tunegate.harness.records.cases import Case
from tunegate.harness.records.contamination import (
    ContaminationResult,
    MetricStrata,
    MetricStratum,
    SuiteContamination,
    SuiteStrata,
)
from tunegate.harness.records.manifest import Manifest, MetricRecord
from tunegate.harness.records.scores import ScoreRow

NAMED = 5
"""Touched cases that a note names; the report lists them all."""


def compute_strata(
    manifest: Manifest,
    cases: Mapping[str, Sequence[Case]] = MappingProxyType({}),
    scores: Iterable[ScoreRow] = (),
    looks: Mapping[str, InterimLook] = MappingProxyType({}),
) -> ContaminationResult | None:
    """Return what is known about leakage, with the differences; None if it was never checked.

    Args:
        manifest: The run.
        cases: Suite → its cases; empty if nothing was scored.
        scores: Every score.
        looks: Suite → the look at which its clean cases are judged.
    """
    leakage = manifest.leakage
    if leakage is None:
        return None
    touched = {suite.name: frozenset(suite.touched) for suite in leakage.suites if suite.touched}
    rows = list(scores) if touched else []
    apart = {name: of for name, of in cases.items() if name in touched}
    clean = {t.suite.name: t for t in tables_of(manifest, apart, rows, looks, without=touched)}
    only = {name: [case for case in of if case.id in touched[name]] for name, of in apart.items()}
    seen = {t.suite.name: t for t in tables_of(manifest, only, rows, {}, without={})}
    return ContaminationResult(
        mode=leakage.mode,
        checked=leakage.checked,
        sentence=leakage.sentence,
        rows=leakage.rows,
        files=leakage.files,
        suites=tuple(_suite(suite, clean, seen) for suite in leakage.suites),
    )


def _suite(
    suite: SuiteContamination, clean: Mapping[str, ScoreTable], seen: Mapping[str, ScoreTable]
) -> SuiteStrata:
    table = clean.get(suite.name)
    return SuiteStrata(
        name=suite.name,
        n_cases=suite.n_cases,
        touched=suite.touched,
        suspect=suite.suspect,
        metrics=() if table is None else tuple(_metrics(table, seen[suite.name])),
    )


def _metrics(clean: ScoreTable, seen: ScoreTable) -> Iterator[MetricStrata]:
    gated = {gate.metric for gate in clean.suite.gates}
    for metric in clean.suite.metrics:
        if metric.name in gated:
            yield MetricStrata(
                metric=metric.name,
                clean=_stratum(clean, metric),
                touched=_stratum(seen, metric),
            )


def _stratum(table: ScoreTable, metric: MetricRecord) -> MetricStratum:
    pairs = table.pairs(metric)
    delta = Delta(pairs)
    bounded = not pairs.too_few and abs(delta.low) != float("inf")
    return MetricStratum(
        n=pairs.n,
        base=delta.base if pairs.n else None,
        tuned=delta.tuned if pairs.n else None,
        delta=delta.estimate if pairs.n else None,
        low=delta.low if bounded else None,
        high=delta.high if bounded else None,
    )


def touched_note(manifest: Manifest, suite: str) -> Iterator[str]:
    """Yield the note on a suite's touched cases, if any."""
    leakage = manifest.leakage
    if leakage is None:
        return
    for overlap in leakage.suites:
        if overlap.name == suite and overlap.touched:
            more = len(overlap.touched) - NAMED
            named = ", ".join(overlap.touched[:NAMED]) + (f" and {more} more" if more > 0 else "")
            verb = "and count in the gates all the same (--gate-leakage=report)"
            if suite in leakage.left_out:
                verb = "left out of the gates"
            yield (
                f"{suite}: {len(overlap.touched)} of {overlap.n_cases} cases are in the training "
                f"rows, {verb}: {named}"
            )
