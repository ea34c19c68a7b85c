"""The interval's drawing: positions worked out by hand.

The drawing is 240 wide with 12 left on each side. A difference has its zero at 120, and 108 units
reach to the farthest of estimate, ends, bound and noise; for a level 216 units span the smallest to
the largest.
"""

from __future__ import annotations

import pytest

from tunegate.harness.gates._margin import absolute_margin
from tunegate.harness.records.gate_results import GateResult
from tunegate.reports.charts import draw_interval
from tunegate.reports.formatting import format_difference, format_level, gate_rule


def make(kind: str, margin: float | str, **numbers: float | bool | None) -> GateResult:
    """Return a gate with the given numbers."""
    facts = {"confidence": 0.9, "method": "m", "n": 10, "sentence": "s", "metric": "f1"} | numbers
    return GateResult.model_validate({"kind": kind, "margin": margin, "status": "pass", **facts})


def test_a_tolerance_draws_zero_and_its_margin() -> None:
    """The farthest is 0.08: a hundredth is 13.5 units, zero stands in the middle."""
    d = draw_interval(make("tolerance", 0.02, delta=0.03, low=-0.01, high=0.08))
    assert d is not None
    assert d.reference is not None
    assert d.margin is not None
    assert (d.margin.x, d.margin.label) == (93.0, "−0.020")  # 120 − 2 · 13.5
    assert (d.reference.x, d.reference.label) == (120.0, "0")
    assert (d.low, d.point, d.high) == (106.5, 160.5, 228.0)
    assert d.zone == (93.0, 147.0)  # from the margin to the right border: 240 − 93
    assert (d.margin.anchor, d.noise) == ("middle", None)


def test_the_noise_floor_is_a_band_around_zero() -> None:
    """Base differs from itself by 0.04, half of the farthest: 54 units to each side of zero."""
    d = draw_interval(make("tolerance", 0.02, delta=0.03, low=-0.01, high=0.08, noise=0.04))
    assert d is not None
    assert d.noise == (66.0, 108.0)
    assert d.label.endswith(", noise floor 0.040")


def test_a_gain_must_clear_its_margin_upwards() -> None:
    """A tenth is 27 units: the margin 0.1 stands at 147 and everything above it passes."""
    d = draw_interval(make("gain", 0.1, delta=0.3, low=0.2, high=0.4))
    assert d is not None
    assert d.zone == (147.0, 93.0)
    assert (d.low, d.point, d.high) == (174.0, 201.0, 228.0)


def test_where_lower_is_better_the_zone_lies_left() -> None:
    """A tolerated loss is a rise: the margin is +0.1, and the zone runs from the left border."""
    gate = make("tolerance", 0.1, delta=0.0, low=-0.1, high=0.05, higher_is_better=False)
    d = draw_interval(gate)
    assert d is not None
    assert d.zone == (0.0, 228.0)
    assert (d.low, d.point) == (12.0, 120.0)


def test_levels_draw_tuned_with_base_as_a_tick() -> None:
    """A floor of 0.8 with base 0.6 and tuned 0.9 in [0.7, 1]: base at 12, the floor half way."""
    d = draw_interval(make("floor", 0.8, base=0.6, tuned=0.9, low=0.7, high=1.0))
    assert d is not None
    assert d.reference is not None
    assert (d.reference.x, d.reference.label) == (12.0, "base")
    assert d.zone == (120.0, 120.0)
    assert (d.low, d.point, d.high) == (66.0, 174.0, 228.0)
    ceiling = draw_interval(make("ceiling", 0.8, base=0.6, tuned=0.9, low=0.7, high=1.0))
    assert ceiling is not None
    assert ceiling.zone == (0.0, 120.0)


def test_a_relative_margin_is_a_share_of_base() -> None:
    """2% of 0.5 is 0.01; without base, or unreadable, there is no line."""
    assert absolute_margin(make("tolerance", "2%", base=0.5)) == pytest.approx(0.01)
    assert absolute_margin(make("tolerance", "2%")) is None
    assert absolute_margin(make("tolerance", "much", base=0.5)) is None


def test_nothing_estimated_draws_nothing() -> None:
    """Without an estimate there is no drawing; without ends there is a point only."""
    assert draw_interval(make("gain", 0.1)) is None
    d = draw_interval(make("gain", 0.0, delta=0.0))
    assert d is not None
    assert d.low == d.high == d.point == 120.0


def test_an_open_end_reaches_the_border() -> None:
    d = draw_interval(make("gain", 0.1, delta=0.3, low=0.2))
    assert d is not None
    assert d.high == 240.0


def test_the_drawing_says_itself_in_words() -> None:
    d = draw_interval(make("tolerance", 0.02, delta=0.03, low=-0.01, high=0.08))
    assert d is not None
    assert d.label == (
        "f1, difference +0.030, interval from −0.010 to +0.080, tolerance line at −0.020"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0.000"),
        (-0.25, "−0.250"),
        (12.34, "12.3"),
        (1234.5, "1,234"),
        (4e-5, "4e−05"),
    ],
)
def test_numbers_are_short(value: float | None, shown: str) -> None:
    """Levels have three decimals, big ones fewer, tiny ones two digits."""
    assert format_level(value) == shown


def test_signs_and_rules() -> None:
    """A rise has its plus, zero has none, and a rule reads as a sentence."""
    assert (format_difference(0.5), format_difference(-0.5), format_difference(0.0)) == (
        "+0.500",
        "−0.500",
        "0.000",
    )
    assert gate_rule(make("tolerance", "2%")) == "worse by less than 2% of base"
    assert gate_rule(make("gain", 0.1)) == "better by more than 0.1"
