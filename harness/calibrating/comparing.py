"""A judge of pairs calibrated: does it prefer whom people prefer, whatever the order?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.calibrating import rates
from harness.calibrating.asking import Bench
from harness.calibrating.canaries import EMPTY
from harness.calibrating.rates import Paired
from harness.calibration import Calibration, Canaries
from harness.errors import UsageError
from harness.labels import Label
from harness.records import Case, Score
from harness.stats import agreement, order

DECIDED = 0.5
"""Advantage from which a verdict over both orders is for one of the two."""
_SLOT = 1e-9


def calibrate(
    bench: Bench,
    labels: Sequence[Label],
    case_of: Callable[[Label], Case],
    facts: Mapping[str, Any],
) -> Calibration:
    """Ask a judge of pairs about pairs whose answers both have a label.

    Raises:
        UsageError: there are no such pairs, or the judge decided none.
    """
    pairs = _pairs(labels)
    if len(pairs) < 2:
        raise UsageError(
            f"{facts['labels']}: {len(pairs)} cases have labels for both answers; a judge of pairs "
            "needs lines with arm base and arm tuned for the same id"
        )
    tasks = [bench.task(case_of(t), b.completion, t.completion) for b, t in pairs]
    scores = bench.scores(tasks)
    rows = [
        (Paired(t.label - b.label, score.value, rates.log_ratio(b.completion, t.completion)), score)
        for (b, t), task in zip(pairs, tasks, strict=True)
        for score in [scores[task.key]]
        if score.value is not None
    ]
    if len(rows) < 2:
        reason = next((s.reason for s in scores.values() if s.reason), "no reply")
        raise UsageError(f"the judge decided {len(rows)} of {len(pairs)} pairs: {reason}")
    seen = [pair for pair, _ in rows]
    counts = _table(seen)
    return Calibration(
        **facts,
        n_unscored=2 * (len(pairs) - len(rows)),
        agreement=rates.rate(agreement.accuracy(counts), len(rows)),
        baseline=agreement.constant_baseline(counts),
        balanced_accuracy=None,
        kappa=rates.kappa(counts),
        arms={},
        differential=rates.differential(seen, 1.0),
        length_slope=rates.length_slope(seen),
        canaries=_canaries(bench, pairs, case_of),
        **_orders([score for _, score in rows]),
    )


def _pairs(labels: Sequence[Label]) -> list[tuple[Label, Label]]:
    found: dict[str, dict[str, Label]] = {}
    for label in labels:
        if label.arm:
            found.setdefault(label.id, {})[label.arm] = label
    return [(p["base"], p["tuned"]) for p in found.values() if {"base", "tuned"} <= p.keys()]


def _table(pairs: Sequence[Paired]) -> list[list[int]]:
    """Return counts: rows by people, columns by the judge: tuned, base, tie."""
    counts = [[0, 0, 0] for _ in range(3)]
    for pair in pairs:
        counts[_choice(pair.human, _SLOT)][_choice(pair.judge, DECIDED)] += 1
    return counts


def _choice(advantage: float, least: float) -> int:
    return 0 if advantage >= least else 1 if advantage <= -least else 2


def _orders(scores: Sequence[Score]) -> dict[str, Any]:
    """Return what the judge's verdicts in both orders say of it; nothing where it gives none."""
    both = [
        (_sign(parts["base_first"]), _sign(parts["tuned_first"]))
        for score in scores
        for parts in [score.parts or {}]
        if {"base_first", "tuned_first"} <= parts.keys()
    ]
    if not both:
        return {}
    first = sum((ab < 0) + (ba > 0) for ab, ba in both)
    second = sum((ab > 0) + (ba < 0) for ab, ba in both)
    flips = order.order_flips([ab for ab, _ in both], [ba for _, ba in both])
    found: dict[str, Any] = {"order_flips": rates.rate(flips, len(both))}
    if first + second:
        share = order.first_position_share(first, second)
        found["first_position"] = rates.rate(share, first + second)
        found["first_position_p"] = order.first_position_test(first, second).p_value
    return found


def _sign(value: float) -> int:
    return 0 if abs(value) < DECIDED else 1 if value > 0 else -1


def _canaries(
    bench: Bench, pairs: Sequence[tuple[Label, Label]], case_of: Callable[[Label], Case]
) -> Canaries:
    """Ask whether nothing is preferred to an answer that people call good."""
    good = [b for b, _ in pairs if b.label >= bench.good_from][:3]
    asked = [(name, label, text) for name, text in EMPTY.items() for label in good]
    tasks = [bench.task(case_of(label), label.completion, text) for _, label, text in asked]
    scores = bench.scores(tasks)
    values = [(name, scores[t.key].value) for (name, _, _), t in zip(asked, tasks, strict=True)]
    liked = dict.fromkeys(name for name, value in values if value is not None and value > 0)
    missing = dict.fromkeys(name for name, value in values if value is None)
    return Canaries(asked=len(asked), failed=tuple(liked), unscored=tuple(missing))
