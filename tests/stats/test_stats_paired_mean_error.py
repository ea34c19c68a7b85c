"""Simulated error rates of the mean interval."""

import numpy as np
import pytest

from tunegate.harness.stats.paired_mean import mean_interval


class TestErrorRates:
    """Error of the lower limit (nominal .05) on data that break other methods."""

    def errors(self, draw, truth, *, runs=1500, bound=None):
        """Return the shares of intervals that lie above and below the true mean."""
        rng = np.random.default_rng(20240607)
        intervals = [mean_interval(draw(rng), bound=bound) for _ in range(runs)]
        above = np.mean([interval.low > truth for interval in intervals])
        return above, np.mean([interval.high < truth for interval in intervals])

    def test_normal(self):
        """Normal differences, n = 20: both limits err at their nominal rate or a little less."""
        above, below = self.errors(lambda rng: rng.normal(0.1, 1, 20), 0.1)

        assert 0.025 < above < 0.065
        assert 0.025 < below < 0.065

    def test_saturated(self):
        """Judge scores at their ceiling, n = 50: at most .065 where BCa errs with .11."""

        def draw(rng):
            low = rng.uniform(0, 1, (2, 50))
            base, tuned = np.where(rng.random((2, 50)) < 0.93, 1.0, low)
            return tuned - base

        above, below = self.errors(draw, 0.0, bound=1.0)

        assert above < 0.065
        assert below < 0.065

    @pytest.mark.parametrize("n", [10, 20])
    def test_rare_catastrophe(self, n):
        """Eight per cent lose up to everything: the guard removes an error of .2 to .4."""

        def draw(rng):
            kind = rng.random(n)
            gain, loss = rng.uniform(0, 0.2, n), rng.uniform(-1, -0.4, n)
            return np.where(kind < 0.08, loss, np.where(kind < 0.7, gain, 0.0))

        truth = 0.62 * 0.1 - 0.08 * 0.7

        assert self.errors(draw, truth, bound=1.0)[0] < 0.01
        assert self.errors(draw, truth)[0] > 0.15
