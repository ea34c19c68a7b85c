"""Steps of means whose units take two values."""

import numpy as np
import pytest

from tunegate.harness.stats.unit_means import guarded_units, lattice_step


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


@pytest.mark.parametrize(
    ("sizes", "units"),
    [
        ([1] * 59, 59),
        ([5] * 20, 20),
        ([2] * 25 + [1] * 75, 62.5),  # the tenth is 12.5 of 125 cases in clusters of two
        ([1] * 96 + [2] * 2, 80),  # 10 of 100 cases: two clusters of two and six of one
        ([40] + [5] * 32, 5),  # 20 of 200 cases: half of a cluster of 40
    ],
)
def test_guarded_units(sizes, units):
    assert guarded_units(sizes) == pytest.approx(units)
