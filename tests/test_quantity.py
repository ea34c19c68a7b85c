"""Quantities in words: per cent and points of rates, and enough decimals to tell numbers apart."""

from __future__ import annotations

import pytest

from tunegate.harness.contracts.quantity import (
    QuantityFormat,
    format_number,
    format_over,
    format_score,
)

RATE = QuantityFormat(rate=True)
PLAIN = QuantityFormat()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.7124, "71.2 %"), (0.0, "0 %"), (1.0, "100 %"), (-0.0, "0 %"), (None, "–"),
        (0.00001, "0.001 %"), (1e-14, "0 %"), (-0.25, "−25.0 %"),
    ],
)  # fmt: skip
def test_a_rate_is_in_per_cent(value: float | None, words: str) -> None:
    """One decimal, none of an exact 0 or 100, and no small number becomes a zero."""
    assert RATE.level(value) == words


def test_a_change_of_a_rate_is_in_points() -> None:
    assert RATE.change(0.7124, 0.6421, -0.0703) == "fell 7.0 points, 71.2 → 64.2 %"
    assert RATE.change(0.05, 0.95, 0.9) == "rose 90.0 points, 5.0 → 95.0 %"
    assert RATE.change(0.9, 0.9, -1e-14) == "stayed at 90.0 %"
    assert RATE.interval(-0.0817, -0.0598, 0.9, sign=True) == " (90 % CI −8.2 to −6.0)"
    assert RATE.interval(None, None, 0.9, sign=True) == ""


def test_other_metrics_keep_their_unit() -> None:
    """Four significant digits; a perplexity, or a BLEU of 0 to 100, is not a rate."""
    assert PLAIN.change(4.1203, 3.9, -0.2203) == "fell by 0.2203, 4.12 → 3.9"
    assert PLAIN.level(34.2) == "34.2"
    assert PLAIN.margin(0.05) == "0.05"
    assert [format_number(v) for v in (1e-05, -0.5, None)] == ["1e-05", "−0.5", "–"]


@pytest.mark.parametrize(
    ("margin", "points", "words"),
    [
        (0.02, True, "2 points"), (0.01, True, "1 point"), (0.0005, True, "0.05 points"),
        (0.07, True, "7 points"), (0.995, False, "99.5 %"), ("2%", True, "2%"),
    ],
)  # fmt: skip
def test_a_margin_is_written_exactly(margin: float | str, points: bool, words: str) -> None:
    assert RATE.margin(margin, points=points) == words


def test_a_level_just_below_its_floor_does_not_look_like_it() -> None:
    """89.96 % against a floor of 90 % takes a second decimal, 99.996 % against 100 % a third."""
    assert format_over((0.5, 0.8996), rate=True, marks=(0.9,)).level(0.8996) == "89.96 %"
    assert format_over((0.5, 0.99996), rate=True).level(0.99996) == "99.996 %"
    assert format_over((0.5, 0.8), rate=True, marks=(0.9,)).level(0.8) == "80.0 %"


def test_levels_that_differ_do_not_look_equal() -> None:
    """71.24 and 71.16 both round to 71.2."""
    how = format_over((0.7124, 0.7116, -0.0008), rate=True)
    assert how.change(0.7124, 0.7116, -0.0008) == "fell 0.08 points, 71.24 → 71.16 %"


def test_the_score_of_a_case_has_no_zeros_at_its_end() -> None:
    """A pass is 100 %, a third 33.3 %, a small one not zero; other numbers stay as they are."""
    assert [format_score(v, rate=True) for v in (1.0, 1 / 3, 2e-4, 0.0, None)] == [
        "100 %", "33.3 %", "0.02 %", "0 %", "–",
    ]  # fmt: skip
    assert format_score(412.7, rate=False) == "412.7"
