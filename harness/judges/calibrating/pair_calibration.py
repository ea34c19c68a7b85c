"""Calibration of judges of pairs: their preferences against people's labels of both answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.judges.calibrating import rates as calibration_rates
from tunegate.harness.judges.calibrating.canaries import EMPTY
from tunegate.harness.judges.calibrating.rates import PairedDifference
from tunegate.harness.judges.calibrating.setup import CalibrationSetup
from tunegate.harness.records.calibration import Calibration, CanaryResult
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.labels import Label
from tunegate.harness.records.scores import Score
from tunegate.harness.stats import judge_accuracy, judge_bias

DECIDED = 0.5
"""Smallest advantage, over both orders, that counts as a preference."""
_SLOT = 1e-9


def calibrate_pairs(
    bench: CalibrationSetup,
    labels: Sequence[Label],
    case_of: Callable[[Label], Case],
    facts: Mapping[str, Any],
) -> Calibration:
    """Compare a judge of pairs with the labels of both answers.

    Raises:
        UsageError: there are too few such pairs, or the judge decided too few.
    """
    pairs = _pairs(labels)
    if len(pairs) < 2:
        raise UsageError(
            f"{facts['labels']}: {len(pairs)} cases have labels for both answers; a judge of pairs "
            "needs lines with arm base and arm tuned for the same id"
        )
    tasks = [bench.task(case_of(t), b.completion, t.completion, whose=t) for b, t in pairs]
    scores = bench.scores(tasks)
    rows = [
        (
            PairedDifference(
                t.label - b.label,
                score.value,
                calibration_rates.log_ratio(b.completion, t.completion),
            ),
            score,
        )
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
        agreement=calibration_rates.rate_estimate(judge_accuracy.accuracy(counts), len(rows)),
        baseline=judge_accuracy.constant_baseline(counts),
        balanced_accuracy=None,
        kappa=calibration_rates.cohen_kappa(counts),
        arms={},
        differential=calibration_rates.differential_error(seen, 1.0),
        pairs=calibration_rates.labelled_pairs(
            _pair_scores(pairs, [scores[task.key].value for task in tasks]), case_of
        ),
        answers=calibration_rates.answer_hashes(pairs),
        length_slope=calibration_rates.length_slope(seen),
        canaries=_pair_canaries(bench, pairs, case_of),
        **_orders([score for _, score in rows]),
    )


def _pairs(labels: Sequence[Label]) -> list[tuple[Label, Label]]:
    by_case: dict[str, dict[str, Label]] = {}
    for label in labels:
        if label.arm:
            by_case.setdefault(label.id, {})[label.arm] = label
    return [(p["base"], p["tuned"]) for p in by_case.values() if {"base", "tuned"} <= p.keys()]


def _pair_scores(
    pairs: Sequence[tuple[Label, Label]], advantages: Sequence[float | None]
) -> Iterator[tuple[Label, Label, float, float]]:
    """Yield both labels and both scores of the decided pairs."""
    for (base, tuned), advantage in zip(pairs, advantages, strict=True):
        if advantage is not None:
            yield base, tuned, (1 - advantage) / 2, (1 + advantage) / 2


def _table(pairs: Sequence[PairedDifference]) -> list[list[int]]:
    """Return counts of tuned, base and tie: rows by people, columns by the judge."""
    counts = [[0, 0, 0] for _ in range(3)]
    for pair in pairs:
        counts[_choice(pair.human, _SLOT)][_choice(pair.judge, DECIDED)] += 1
    return counts


def _choice(advantage: float, least: float) -> int:
    return 0 if advantage >= least else 1 if advantage <= -least else 2


def _orders(scores: Sequence[Score]) -> dict[str, Any]:
    """Return the rates of order effects, if the judge was asked in both orders."""
    orders = [
        (_sign(parts["base_first"]), _sign(parts["tuned_first"]))
        for score in scores
        for parts in [score.parts or {}]
        if {"base_first", "tuned_first"} <= parts.keys()
    ]
    if not orders:
        return {}
    first = sum((ab < 0) + (ba > 0) for ab, ba in orders)
    second = sum((ab > 0) + (ba < 0) for ab, ba in orders)
    flips = judge_bias.order_flips([ab for ab, _ in orders], [ba for _, ba in orders])
    rates: dict[str, Any] = {"order_flips": calibration_rates.rate_estimate(flips, len(orders))}
    if first + second:
        share = judge_bias.first_position_share(first, second)
        rates["first_position"] = calibration_rates.rate_estimate(share, first + second)
        rates["first_position_p"] = judge_bias.first_position_test(first, second).p_value
    return rates


def _sign(value: float) -> int:
    return 0 if abs(value) < DECIDED else 1 if value > 0 else -1


def _pair_canaries(
    bench: CalibrationSetup, pairs: Sequence[tuple[Label, Label]], case_of: Callable[[Label], Case]
) -> CanaryResult:
    """Ask whether an empty answer is preferred to one that people call good."""
    if bench.recorded:
        return CanaryResult(asked=0)
    good = [b for b, _ in pairs if b.label >= bench.good_from][:3]
    canaries = [(name, label, text) for name, text in EMPTY.items() for label in good]
    tasks = [bench.task(case_of(label), label.completion, text) for _, label, text in canaries]
    scores = bench.scores(tasks)
    values = [(name, scores[t.key].value) for (name, _, _), t in zip(canaries, tasks, strict=True)]
    liked = dict.fromkeys(name for name, value in values if value is not None and value > 0)
    missing = dict.fromkeys(name for name, value in values if value is None)
    return CanaryResult(asked=len(canaries), failed=tuple(liked), unscored=tuple(missing))
