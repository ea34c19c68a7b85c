"""A judge calibrated: asked about labelled answers, again about some, and about known bad ones."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.calibrating import comparing, rates
from harness.calibrating.asking import Bench
from harness.calibrating.canaries import IGNORE, Canary, canaries
from harness.calibrating.rates import Judged
from harness.calibration import Calibration, Canaries, binding
from harness.errors import UsageError
from harness.labels import Label, labels_hash
from harness.records import Case
from harness.stats import agreement, order

REPEATED = 50
"""Answers that are judged again."""


@dataclass(frozen=True)
class Labelled:
    """Labels with the cases they are about."""

    labels: tuple[Label, ...]
    cases: Mapping[str, Case]
    """Id → case."""
    source: str
    """Where the labels came from, in words."""

    def case(self, label: Label) -> Case:
        """Return the case that a label is about."""
        return label.case or self.cases[label.id]


def calibrate(bench: Bench, given: Labelled, *, repeats: int = 2, seed: int = 0) -> Calibration:
    """Ask a judge about labelled answers and return how it does.

    Args:
        bench: The judge.
        given: What people said.
        repeats: Times that some of the answers are judged again.
        seed: Chooses which.

    Raises:
        UsageError: the judge scored no answer, or the labels do not fit a judge of pairs.
    """
    if bench.judge.pairs:
        return comparing.calibrate(bench, given.labels, given.case, _facts(bench, given, seed))
    tasks = {at: bench.task(given.case(x), x.completion) for at, x in enumerate(given.labels)}
    scores = bench.scores(tasks.values())
    rows = [
        Judged(label, value)
        for at, label in enumerate(given.labels)
        if (value := scores[tasks[at].key].value) is not None
    ]
    if not rows:
        reason = next((s.reason for s in scores.values() if s.reason), "no reply")
        raise UsageError(f"the judge scored none of {len(given.labels)} answers: {reason}")
    good = bench.good_from
    counts, pairs = rates.table(rows, good), rates.paired(rows)
    again = _again(bench, given, rows, repeats, seed)
    verdicts = [[value >= good for value in said] for said in again]
    return Calibration(
        **_facts(bench, given, seed),
        n_unscored=len(given.labels) - len(rows),
        agreement=rates.rate(agreement.accuracy(counts), len(rows)),
        baseline=agreement.constant_baseline(counts),
        balanced_accuracy=rates.balanced(counts),
        kappa=rates.kappa(counts),
        arms=rates.errors(rows, good),
        differential=rates.differential(pairs, bench.metric.bound),
        repeat_flips=rates.rate(order.repeat_flips(verdicts), len(again)) if again else None,
        repeat_variance=order.repeat_variance(again) if again else None,
        length_slope=rates.length_slope(pairs),
        canaries=_canaries(bench, given, rows),
    )


def _facts(bench: Bench, given: Labelled, seed: int) -> dict[str, object]:
    """Return what a calibration says of judge and labels."""
    prompt = bench.judge.prompt_sha256
    return {
        "metric": bench.metric.name,
        "judge": {
            "name": bench.judge.name,
            "prompt_sha256": prompt,
            "options": {name: str(value) for name, value in bench.judge.options.items()},
            "models": [dict(juror.identity) for juror in bench.jurors],
        },
        "binding": binding(prompt, [juror.fingerprint for juror in bench.jurors]),
        "labels": given.source,
        "labels_sha256": labels_hash(given.labels),
        "good_from": bench.good_from,
        "n_labels": len(given.labels),
        "seed": seed,
    }


def _again(
    bench: Bench, given: Labelled, rows: Sequence[Judged], repeats: int, seed: int
) -> list[list[float]]:
    """Return the scores of some answers, each asked several times; none where that failed."""
    if not repeats:
        return []
    chosen = random.Random(seed).sample(list(rows), min(REPEATED, len(rows)))
    asked = [
        [bench.task(given.case(r.label), r.label.completion, repeat=k + 1) for k in range(repeats)]
        for r in chosen
    ]
    scores = bench.scores(task for tasks in asked for task in tasks)
    found = [
        [row.score, *(v for task in tasks if (v := scores[task.key].value) is not None)]
        for row, tasks in zip(chosen, asked, strict=True)
    ]
    return [said for said in found if len(said) > 1]


def _canaries(bench: Bench, given: Labelled, rows: Sequence[Judged]) -> Canaries:
    """Ask about known bad answers: empty ones, and bad ones that speak to the judge."""
    good = bench.good_from
    cases = {row.label.id: given.case(row.label) for row in rows}
    bad = {
        row.label.id: row.label.completion
        for row in rows
        if row.label.label < good and row.score < good and row.label.completion.strip()
    }
    asked = canaries(list(cases), bad)
    tasks = [bench.task(cases[canary.case], canary.text) for canary in asked]
    scores = bench.scores(tasks)
    return told([(c, scores[task.key].value) for c, task in zip(asked, tasks, strict=True)], good)


def told(found: Sequence[tuple[Canary, float | None]], good: float) -> Canaries:
    """Return what a judge made of known bad answers, from canary and score."""
    liked = [c for c, score in found if score is not None and score >= good]
    fooled = tuple(c.name for c in liked if c.attack)
    failed = dict.fromkeys(c.name for c in liked if not c.attack or c.name == IGNORE)
    return Canaries(
        asked=sum(not c.attack for c, _ in found),
        failed=tuple(failed),
        unscored=tuple(dict.fromkeys(c.name for c, score in found if score is None)),
        attacks=sum(c.attack for c, _ in found),
        fooled=fooled,
    )
