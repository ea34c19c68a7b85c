"""Steps of means whose units take two values."""

import numpy as np
import pytest

from tunegate.harness.stats.unit_means import lattice_step


class TestLatticeStep:
    """lattice_step."""

    def test_two_values(self):
        """Units of 0 and 1 move the mean of four by a quarter; the sign does not matter."""
        values = np.array([0.0, 1.0, 0.0, 0.0])

        assert lattice_step(values, np.ones(4)) == pytest.approx(1 / 4)
        assert lattice_step(-values, np.ones(4)) == pytest.approx(1 / 4)
        assert lattice_step(values + 5, np.ones(4)) == pytest.approx(1 / 4)

    def test_clusters(self):
        """Clusters of two cases that both gain 1, or neither, move the mean of eight by 2/8."""
        assert lattice_step(np.array([0.0, 2.0, 2.0, 0.0]), np.full(4, 2.0)) == pytest.approx(1 / 4)

    def test_spread(self):
        """Values that are no two groups have no step, and one value has none."""
        assert lattice_step(np.linspace(0, 1, 50), np.ones(50)) == 0
        assert lattice_step(np.array([0.0, 0.5, 1.0] * 9), np.ones(27)) == 0
        assert lattice_step(np.full(9, 0.3), np.ones(9)) == 0

    def test_nearly_two_values(self):
        """Two groups with a little variance within count in part, by the share within.

        Of -1.1, -0.9, 0.9 and 1.1 a share of 1/101 lies within; the groups are 2 apart.
        """
        found = lattice_step(np.array([-1.1, -0.9, 0.9, 1.1]), np.ones(4))

        assert found == pytest.approx((1 - 10 / 101) * 2 / 4)
