"""The four estimators: which scores call for which, and what all of them answer."""

from __future__ import annotations

import ast
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tunegate.harness.comparison.calibrated_level import CalibrationSample
from tunegate.harness.comparison.corpus_level import ArmCounts, CorpusEstimator, PairedCounts
from tunegate.harness.comparison.delta import plannable_effect
from tunegate.harness.comparison.estimator import Estimator
from tunegate.harness.comparison.labelled_level import LabelledEstimator
from tunegate.harness.comparison.mean_level import BinaryEstimator, MeanEstimator
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.stats.binary import clopper_pearson, deciding_interval
from tunegate.harness.stats.clusters import clustered_binary_test
from tunegate.harness.stats.power import binary_sample_size
from tunegate.harness.stats.ppi import JudgeRegression, ppi_interval

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(4)
SCORES = tuple(map(float, RNG.uniform(size=60))), tuple(map(float, RNG.uniform(size=60)))
LABELS = tuple((b, t) if i < 30 else None for i, (b, t) in enumerate(zip(*SCORES, strict=True)))


@pytest.fixture(name="binary")
def _binary(record_factory: Any) -> Pairs:
    """Return 9 wins, 3 losses, 20 right and 8 wrong answers."""
    base, tuned = record_factory.pairs(9, 3, 20, 8)
    return Pairs("s", record_factory.metric(), tuple(base), tuple(tuned))


@pytest.fixture(name="continuous")
def _continuous(record_factory: Any) -> Pairs:
    """Return sixty scores between 0 and 1."""
    return Pairs("s", record_factory.metric(binary=False), *SCORES)


@pytest.fixture(name="corpus")
def _corpus(record_factory: Any) -> Pairs:
    """Return sixty counts of found things; their level is micro-averaged accuracy."""
    metric = record_factory.metric(use="classification", binary=False, corpus={"average": "micro"})
    rows = [(float(found), 5.0) for found in RNG.integers(1, 6, 60)]
    base = tuple(found / total for found, total in rows)

    def share(sums: Any) -> float:
        found, total = sums
        return float(found / total)

    counts = PairedCounts(ArmCounts(tuple(rows), share), ArmCounts(tuple(rows[::-1]), share))
    return Pairs("s", metric, base, base[::-1], corpus=counts)


def test_the_scores_call_for_an_estimator(binary: Pairs, continuous: Pairs, corpus: Pairs) -> None:
    """0/1 scores, others, counts, and a judge's scores with labels on half of them."""
    labelled = replace(continuous, labels=LABELS)

    found = [type(pairs.estimator) for pairs in (binary, continuous, corpus, labelled)]

    assert found == [BinaryEstimator, MeanEstimator, CorpusEstimator, LabelledEstimator]


