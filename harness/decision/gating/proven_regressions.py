"""Proven regressions: Holm's procedure over the metrics of a run."""

from __future__ import annotations

from collections.abc import Mapping

from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.comparison.pairs import Pairs


class ProvenRegressions:
    """Which metrics are proven worse than base, with the error shared by all of them.

    Source: Holm (1979) over the metrics that are looked at once; Bonferroni's share of the error,
    spent over the looks, for suites with interim looks. Together they keep the level: of m true
    nulls the r looked at once raise an alarm with at most r/m of the error.
    """

    def __init__(
        self,
        family: Mapping[tuple[str, str], Pairs],
        *,
        looks: Mapping[str, InterimLook],
        compared: int | None = None,
    ) -> None:
        """Test every metric.

        Args:
            family: (suite or its slice, metric) → its pairs.
            looks: Suite or slice → its interim look, if it has one.
            compared: Metrics and slices compared in the whole run, if more than those of `family`.
        """
        self._looks = looks
        self._size = max(len(family), compared or 0)
        tested = {key: pairs for key, pairs in family.items() if not pairs.too_few}
        self._p_values = {key: p.reversed_test().p_value for key, p in tested.items()}
        self._adjusted = self._holm()

    def proven(self, suite: str, metric: str, alpha: float) -> bool:
        """Return whether the metric is proven worse than base; False if it was not tested."""
        key, look = (suite, metric), self._looks.get(suite)
        if key not in self._p_values:
            return False
        if look is not None:
            return self._p_values[key] <= look.error(alpha / self._size) + 1e-12
        return self._adjusted[key] <= alpha + 1e-12

    def _holm(self) -> dict[tuple[str, str], float]:
        """Return the adjusted p-values of the metrics that are looked at once."""
        from tunegate.harness.stats.multiplicity import holm

        once = {k: p for k, p in self._p_values.items() if k[0] not in self._looks}
        if not once:
            return {}
        others = [1.0] * sum(key not in once for key in self._p_values)
        adjusted = holm([*once.values(), *others])
        return dict(zip(once, map(float, adjusted), strict=False))
