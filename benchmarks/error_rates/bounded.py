"""Bounded scores that lose rarely and much: error rates at the margin, most of them exact.

Most cases keep their score, or change a little, and a small share fails altogether, so that the
mean loss is exactly the margin. Where the others do not vary, the number of failures is all that a
sample shows: it is binomial, and the gate's rule is asked once for each number. With noise, with
averaged samples and through whole runs the rates are simulated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # scipy ships no types

from benchmarks.error_rates import continuous, looks, rules, runs
from benchmarks.error_rates.table import Row, Settings, simulated
from tunegate.harness.comparison.corpus_level import ArmCounts, PairedCounts
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.stats.group_sequential import look_sizes

Floats = NDArray[np.float64]
Sample = Callable[[int, int], tuple[Pairs, float]]
"""(failures, cases) → the pairs of such a sample and what their difference must not exceed."""

SIZES = (50, 60, 100, 150, 200, 400)
PLANNED = (200, 400, 1000)
MARGINS = (0.01, 0.02, 0.05)
SMALL_GAINS = (0.002, 0.01, 0.05)
CONFIDENCE = 0.90
LEVEL = 0.75
"""Micro-F1, or mean score, of base."""
MOST_LOST = 0.03
"""Power that the guards may cost on ordinary scores."""


def rows(settings: Settings) -> list[Row]:
    """Return the error rates of rare failures, and what guarding against them costs."""
    return [
        *_at_the_margin(settings),
        *_with_looks(settings),
        *_with_noise(settings),
        *_averaged(settings),
        *_corpora(settings),
        *_whole_runs(settings),
        *_power(settings),
    ]


def failures(change: float, margin: float, failed: int, n: int) -> tuple[Pairs, float]:
    """Return cases that change by `change`, apart from those that lose the whole range."""
    base = [1.0] * failed + [0.5] * (n - failed)
    tuned = [0.0] * failed + [0.5 + change] * (n - failed)
    return rules.pairs_of(base, tuned, rules.SCORE), margin


def unseen_gains(margin: float, gained: int, n: int) -> tuple[Pairs, float]:
    """Return the other end: some cases gain the whole range, and a smaller gain is claimed."""
    base, tuned = [0.0] * gained + [0.5] * (n - gained), [1.0] * gained + [0.5] * (n - gained)
    return rules.pairs_of(base, tuned, rules.SCORE).exchanged(), -margin


def relative(share: float, failed: int, n: int) -> tuple[Pairs, float]:
    """Return cases of score .75, some of which fall to 0, against a share of base's mean."""
    base = [LEVEL] * n
    tuned = [0.0] * failed + [LEVEL] * (n - failed)
    return rules.pairs_of(base, tuned, rules.SCORE).relative(share), 0.0


def relative_top(share: float, failed: int, n: int) -> tuple[Pairs, float]:
    """Return the same where base is perfect on the cases that fail: they lose the most they can."""
    base = [1.0] * failed + [LEVEL] * (n - failed)
    tuned = [0.0] * failed + [LEVEL] * (n - failed)
    return rules.pairs_of(base, tuned, rules.SCORE).relative(share), 0.0