def test_scores_without_a_range_count_from_200_cases_on(record_factory: Any) -> None:
    """199 are advisory, unless a range is known, all are 0 or 1, or logarithms are compared.

    Where lower is better, scores that happen to be 0 or 1 have no range for that: a count of errors
    may be 20 in the next case, and where one of 200 is, 60 cases hold none with probability
    0.995^60 = .74.
    """
    metric = record_factory.metric(binary=False, range=None)
    steps = tuple(float(i % 7) for i in range(200))
    many = Pairs("s", metric, steps, steps[::-1])
    few = replace(many, base=steps[:199], tuned=steps[1:])
    signs = tuple(float(i % 2) for i in range(199))

    assert not many.advisory
    assert "from 200 independent cases on, and not with 199" in few.why_advisory
    assert replace(many, clusters=tuple(str(i // 2) for i in range(200))).advisory
    assert not replace(few, metric=record_factory.metric(binary=False, range=(0.0, 6.0))).advisory
    errors = metric.model_copy(update={"higher_is_better": False})
    assert not replace(few, base=signs, tuned=signs).advisory
    assert replace(few, base=signs, tuned=signs, metric=errors).advisory
    assert not replace(few, base=signs, tuned=signs, metric=record_factory.metric()).advisory
    assert not replace(few, in_logarithms=True).advisory


def test_corpus_values_without_a_range_count_from_200_cases_on(
    corpus: Pairs, record_factory: Any
) -> None:
    unbounded = corpus.metric.model_copy(update={"range": None})

    assert not corpus.advisory
    assert "and not with 60" in replace(corpus, metric=unbounded).why_advisory


def test_nobody_else_makes_an_estimator() -> None:
    """The choice is made in `estimator_of` alone."""
    kinds = {"BinaryEstimator", "MeanEstimator", "CorpusEstimator", "LabelledEstimator"}
    makers = {
        str(path.relative_to(ROOT))
        for folder in ("harness", "reports", "trainers")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.IfExp | ast.Name)
        if kinds & {name.id for name in ast.walk(node.func) if isinstance(name, ast.Name)}
    }

    assert makers == {"harness/comparison/pairs.py"}


def test_labels_on_all_pairs_are_scores(binary: Pairs, continuous: Pairs) -> None:
    said = tuple(zip(binary.base, binary.tuned, strict=True))
    judged = replace(continuous, base=SCORES[0][:40], tuned=SCORES[1][:40], labels=said)
    all_but_one = replace(judged, labels=(*said[:-1], None))

    assert judged.interval(0.9) == binary.interval(0.9)
    assert judged.test(0.0) == binary.test(0.0)
    assert all_but_one.estimator.n == 39
    assert isinstance(all_but_one.estimator, BinaryEstimator)


def test_each_interval_is_that_of_its_method(binary: Pairs, continuous: Pairs) -> None:
    """Tango's for counts, PPI++ for labels; the test of a limit has the error of its end."""
    differences = np.asarray(continuous.differences)
    labelled = replace(continuous, labels=LABELS)

    assert binary.interval(0.9) == deciding_interval(9, 3, 40, confidence=0.9)
    assert labelled.interval(0.9) == ppi_interval(
        differences[:30], differences[:30], differences[30:], confidence=0.9, bound=1.0
    )
    low = continuous.interval(0.9).low
    assert continuous.test(low).p_value == pytest.approx(0.05, abs=1e-6)


def calibrated(pairs: Pairs) -> Pairs:
    """Return pairs with a calibration of 48 in which the judge errs by .05 on average."""
    base, tuned = [0, 1, 1, 0] * 12, [1, 0, 1, 0] * 6 + [1, 1, 1, 0] * 6
    errors = [0.0] * 40 + [1.0, -1.0, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4]
    judged = [t + e for t, e in zip(tuned, errors, strict=True)]
    columns = (tuple(map(float, column)) for column in (base, tuned, base, judged))
    return replace(pairs, calibration=CalibrationSample(*columns))


def test_a_calibration_gives_a_judge_without_a_range_none(record_factory: Any) -> None:
    """Below 200 cases its gates are advisory, for the reason of any scores without a range."""
    steps = tuple(float(i % 7) for i in range(60))
    unbounded = Pairs("s", record_factory.metric(binary=False, range=None), steps, steps[::-1])
    ranged = Pairs("s", record_factory.metric(binary=False, range=(0.0, 6.0)), steps, steps[::-1])

    assert "from 200 independent cases on, and not with 60" in calibrated(unbounded).why_advisory
    assert calibrated(unbounded).advisory
    assert not calibrated(ranged).advisory


def test_a_calibrated_limit_solves_its_equation(binary: Pairs) -> None:
    """At the lower limit the judge's surplus is the root of the sum of both squared distances.

    The surplus is what Tango's estimate is above the line; its distance is that of Tango's limit,
    and that of the line is the upper one at the same level.
    """
    pairs = calibrated(binary)
    sample = pairs.calibration
    assert sample is not None
    human = np.subtract(sample.tuned_labels, sample.base_labels)
    judge = np.subtract(sample.tuned_scores, sample.base_scores)
    regression = JudgeRegression.of(human, judge, bound=1.0)
    own = deciding_interval(9, 3, 40, confidence=0.9)
    found = pairs.interval(0.9)

    for end, limit, side in ((found.low, own.low, "above"), (found.high, own.high, "below")):
        line = regression.reported(end)
        distance = np.hypot(own.estimate - limit, getattr(line, side)(0.05))
        assert abs(own.estimate - line.estimate) == pytest.approx(distance)
    assert found.estimate == pytest.approx(regression.seen_by_people(own.estimate))
    assert found.low < own.low


@pytest.mark.parametrize("name", ["binary", "continuous"])
def test_the_calibrated_test_is_the_interval(name: str, request: pytest.FixtureRequest) -> None:
    """The p-value at a limit is the error of its end; the arms exchanged mirror all of it."""
    pairs = calibrated(request.getfixturevalue(name))
    found, mirrored = pairs.interval(0.9), pairs.exchanged().interval(0.9)

    assert pairs.test(found.low).p_value == pytest.approx(0.05, abs=1e-6)
    assert pairs.exchanged().test(-found.high).p_value == pytest.approx(0.05, abs=1e-6)
    assert pairs.test(found.high).p_value == 1.0
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))
    assert pairs.tuned_level - pairs.base_level == pytest.approx(pairs.estimate)


def test_a_share_of_base_is_added_to_scores_and_labels(continuous: Pairs) -> None:
    pairs = calibrated(continuous)
    moved = pairs.relative(0.1).calibration
    assert pairs.calibration is not None
    assert moved is not None

    for tuned, base, before in (
        (moved.tuned_labels, moved.base_labels, pairs.calibration.tuned_labels),
        (moved.tuned_scores, moved.base_scores, pairs.calibration.tuned_scores),
    ):
        assert tuned == pytest.approx(np.add(before, np.multiply(base, 0.1)))


