"""Score interval and test of the ratio of two paired success rates."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from tests.property_settings import examples
from tunegate.harness.stats.binary import exact_at_estimate, ratio_interval, ratio_test
from tunegate.harness.stats.clusters import clustered_ratio_interval, clustered_ratio_test

PROPERTY = examples(60)
COUNTS = st.tuples(*[st.integers(0, 60)] * 3).filter(lambda counts: sum(counts) > 0)


def likelihood_z(wins, losses, both, neither, ratio):
    """Score statistic of all four cells, its two nuisance parameters maximised numerically."""
    n = wins + losses + both + neither

    def cells(base, loss):
        # base = both + loss, and tuned = both + win = ratio * base
        return (ratio * base - (base - loss), loss, base - loss)

    def minus_log(point):
        found = cells(*point)
        rest = 1 - sum(found)
        if min(*found, rest) <= 0:
            return 1e9
        seen = zip((wins, losses, both, neither), (*found, rest), strict=True)
        return -sum(k * math.log(p) for k, p in seen if k)

    best = None
    for base in (0.1, 0.3, 0.5, 0.7, 0.9):
        for share in (0.05, 0.3, 0.7):
            start = (base, base * (1 - ratio) + share * base * ratio * min(1, (1 - base) / base))
            found = optimize.minimize(
                minus_log, start, method="Nelder-Mead", options={"xatol": 1e-11, "fatol": 1e-13}
            )
            best = found if best is None or found.fun < best.fun else best
    win, loss, _ = cells(*best.x)
    return ((wins + both) - ratio * (losses + both)) / math.sqrt(n * ratio * (win + loss))


def test_published():
    """Airway hyper-responsiveness, 1 : 7 discordant and 1 both of 21: .065 to .907 at 95 %."""
    # Fagerland, Lydersen and Laake (2014), Statistics in Medicine 33:2850-2875: Tang's interval.
    found = ratio_interval(1, 7, 1, confidence=0.95)

    assert (found.estimate, round(found.low, 3), round(found.high, 3)) == (0.25, 0.065, 0.907)


@pytest.mark.parametrize(
    ("wins", "losses", "both", "neither", "ratio"),
    [(3, 5, 40, 12, 0.95), (1, 7, 20, 5, 0.8), (6, 2, 30, 30, 1.1), (4, 9, 80, 3, 0.98)],
)
def test_numeric_likelihood(wins, losses, both, neither, ratio):
    """The closed form equals the two-dimensional maximum; cases both get wrong do not matter."""
    expected = likelihood_z(wins, losses, both, neither, ratio)

    assert ratio_test(wins, losses, both, ratio=ratio).statistic == pytest.approx(
        expected, rel=1e-5
    )


def test_without_a_discordant_pair():
    """It is the root of m(1 - r)/r: 100 cases at .95 give sqrt(100 * .05/.95) = 2.294."""
    found = ratio_test(0, 0, 100, ratio=0.95)

    assert found.statistic == pytest.approx(math.sqrt(100 * 0.05 / 0.95))
    # Exactly: no loss among 100 cases that are lost with .05 each.
    exact = exact_at_estimate(0, 0, 100, margin=-0.05, slope=0.95)
    assert exact.p_value == pytest.approx(0.95**100)


def test_base_without_a_success():
    """Five wins and nothing else are z = sqrt(5/r): the lower limit is 5/z^2, and none above."""
    found = ratio_interval(5, 0, 0)

    assert found.low == pytest.approx(5 / stats.norm.ppf(0.95) ** 2)
    assert found.high == found.estimate == math.inf


def test_tuned_without_a_success():
    """The mirror image: the estimate and the lower limit are 0."""
    found = ratio_interval(0, 5, 0)

    assert found.low == found.estimate == 0
    assert found.high == pytest.approx(stats.norm.ppf(0.95) ** 2 / 5)


@PROPERTY
@given(COUNTS, st.floats(0.3, 3))
def test_exchange(counts, ratio):
    """With the arms exchanged and the ratio inverted the statistic changes its sign alone."""
    wins, losses, both = counts
    there = ratio_test(wins, losses, both, ratio=ratio).statistic
    back = ratio_test(losses, wins, both, ratio=1 / ratio).statistic

    assert there == pytest.approx(-back, abs=1e-6)


@PROPERTY
@given(COUNTS)
def test_limits_are_where_the_test_turns(counts):
    """At the lower limit the p-value of the test is .05, and at the upper one .95."""
    wins, losses, both = counts
    found = ratio_interval(wins, losses, both)

    if found.low > 0:
        assert ratio_test(wins, losses, both, ratio=found.low).p_value == pytest.approx(0.05, 1e-5)
    if found.high < math.inf:
        assert ratio_test(wins, losses, both, ratio=found.high).p_value == pytest.approx(0.95, 1e-5)


@pytest.mark.parametrize(
    ("n", "ratio"), [(11, 0.9), (30, 0.9), (34, 0.9), (40, 0.95), (30, 1 / 1.1)]
)
def test_size(n, ratio):
    """With the exact p-value it errs by .055 at most, whatever base's level and the discordance."""
    cells = np.array([(b, c, n - b - c) for b in range(n + 1) for c in range(n + 1 - b)])

    def proven(wins, losses, both):
        if ratio_test(wins, losses, both, ratio=ratio).p_value > 0.05:
            return False
        return exact_at_estimate(wins, losses, n, margin=ratio - 1, slope=ratio).p_value <= 0.05

    hit = np.array([proven(*map(int, cell)) for cell in cells])
    rates = []
    for win in np.linspace(0, ratio / (1 + ratio), 120):
        loss = 1 - ratio + ratio * win
        truth = [win, loss, max(0.0, 1 - win - loss)]
        rates.append(float(stats.multinomial.pmf(cells[hit], n, truth).sum()))

    assert 0.03 < max(rates) <= 0.055


