"""Proven regressions: Holm's procedure over the gates of a run that a proof can fail."""

from __future__ import annotations

from collections.abc import Mapping

from tunegate.harness.comparison.interim_look import InterimLook


class ProvenRegressions:
    """Which metrics are proven worse than base, or bounds broken, with the error shared by all.

    Source: Holm (1979) over the claims that are looked at once; Bonferroni's share of the error,
    spent over the looks, for suites with interim looks. Together they keep the level: of m true
    nulls the r looked at once raise an alarm with at most r/m of the error.
    """

    def __init__(
        self,
        family: Mapping[tuple[str, str], float | None],
        *,
        looks: Mapping[str, InterimLook],
        compared: int | None = None,
    ) -> None:
        """Adjust the p-values.

        Args:
            family: (suite or its slice, claim) → p-value; None if there are too few cases.
            looks: Suite or slice → its interim look, if it has one.
            compared: Claims of the whole run, if more than those of `family`.
        """
        self._looks = looks
        self._size = max(len(family), compared or 0)
        self._p_values = {key: p for key, p in family.items() if p is not None}
        self._adjusted = self._holm()

    def proven(self, suite: str, claim: str, alpha: float) -> bool:
        """Return whether the claim is proven; False if it was not tested."""
        key, look = (suite, claim), self._looks.get(suite)
        if key not in self._p_values:
            return False
        if look is not None:
            return self._p_values[key] <= look.error(alpha / self._size) + 1e-12
        return self._adjusted[key] <= alpha + 1e-12

    def _holm(self) -> dict[tuple[str, str], float]:
        """Return the adjusted p-values of the claims that are looked at once."""
        from tunegate.harness.stats.multiplicity import holm

        once = {k: p for k, p in self._p_values.items() if k[0] not in self._looks}
        if not once:
            return {}
        others = [1.0] * sum(key not in once for key in self._p_values)
        adjusted = holm([*once.values(), *others])
        return dict(zip(once, map(float, adjusted), strict=False))
