"""Plans: sample size, power and detectable effect."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import multinomial
from statsmodels.stats.power import TTestPower

from tests.property_settings import examples
from tunegate.harness.stats.binary import tango_interval, tango_test
from tunegate.harness.stats.power import (
    ProofBoundary,
    binary_detectable_effect,
    binary_power,
    binary_sample_size,
    mean_detectable_effect,
    mean_power,
    mean_rule_power,
    mean_sample_size,
    sample_error,
    smallest_provable_n,
)

PROPERTY = examples(60)


def exact_power(n, effect, discordance, margin=0.0):
    """Enumerate all tables and add up those that the score test rejects at .05."""
    cells = np.array([(b, c, n - b - c) for b in range(n + 1) for c in range(n + 1 - b)])
    z = 1.6448536269514722
    hit = [tango_test(int(b), int(c), n, margin=margin).statistic >= z for b, c, _ in cells]
    truth = [(discordance + effect) / 2, (discordance - effect) / 2, 1 - discordance]
    return float(stats.multinomial.pmf(cells[np.array(hit)], n, truth).sum())


class TestBinary:
    """binary_sample_size, binary_power and binary_detectable_effect."""

    @pytest.mark.parametrize(
        ("effect", "discordance", "margin", "n"),
        [
            (0.10, 0.30, 0.00, 184),
            (0.00, 0.10, -0.02, 1578),
            (0.05, 0.10, 0.02, 653),
            (0.05, 0.20, 0.02, 1356),
            (0.10, 0.10, 0.02, 82),
            (0.10, 0.30, 0.02, 284),
            (0.00, 0.02, -0.01, 1397),
            (0.00, 0.20, -0.10, 134),
        ],
    )
    def test_sample_size(self, effect, discordance, margin, n):
        """It reproduces the planned sizes of the specification; one case fewer is too few."""
        design = binary_sample_size(effect=effect, discordance=discordance, margin=margin)
        fewer = binary_power(n - 1, effect=effect, discordance=discordance, margin=margin)

        assert n == design.n
        assert fewer.power < 0.8 <= design.power + 1e-9

    @pytest.mark.parametrize(
        ("n", "effect", "discordance", "margin", "tolerance"),
        [(184, 0.1, 0.3, 0.0, 0.01), (100, 0.1, 0.3, 0.0, 0.01), (100, 0.0, 0.1, -0.05, 0.02)],
    )
    def test_exact_power(self, n, effect, discordance, margin, tolerance):
        """The approximation is near the enumerated power of the score test."""
        design = binary_power(n, effect=effect, discordance=discordance, margin=margin)

        expected = exact_power(n, effect, discordance, margin)
        assert design.power == pytest.approx(expected, abs=tolerance)

    def test_published_power(self):
        """100 cases find .10 at 30 % discordance with .573 by formula and .579 exactly."""
        assert round(binary_power(100, effect=0.1, discordance=0.3).power, 3) == 0.573
        assert round(exact_power(100, 0.1, 0.3), 3) == 0.579

    @pytest.mark.parametrize(
        ("n", "discordance", "effect"),
        [(20, 0.05, 0.278), (50, 0.4, 0.218), (100, 0.1, 0.078), (200, 0.3, 0.0958)],
    )
    def test_detectable_effect(self, n, discordance, effect):
        """It reproduces the tabulated effects, with discordance raised to the effect."""
        design = binary_detectable_effect(n, discordance=discordance)

        assert effect == pytest.approx(design.effect, abs=5e-4)
        assert binary_power(
            n, effect=design.effect, discordance=discordance
        ).power == pytest.approx(0.8)

    def test_out_of_reach(self):
        """Two cases prove nothing, even if tuned always wins."""
        assert binary_detectable_effect(2, discordance=0.1).effect == math.inf
        assert binary_power(2, effect=1.0, discordance=1.0).power == 0
        assert binary_power(3, effect=1.0, discordance=1.0).power == 1

    def test_easy_wish(self):
        """A power that the margin itself offers needs no effect beyond it, and one case."""
        assert binary_detectable_effect(10, discordance=0.2, power=0.01).effect == 0
        assert binary_sample_size(effect=0.01, discordance=0.5, power=0.01).n == 1

    def test_design_effect(self):
        """A design effect of 2 doubles the cases and keeps the power."""
        one = binary_sample_size(effect=0.1, discordance=0.3)
        two = binary_sample_size(effect=0.1, discordance=0.3, deff=2.0)
        detectable = binary_detectable_effect(400, discordance=0.3, deff=2.0)

        assert two.n in (2 * one.n - 1, 2 * one.n)
        assert two.power == pytest.approx(one.power, abs=0.002)
        assert detectable.effect == pytest.approx(
            binary_detectable_effect(200, discordance=0.3).effect
        )

    @PROPERTY
    @given(st.floats(0.02, 0.3), st.floats(0.3, 1), st.floats(-0.3, 0.0), st.integers(100, 2000))
    def test_monotone(self, effect, discordance, margin, n):
        """More cases, a kinder margin and less discordance give more power."""

        def power(cases=n, rate=discordance, null=margin):
            return binary_power(cases, effect=effect, discordance=rate, margin=null).power

        assert 0 <= power() <= power(cases=n + 10) + 1e-12
        assert power(null=margin - 0.05) >= power() - 1e-9
        assert power(rate=discordance * 0.9) >= power() - 1e-9 or power() < 0.5


class TestMean:
    """mean_sample_size, mean_power and mean_detectable_effect."""

    @pytest.mark.parametrize(
        ("ratio", "n"), [(0.1, 620), (0.2, 157), (0.3, 71), (0.5, 27), (0.8, 12), (1.0, 8)]
    )
    def test_sample_size(self, ratio, n):
        """It agrees with statsmodels' TTestPower to the next whole case."""
        oracle = TTestPower().solve_power(ratio, alpha=0.05, power=0.8, alternative="larger")

        assert n == mean_sample_size(effect=ratio * 3, deviation=3.0).n
        assert abs(n - math.ceil(oracle)) <= 1

    @pytest.mark.parametrize(("n", "ratio"), [(20, 0.5), (71, 0.3), (200, 0.1), (50, 0.0)])
    def test_power(self, n, ratio):
        """It is within .02 of the noncentral t power of statsmodels."""
        oracle = TTestPower().power(ratio, n, 0.05, alternative="larger")

        assert mean_power(n, effect=ratio, deviation=1.0).power == pytest.approx(oracle, abs=0.02)

    def test_non_inferiority(self):
        """A tolerance of .1 at no change plans like a gain of .1 against 0."""
        gain = mean_sample_size(effect=0.1, deviation=0.4)
        tolerance = mean_sample_size(effect=0.0, deviation=0.4, margin=-0.1)

        assert gain.n == tolerance.n

    @PROPERTY
    @given(st.integers(2, 3000), st.floats(0.01, 10), st.floats(-1, 1), st.floats(0.55, 0.99))
    def test_detectable_effect(self, n, deviation, margin, power):
        """The detectable effect has the power wanted and scales with the deviation."""
        design = mean_detectable_effect(n, deviation=deviation, margin=margin, power=power)
        reached = mean_power(n, effect=design.effect, deviation=deviation, margin=margin)
        scaled = mean_detectable_effect(n, deviation=2 * deviation, margin=0.0, power=power)

        assert reached.power == pytest.approx(power)
        assert scaled.effect == pytest.approx(2 * (design.effect - margin), rel=1e-6)

    def test_design_effect(self):
        """A design effect of 3 about trebles the cases; tiny effective samples still have power."""
        one = mean_sample_size(effect=0.1, deviation=1.0).n
        three = mean_sample_size(effect=0.1, deviation=1.0, deff=3.0).n

        assert abs(three - 3 * one) <= 3
        assert 0 < mean_power(2, effect=0.1, deviation=1.0, deff=5.0).power < 0.1


