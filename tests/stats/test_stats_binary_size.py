"""Exact size of the binary rules: every sample enumerated, the worst share of discordant pairs."""

import numpy as np
import pytest
from scipy import stats

from tunegate.harness.stats.binary import exact_at_estimate, mcnemar_midp, tango_test

ALPHA = 0.05


def size(reject, n, margin, most=1.0):
    """Return the largest probability of rejecting a true null with up to `most` discordant."""
    cells = np.array([(b, c, n - b - c) for b in range(n + 1) for c in range(n + 1 - b)])
    hit = np.array([reject(int(b), int(c)) for b, c, _ in cells])
    worst = 0.0
    for psi in np.linspace(max(abs(margin), 1e-9), most, 150):
        truth = [(psi + margin) / 2, (psi - margin) / 2, max(0.0, 1 - psi)]
        worst = max(worst, float(stats.multinomial.pmf(cells[hit], n, truth).sum()))
    return worst


@pytest.mark.parametrize(
    ("margin", "n", "limit"),
    [
        (0.0, 10, 0.056),
        (0.0, 20, 0.054),
        (0.0, 50, 0.052),
        (-0.05, 10, 0.045),
        (-0.05, 20, 0.056),
        (-0.05, 50, 0.052),
        (-0.02, 10, 0.058),
        (-0.02, 20, 0.049),
        (-0.02, 50, 0.056),
    ],
)
def test_tango(margin, n, limit):
    """The score test stays within its tabulated size while at most .7 of the pairs disagree."""

    def reject(wins, losses):
        return tango_test(wins, losses, n, margin=margin).p_value <= ALPHA

    assert size(reject, n, margin, most=0.7) <= limit + 1e-3


@pytest.mark.parametrize(("n", "limit"), [(10, 0.037), (20, 0.050), (50, 0.050)])
def test_midp_and_tango(n, limit):
    """At margin 0 the mid-p test keeps the size at .05, and below .06 if every pair disagrees."""

    def reject(wins, losses):
        score = tango_test(wins, losses, n).p_value
        return max(score, mcnemar_midp(wins, losses).p_value) <= ALPHA

    assert size(reject, n, 0.0, most=0.7) <= limit + 1e-3
    # All n pairs discordant: at n = 50 it rejects from 31 wins, P(X >= 31) = .0595.
    assert size(reject, n, 0.0) <= 0.06


@pytest.mark.parametrize(
    ("margin", "n"),
    [
        *[(0.0, 12), (-0.05, 11), (-0.05, 52), (-0.02, 14), (-0.1, 25), (-0.3, 10)],
        # A HOLD: the upper limit of the difference below the expected gain.
        *[(-0.05, 16), (-0.1, 42), (-0.3, 52)],
        *[(0.05, 30), (0.05, 49), (0.3, 28)],
    ],
)
def test_exact_at_estimate(margin, n):
    """With it the score test errs by .055 at most where it alone errs by .065 to .085."""

    def needed(*tests):
        # The p-values fall as wins are added, so one bisection per number of losses is enough.
        found = []
        for losses in range(n + 1):
            low, high = 0, n - losses + 1
            while low < high:
                middle = (low + high) // 2
                p_value = max(test(middle, losses, n, margin=margin).p_value for test in tests)
                low, high = (low, middle) if p_value <= ALPHA else (middle + 1, high)
            found.append(low)
        return found

    alone, both = needed(tango_test), needed(tango_test, exact_at_estimate)

    assert size(lambda wins, losses: wins >= alone[losses], n, margin) > 0.06
    assert size(lambda wins, losses: wins >= both[losses], n, margin) <= 0.055