def test_each_level_is_tuned_alone(binary: Pairs, continuous: Pairs, corpus: Pairs) -> None:
    """29 of 40 by Clopper and Pearson; sixty scores by at least Student's t; counts by theirs."""
    tuned = np.asarray(SCORES[1])
    by_t = stats.t.interval(0.9, 59, loc=tuned.mean(), scale=stats.sem(tuned))

    share, average, value = (pairs.estimator.level(0.9) for pairs in (binary, continuous, corpus))

    assert (share.low, share.high) == (
        clopper_pearson(29, 40, confidence=0.9).low,
        clopper_pearson(29, 40, confidence=0.9).high,
    )
    assert average.low <= by_t[0] + 1e-9
    assert average.high >= by_t[1] - 1e-9
    assert value.low < corpus.tuned_level < value.high


def test_a_case_that_comes_twice_does_not_end_the_exact_test(record_factory: Any) -> None:
    """Six wins of 60 are no proof of a gain of .05, also if two of the cases are one cluster.

    Where 5 % win and none lose, six or more of 60 win with probability .0787. The score test of the
    59 clusters alone would say .0498.
    """
    base, tuned = record_factory.pairs(6, 0, 40, 14)
    clusters = (*map(str, range(59)), "58")
    pairs = Pairs("s", record_factory.metric(), tuple(base), tuple(tuned), clusters)
    score = clustered_binary_test(pairs.differences, clusters, margin=0.05).p_value

    assert score < 0.05 < pairs.test(0.05).p_value
    assert pairs.test(0.05).p_value == pytest.approx(stats.binom.sf(5, 60, 0.05), abs=0.001)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_cases_leave_the_whole_range(record_factory: Any, n: int) -> None:
    scores = (0.5,) * n
    estimator = Pairs("s", record_factory.metric(binary=False), scores, scores).estimator

    assert (estimator.interval(0.9).low, estimator.interval(0.9).high) == (-1.0, 1.0)
    assert (estimator.level(0.9).low, estimator.level(0.9).high) == (0.0, 1.0)
    assert estimator.test(-0.5).p_value == 1.0
    assert estimator.plan(0.0, -0.5, 0.9) is None
    assert estimator.plan_level(0.1, 0.9, is_lower=True) is None
    assert math.isnan(estimator.tuned_level) is (n == 0)


def test_a_plan_is_for_the_difference_hoped_for(binary: Pairs, continuous: Pairs) -> None:
    estimator = binary.estimator
    beyond = estimator.interval(0.9).high + 0.01

    small, large = (estimator.plan(effect, -0.1, 0.9) for effect in (0.0, 0.05))

    assert small is not None
    assert large is not None
    assert small.n > large.n
    assert estimator.plan(-0.1, -0.1, 0.9) is None
    # Hopes that the run excludes make way for what it measured.
    assert plannable_effect(binary, beyond, 0.9) == binary.estimate
    assert plannable_effect(binary, 0.05, 0.9) == 0.05
    assert replace(continuous, labels=LABELS).estimator.plan(0.0, -1.0, 0.9) is None


def test_the_largest_spread_of_a_plan(record_factory: Any) -> None:
    """10 of 100 discordant: the upper 10 % point of the beta distribution; of σ², chi-square's."""
    flips = Pairs(
        "s", record_factory.metric(), *map(tuple, record_factory.pairs(5, 5, 90, 0))
    ).estimator
    scores = Pairs(
        "s", record_factory.metric(range=None, binary=False), (0.0,) * 20, (1.1, -0.9) * 10
    )

    planned = [flips.plan(0.0, -0.05, 0.9), scores.estimator.plan(0.4, 0.0, 0.9)]

    most = binary_sample_size(effect=0.0, discordance=stats.beta.ppf(0.9, 11, 90), margin=-0.05).n
    assert planned[0].most == most
    # cases grow with the variance, but for the t quantile of few of them
    assert planned[1].most / planned[1].n == pytest.approx(19 / stats.chi2.ppf(0.1, 19), rel=0.05)


def test_a_ceiling_is_planned_like_the_floor_of_the_failures(binary: Pairs) -> None:
    """29 of 40 above .5 takes as many cases as 11 of 40 below .5."""
    opposite = replace(binary, base=(0.0,) * 40, tuned=tuple(1 - t for t in binary.tuned))

    floor = binary.estimator.plan_level(0.5, 0.9, is_lower=True)
    ceiling = opposite.estimator.plan_level(0.5, 0.9, is_lower=False)

    assert floor == ceiling
    assert floor is not None


def test_an_estimator_answers_every_question() -> None:
    assert Estimator.__abstractmethods__ == {
        "base_level", "tuned_level", "estimate", "spread",
        "_interval", "_test", "_level", "_plan", "_plan_level",
    }  # fmt: skip