class TestSmallestProvableN:
    """smallest_provable_n."""

    @pytest.mark.parametrize(
        ("margin", "n"), [(0.01, 299), (0.02, 149), (0.03, 99), (0.05, 59), (0.10, 29)]
    )
    def test_reference(self, margin, n):
        """It is the first n at which all ties are non-inferior: (1 - margin)^n is at most .05."""
        assert n == smallest_provable_n(margin)
        assert tango_interval(0, 0, n).low > -margin
        assert (1 - margin) ** n <= 0.05 < (1 - margin) ** (n - 1)

    def test_strict_confidence(self):
        """At 99.8 % the score test asks for more: 3.0902^2 * 49 = 467.9, log(.001) for 341.9."""
        assert smallest_provable_n(0.02, confidence=0.998) == 468
        assert tango_interval(0, 0, 468, confidence=0.998).low > -0.02
        assert tango_interval(0, 0, 467, confidence=0.998).low < -0.02


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: binary_power(0, effect=0.1, discordance=0.2), r"n=0 must"),
        (lambda: binary_power(9, effect=1.1, discordance=0.2), r"effect=1\.1 must"),
        (lambda: binary_power(9, effect=0.1, discordance=math.nan), r"discordance=nan must"),
        (lambda: binary_power(9, effect=0.1, discordance=0.2, deff=0.5), r"deff=0\.5 must"),
        (lambda: binary_sample_size(effect=0.1, discordance=0.2, margin=0.1), r"must exceed"),
        (lambda: binary_sample_size(effect=0.1, discordance=0.2, power=1.0), r"power=1\.0 must"),
        (lambda: binary_detectable_effect(9, discordance=2), r"discordance=2 must"),
        (lambda: binary_detectable_effect(9, discordance=0.2, margin=-1), r"margin=-1 must"),
        (lambda: mean_power(1, effect=0.1, deviation=1.0), r"n=1 must"),
        (lambda: mean_power(9, effect=math.inf, deviation=1.0), r"effect=inf must"),
        (lambda: mean_sample_size(effect=0.1, deviation=0.0), r"deviation=0\.0 must"),
        (lambda: mean_sample_size(effect=0.0, deviation=1.0), r"effect=0\.0 must exceed"),
        (lambda: mean_detectable_effect(9, deviation=1.0, confidence=0), r"confidence=0 must"),
        (lambda: smallest_provable_n(0.0), r"margin=0\.0 must"),
    ],
)
def test_refuses(call, message):
    """Plans that make no sense are refused by name and value."""
    with pytest.raises(ValueError, match=message):
        call()


