"""Sample sizes agree with the published tables."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.comparison.estimator import ScoreSpread
from tunegate.harness.comparison.planned_comparison import PlannedComparison


def comparison(n: int = 100, margin: float = 0.0, **given: Any) -> PlannedComparison:
    """Return a comparison at 90 % with the given discordance `psi` or deviation `sigma`."""
    limit = given.pop("limit", 1.0)
    spread = ScoreSpread(given.get("psi") or given["sigma"], "psi" in given, given.get("deff", 1.0))
    return PlannedComparison(n, margin, 0.90, spread, limit)


@pytest.mark.parametrize(
    ("margin", "effect", "psi", "cases"),
    [
        (0.02, 0.10, 0.1, 82),
        (0.02, 0.10, 0.2, 186),
        (0.02, 0.05, 0.3, 2047),
        (-0.02, 0.0, 0.1, 1578),
        (-0.05, 0.0, 0.2, 507),
    ],
)
def test_cases_of_0_1_scores(margin: float, effect: float, psi: float, cases: int) -> None:
    """The published numbers of cases for 80 %: superiority and non-inferiority."""
    plan = comparison(cases, margin, psi=psi)

    assert plan.cases(effect, 0.8) == cases
    assert plan.chance(effect) == pytest.approx(0.80, abs=0.005)


@pytest.mark.parametrize(("ratio", "cases"), [(0.1, 620), (0.3, 71), (0.5, 27), (1.0, 8)])
def test_cases_of_continuous_scores(ratio: float, cases: int) -> None:
    assert comparison(sigma=1.0, limit=None).cases(ratio, 0.8) == cases
    assert comparison(sigma=0.2, limit=1.0).cases(0.2 * ratio, 0.8) == cases


@pytest.mark.parametrize(
    ("n", "psi", "effect"), [(200, 0.3, 0.0958), (20, 0.1, 0.278), (1000, 0.05, 0.018)]
)
def test_smallest_provable_gains(n: int, psi: float, effect: float) -> None:
    """The published minimum detectable effects."""
    assert comparison(n, psi=psi).detectable() == pytest.approx(effect, abs=0.0005)


def test_smallest_provable_tolerances() -> None:
    """1578 cases hold 2 points at ψ = .1; a mean holds (t_α + t_β)σ/√n, .3σ with 71 cases."""
    assert comparison(1578, psi=0.1).tolerable() == pytest.approx(0.02, abs=1e-5)
    assert comparison(71, -0.5, sigma=0.1).tolerable() == pytest.approx(0.03, abs=0.0002)


def test_no_tolerance_is_provable_below_that_of_equal_answers() -> None:
    """Without a discordant pair 149 cases hold 1 - .05^(1/149) = .01990."""
    assert comparison(149, psi=1e-9).tolerable() == pytest.approx(0.01990, abs=1e-5)
    assert comparison(100, -0.02, psi=1e-9).cases(0.0, 0.8) == 149


def test_what_no_number_proves() -> None:
    assert comparison(margin=0.1, psi=0.2).cases(0.1, 0.8) is None
    assert comparison(sigma=1.0).cases(1e-9, 0.8) is None
    assert comparison(margin=-1e-6, psi=0.2).cases(0.0, 0.8) is None
    assert comparison(2, psi=0.1).detectable() is None
    assert comparison(2, sigma=0.9).detectable() is None


def test_a_design_effect_multiplies_the_cases() -> None:
    """Pairs of cases that always agree count half: 1578 cases become 3156."""
    assert comparison(margin=-0.02, psi=0.1, deff=2.0).cases(0.0, 0.8) in (3155, 3156)
    assert comparison(3156, -0.02, psi=0.1, deff=2.0).chance(0.0) == pytest.approx(0.8, abs=1e-3)
