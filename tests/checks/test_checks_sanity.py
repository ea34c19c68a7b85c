"""The alarm: goes off beyond chance and not before."""

from __future__ import annotations

import pytest

from tunegate.harness.checks.sanity import PROMPTS, BehaviourCount, lost_by_chance
from tunegate.harness.suite import load_suite


@pytest.mark.parametrize(
    ("lost", "gained", "expected"),
    [
        (0, 0, 1.0),  # nothing differs, so as much or more is certain
        (1, 0, 1 / 2),
        (4, 0, 1 / 16),
        (5, 0, 1 / 32),
        (0, 3, 1.0),
        (5, 1, 7 / 64),  # (6 choose 5) + (6 choose 6) of 2^6
    ],
)
def test_how_often_chance_loses_so_many(lost: int, gained: int, expected: float) -> None:
    """The sign test's probabilities, by hand; prompts on which the arms agree do not count."""
    base = [True] * lost + [False] * gained + [True, False]
    tuned = [False] * lost + [True] * gained + [True, False]

    assert lost_by_chance(base, tuned) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("base", "tuned", "alarming"), [(12, 12, False), (11, 7, False), (11, 6, True), (11, 3, True)]
)
def test_the_alarm_goes_off_at_five_lost(base: int, tuned: int, alarming: bool) -> None:
    """Four lost of twelve may be chance; five and none gained are not."""
    one = BehaviourCount("stopped", *([i < n for i in range(12)] for n in (base, tuned)))

    assert one.alarming is alarming
    assert one.sentence == f"tuned stopped on {tuned} of 12 prompts, base on {base}"


def test_two_prompts_never_raise_it() -> None:
    assert not BehaviourCount("wrote the JSON", (True, True), (False, False)).alarming


def test_the_prompts_are_a_dozen_and_two() -> None:
    cases = load_suite(PROMPTS).cases

    assert [c.answer_schema is not None for c in cases] == [False] * 12 + [True] * 2