class TestProofBoundary:
    """Enumerated power of any rule on 0/1 pairs."""

    @pytest.mark.parametrize(("n", "slope"), [(40, 0.6), (90, 1.0)])
    def test_every_sample(self, n, slope):
        """The trinomial mass (scipy's) of all samples that an invented rule calls proven."""

        def proves(wins, losses):
            return wins >= slope * losses + 3

        boundary = ProofBoundary(n, proves)

        for effect, share in ((0.0, 0.2), (0.1, 0.1), (0.05, 0.4), (-0.1, 0.3)):
            cells = [(share + effect) / 2, (share - effect) / 2, 1 - share]
            mass = multinomial(n, cells)
            all_ = ((w, c) for c in range(n + 1) for w in range(n - c + 1) if proves(w, c))
            exact = sum(mass.pmf([w, c, n - w - c]) for w, c in all_)
            assert boundary.power(effect, share) == pytest.approx(exact, abs=1e-5)

    def test_between_the_numbers_of_losses_that_are_asked(self):
        """At 2,000 cases the rule is asked 50 times at most, and loses no half point."""
        asked = []

        def proves(wins, losses):
            asked.append((wins, losses))
            return wins - losses >= 1.645 * math.sqrt(wins + losses) > 0

        power = ProofBoundary(2000, proves).power(0.03, 0.4)

        # by all losses: 463 of them within 6 standard deviations of 370
        losses, wins = np.arange(250, 490), np.arange(0, 700)[:, np.newaxis]
        mass = multinomial(2000, [0.215, 0.185, 0.6]).pmf(
            np.stack(np.broadcast_arrays(wins, losses, 2000 - wins - losses), axis=-1)
        )
        exact = mass[wins - losses >= 1.645 * np.sqrt(wins + losses)].sum()
        assert power == pytest.approx(exact, abs=0.005)
        assert len(asked) < 200

    def test_what_no_wins_prove(self):
        assert ProofBoundary(20, lambda _wins, _losses: False).power(0.5, 0.9) == 0
        assert ProofBoundary(20, lambda _wins, _losses: True).power(0.0, 0.2) == pytest.approx(1)


@pytest.mark.parametrize("n", [10, 30, 200])
@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.8])
def test_the_t_test_as_a_rule_on_means(n, ratio):
    t = stats.t.ppf(0.95, n - 1) / math.sqrt(n)
    error = sample_error(n)

    power = mean_rule_power(
        n, effect=ratio, deviation=1.0, criticals=(t * (1 - error), t * (1 + error))
    )

    assert power == pytest.approx(
        stats.nct.sf(stats.t.ppf(0.95, n - 1), n - 1, ratio * math.sqrt(n)), abs=0.003
    )
    never = mean_rule_power(n, effect=ratio, deviation=1.0, criticals=(math.inf, math.inf))
    assert never == 0