@pytest.mark.parametrize(
    ("counts", "ratio", "message"),
    [
        ((0, 0, 0), 1.0, r"wins \+ losses \+ both=0 must"),
        ((-1, 0, 1), 1.0, r"wins=-1 must"),
        ((1, 0, 1), 0.0, r"ratio=0\.0 must"),
    ],
)
def test_refuses(counts, ratio, message):
    """Impossible counts and ratios are refused by name and value."""
    with pytest.raises(ValueError, match=message):
        ratio_test(*counts, ratio=ratio)


def columns(wins, losses, both, neither):
    """Return tuned's and base's scores."""
    tuned = [1] * wins + [0] * losses + [1] * both + [0] * neither
    return tuned, [0] * wins + [1] * losses + [1] * both + [0] * neither


class TestClusteredRatio:
    """clustered_ratio_interval and clustered_ratio_test."""

    def test_clusters_of_one(self):
        """Clusters of one case each have the design effect n/(n - 1) of the sample variance."""
        tuned, base = columns(10, 12, 60, 18)
        found = clustered_ratio_test(tuned, base, range(100), ratio=1.05)
        plain = ratio_test(10, 12, 60, ratio=1.05)

        assert found.statistic == pytest.approx(plain.statistic * math.sqrt(99 / 100))
        assert found.p_value == pytest.approx(stats.t.sf(found.statistic, 99))

    def test_every_case_twice(self):
        """Every case twice tells what it tells once."""
        tuned, base = columns(10, 12, 60, 18)
        once = clustered_ratio_interval(tuned, base, range(100), ratio=0.9)
        twice = clustered_ratio_interval(
            [*tuned, *tuned], [*base, *base], [*range(100)] * 2, ratio=0.9
        )

        assert twice.low == pytest.approx(once.low, abs=0.002)
        assert twice.high == pytest.approx(once.high, abs=0.002)

    def test_interval_and_test_agree(self):
        """The lower limit exceeds the ratio exactly where the p-value is below .05."""
        for losses in range(2, 14):
            tuned, base = columns(2, losses, 100 - losses, 20)
            names = [i // 2 for i in range(122)]
            low = clustered_ratio_interval(tuned, base, names, ratio=0.9).low
            p_value = clustered_ratio_test(tuned, base, names, ratio=0.9).p_value

            assert (low > 0.9) is (p_value < 0.05)

    def test_unseen_kind_of_cluster(self):
        # Gaffke: (1 - x)^20 = .05 leaves a share x = .139 for such clusters, whatever their size.
        tuned, base = columns(0, 0, 200, 0)
        names = [i // 10 for i in range(200)]

        assert clustered_ratio_interval(tuned, base, names, ratio=0.87).low < 0.87
        assert clustered_ratio_interval(tuned, base, names, ratio=0.85).low > 0.85

    def test_without_successes(self):
        """Columns of zeros have no ratio."""
        with pytest.raises(ValueError, match="must hold a 1"):
            clustered_ratio_test([0] * 20, [0] * 20, range(20), ratio=0.9)