def clustered(margin: float, failed: int, n: int) -> tuple[Pairs, float]:
    """Return `n` clusters of two cases, some of which fail together."""
    base, tuned = [1.0] * 2 * n, [0.0] * 2 * failed + [1.0] * 2 * (n - failed)
    # 0 and 1 alone would be judged by counts.
    base[-1] = tuned[-1] = 0.5
    names = [str(i // 2) for i in range(2 * n)]
    return rules.pairs_of(base, tuned, rules.SCORE, names), -margin


def corpus(margin: float, failed: int, n: int) -> tuple[Pairs, float]:
    """Return a corpus of which base finds 3 things of 4 with one error, failures none."""
    found, lost = (3.0, 1.0, 1.0), (0.0, 4.0, 4.0)
    arms = [found] * n, [lost] * failed + [found] * (n - failed)
    base, tuned = (ArmCounts(tuple(arm), _micro_f1) for arm in arms)
    counts = PairedCounts(base, tuned)
    metric = rules.SCORE.model_copy(update={"corpus": {}})
    return Pairs("", metric, (LEVEL,) * n, (LEVEL,) * n, corpus=counts), -margin


def long_answers(
    level: float, weight: float, margin: float, failed: int, n: int
) -> tuple[Pairs, float]:
    """Return a corpus of equal answers, of which tuned's failures are total and `weight` long."""
    found, lost = (4 * level, 4.0), (0.0, 4 * weight)
    arms = [found] * n, [lost] * failed + [found] * (n - failed)
    base, tuned = (ArmCounts(tuple(arm), _share) for arm in arms)
    metric = rules.SCORE.model_copy(update={"corpus": {}})
    scores = (level,) * n
    return Pairs("", metric, scores, scores, corpus=PairedCounts(base, tuned)), -margin


def _share(sums: Iterable[float]) -> float:
    right, all_of_them = sums
    return right / all_of_them


def lost_level(level: float, weight: float, share: float) -> float:
    """Return what a share of total failures of such a weight takes from a corpus value."""
    return level - level * (1 - share) / (1 - share + weight * share)


def changed_answers(
    level: float, weight: float, share: float, changed: float, rng: np.random.Generator, n: int
) -> PairedCounts:
    """Return a corpus of answers of 20 words, some of which changed, and some failed."""
    base, other = rng.binomial(20, rng.beta(4 * level, 4 * (1 - level), (2, n)))
    kept = np.where(rng.random(n) < changed, other, base)
    failed = rng.random(n) < share
    words = np.where(failed, 20.0 * weight, 20.0)
    tuned = np.where(failed, 0.0, kept)
    rows = np.column_stack([base, np.full(n, 20.0)]), np.column_stack([tuned, words])
    before, after = (ArmCounts(tuple(map(tuple, arm.tolist())), _share) for arm in rows)
    return PairedCounts(before, after)


def _corpora(settings: Settings) -> list[Row]:
    """Return the error of corpus values by long failures, and the power that their guard costs."""
    found = []
    sizes = (50, 100, 200) if settings.fast else (50, 100, 200, 400)
    for level, n in itertools.product((0.3, LEVEL), sizes):
        for share in (0.01, 0.005):
            lost = lost_level(level, 6, share)
            what = f"corpus value {level:g}, {share:.1%} total failures of 6 times the length"
            found.append(_exact(what, n, partial(long_answers, level, 6, lost), share))
            what = f"{what}, 30 % of the others changed"
            found.append(_corpus_passes(what, n, level, share, 0.3, lost, settings))
    for n in (100, 200, 400):
        what = "corpus value 0.3, all answers changed, tolerance .05: power lost to their guard"
        own = _corpus_passes(what, n, 0.3, 0, 1, 0.05, settings)
        plain = _corpus_passes(what, n, 0.3, 0, 1, 0.05, settings, heaviest=1.0)
        note = f"power {own.rate:.3f} with it, {plain.rate:.3f} without"
        lost = max(0.0, plain.rate - own.rate)
        found.append(Row("bounded", what, str(n), lost, limit=MOST_LOST, note=note))
    return found


def _corpus_passes(  # noqa: PLR0913  # a cell of a table of as many dimensions
    what: str,
    n: int,
    level: float,
    share: float,
    changed: float,
    margin: float,
    settings: Settings,
    heaviest: float = 6.0,
) -> Row:
    reps = max(30, settings.reps // 10)
    rng = settings.rng(f"bounded {what} {n}")
    metric = rules.SCORE.model_copy(update={"corpus": {}})
    scores, passed = (level,) * n, 0
    for _ in range(reps):
        counts = changed_answers(level, 6, share, changed, rng, n)
        pairs = Pairs("", metric, scores, scores, corpus=replace(counts, heaviest=heaviest))
        passed += rules.gate(pairs, -margin, CONFIDENCE)
    return Row("bounded", what, str(n), *simulated(passed, reps))


def _micro_f1(sums: Iterable[float]) -> float:
    right, wrong, missed = sums
    return 2 * right / (2 * right + wrong + missed)


def error(sample: Sample, n: int, share: float, confidence: float = CONFIDENCE) -> float:
    """Return the exact probability that a sample is called proven, `share` of all cases failing."""
    return float(stats.binom.pmf(np.arange(n + 1), n, share) @ _proofs(sample, n, confidence))


def _proofs(sample: Sample, n: int, confidence: float, most: int = 60) -> Floats:
    """Return for each number of failures, of which no cell sees more, whether it proves."""
    found = np.zeros(n + 1)
    for failed in range(min(n, most) + 1):
        pairs, margin = sample(failed, n)
        found[failed] = rules.gate(pairs, margin, confidence)
    return found


def ever(sample: Sample, sizes: Sequence[int], share: float) -> float:
    """Return the exact probability that any look calls it proven."""
    alive, total, before = np.ones(1), 0.0, 0
    for size, confidence in zip(sizes, looks.confidences(tuple(sizes)), strict=True):
        step = size - before
        alive = np.convolve(alive, stats.binom.pmf(np.arange(step + 1), step, share))
        proven = _proofs(sample, size, confidence).astype(bool)
        total += float(alive[proven].sum())
        alive[proven] = 0.0
        before = size
    return total


def _at_the_margin(settings: Settings) -> list[Row]:
    sizes = SIZES[:3] if settings.fast else SIZES
    found = []
    for n in sizes:
        for margin in MARGINS:
            what = f"rare failures, mean loss of the tolerance {margin:g}"
            found.append(_exact(what, n, partial(failures, 0.0, -margin), margin))
            what = f"the same, half of the loss on all other cases, {margin:g}"
            half = margin / 2
            found.append(_exact(what, n, partial(failures, -half, -margin), half / (1 - half)))
        for gain in SMALL_GAINS:
            what = f"gain 0: others gain {gain:g}, rare failures take it"
            found.append(_exact(what, n, partial(failures, gain, 0.0), gain / (1 + gain)))
        what = "rare gains, upper end: the mean gain of .02 is called smaller"
        found.append(_exact(what, n, partial(unseen_gains, 0.02), 0.02))
        what = "rare failures, twice the tolerance .02"
        found.append(_exact(what, n, partial(failures, 0.0, -0.02), 0.04))
        what = "rare failures, tolerance 5 % of base"
        found.append(_exact(what, n, partial(relative, 0.05), 0.05))
        what = "the same, base perfect where tuned fails"
        allowed = 0.05 * LEVEL / (1 - 0.05 + 0.05 * LEVEL)
        found.append(_exact(what, n, partial(relative_top, 0.05), allowed))
        what = "rare failures of whole clusters of two, tolerance .02"
        found.append(_exact(what, n, partial(clustered, 0.02), 0.02))
        what = "rare failures, tolerance .02 of micro-F1 .75"
        found.append(_exact(what, n, partial(corpus, 0.02), 0.02 / LEVEL))
    return found


def _exact(what: str, n: int, sample: Sample, share: float) -> Row:
    return Row("bounded", what, str(n), error(sample, n, share))


def _with_looks(settings: Settings) -> list[Row]:
    found = []
    for n in PLANNED[:1] if settings.fast else PLANNED:
        sizes = look_sizes(n, first=looks.FIRST_CONTINUOUS)
        for margin in MARGINS:
            rate = ever(partial(failures, 0.0, -margin), sizes, margin)
            what = f"rare failures, tolerance {margin:g}, {len(sizes)} looks"
            found.append(Row("bounded", what, str(n), rate))
        rate = ever(partial(failures, 0.0, -0.02), sizes, 0.04)
        found.append(Row("bounded", f"the same, twice .02, {len(sizes)} looks", str(n), rate))
        rate = ever(partial(failures, 0.01, 0.0), sizes, 0.01 / 1.01)
        what = f"gain 0: others gain .01, rare failures take it, {len(sizes)} looks"
        found.append(Row("bounded", what, str(n), rate))
    return found


def _noisy(rng: np.random.Generator, n: int) -> tuple[Floats, Floats, float]:
    """Return the worst mixture of noise and failures that was found: 2.5 of them expected."""
    share, deviation = 2.5 / n, 1.2 / np.sqrt(n)
    failed = rng.random(n) < share
    change = np.clip(share / (1 - share) + deviation * rng.normal(0, 1, n), -0.5, 0.5)
    base = np.where(failed, 1.0, 0.5)
    return base, np.where(failed, 0.0, 0.5 + change), 0.0


def _samples(answers: int, rng: np.random.Generator, n: int) -> tuple[Floats, Floats, float]:
    """Return means of several pass-or-fail answers; 6.7 % of the cases fail all of tuned's.

    Chances are Beta(.6, .2) from case to case, .75 on average, of which .05 are lost.
    """
    chance = rng.beta(0.6, 0.2, n)
    kept = np.where(rng.random(n) < 0.05 / 0.75, 0.0, chance)
    base, tuned = rng.binomial(answers, chance), rng.binomial(answers, kept)
    return base / answers, tuned / answers, -0.05


Simulation = Callable[[np.random.Generator, int], tuple[Floats, Floats, float]]


def _simulated(what: str, n: int, draw: Simulation, settings: Settings) -> Row:
    reps = max(30, settings.reps // 4)
    rng = settings.rng(f"bounded {what} {n}")
    wrong = 0
    for _ in range(reps):
        base, tuned, margin = draw(rng, n)
        pairs = rules.pairs_of(base.tolist(), tuned.tolist(), rules.SCORE)
        wrong += rules.gate(pairs, margin, CONFIDENCE)
    return Row("bounded", what, str(n), *simulated(wrong, reps))


def _with_noise(settings: Settings) -> list[Row]:
    what = "gain 0: noise, a small gain, and failures that take it"
    return [_simulated(what, n, _noisy, settings) for n in (50, 100, 200)]


def _averaged(settings: Settings) -> list[Row]:
    return [
        _simulated(
            f"means of {answers} answers, some cases fail, tolerance .05",
            n,
            partial(_samples, answers),
            settings,
        )
        for answers in (2, 4, 8)
        for n in (50, 100, 200)
    ]


def _whole_runs(settings: Settings) -> list[Row]:
    """Return false SHIPs of runs whose only broken guardrail is on such scores."""
    found = []
    reps = max(30, settings.reps // 20)
    for n, name in ((100, "failures"), (100, "lognormal"), (200, "lognormal")):
        rng = settings.rng(f"bounded runs {n} {name}")
        hits = sum(_ships(rng, n, name) for _ in range(reps))
        of = "scores without a range" if name == "lognormal" else "bounded scores"
        what = f"whole run, tolerance broken by {of}"
        counts = "" if name == "failures" or n >= 200 else "advisory: the run stays undecided"
        found.append(Row("bounded", what, str(n), *simulated(hits, reps), note=counts))
    return found


def _ships(rng: np.random.Generator, n: int, name: str) -> bool:
    if name == "lognormal":
        base, of, margin = np.zeros(n), rules.UNBOUNDED, float(np.exp(0.5))
        tuned = -rng.lognormal(0, 1, n)
    else:
        of, margin = rules.SCORE, 0.02
        base = np.full(n, 0.5)
        failed = rng.random(n) < margin
        base, tuned = np.where(failed, 1.0, base), np.where(failed, 0.0, base)
    metric = of.model_copy(update={"name": "broken", "use": "broken"})
    gate = Gate(metric="broken", kind="tolerance", margin=margin)
    broken = runs.Gated(metric, gate, (base, tuned))
    return runs.verdict([broken]) is Verdict.SHIP


def _power(settings: Settings) -> list[Row]:
    """Return the power that the guards cost where nothing fails, at an oracle's power of .8."""
    found = []
    reps = max(30, settings.reps // 5)
    for scenario in continuous.SCENARIOS:
        if scenario.name not in ("five-step scale", "saturated judge"):
            continue
        deviation = float(np.subtract(*scenario.draw(np.random.default_rng(1), 100_000)).std())
        for n in (50, 100, 200):
            rng, margin = settings.rng(f"power {scenario.name} {n}"), 2.486 * deviation / n**0.5
            passed = np.zeros(2)
            for _ in range(reps):
                base, tuned = (column.tolist() for column in scenario.draw(rng, n))
                for at, of in enumerate((rules.SCORE, rules.UNBOUNDED)):
                    passed[at] += rules.gate(rules.pairs_of(base, tuned, of), -margin, CONFIDENCE)
            own, plain = passed / reps
            what = f"{scenario.name}, tolerance {margin:.3f}: power lost to the guards"
            note = f"power {own:.3f} with them, {plain:.3f} without, .800 of an oracle"
            lost = max(0.0, plain - own)
            found.append(Row("bounded", what, str(n), lost, limit=MOST_LOST, note=note))
    return found
