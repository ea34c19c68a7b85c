"""latency: the seconds that the timed pass measured."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics.latency import latency
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

CASE = Case(id="c", prompt="p")


def test_is_the_measured_time() -> None:
    assert latency(CASE, Completion(text="x", latency_s=0.25)) == Score(value=0.25)
    assert latency(CASE, Completion(latency_s=0.0)) == Score(value=0.0)


def test_says_what_was_timed() -> None:
    """Batch size and tokens stand in the parts, so that the run's notes can state them."""
    done = Completion(text="x", latency_s=0.5, batch_size=1, output_tokens=7)

    assert latency(CASE, done).parts == {"batch_size": 1.0, "output_tokens": 7.0}


def test_thoughts_have_a_part_of_the_time() -> None:
    """1.5 of 2 seconds are thoughts; where that is not known, no part of it has a number."""
    thought = Completion(text="x", reasoning="Hm", latency_s=2.0)

    known = latency(CASE, thought.model_copy(update={"reasoning_s": 1.5}))

    assert known == Score(value=2.0, parts={"has_thoughts": 1.0, "thinking": 1.5, "answer": 0.5})
    assert latency(CASE, thought) == Score(value=2.0, parts={"has_thoughts": 1.0})


def test_an_untimed_completion_is_unscored() -> None:
    """A missing time is no time of 0."""
    result = latency(CASE, Completion(text="x"))

    assert result.value is None
    assert result.reason


def test_declares_what_the_statistics_need() -> None:
    assert latency.needs is CellKind.LATENCY
    assert latency.range is None
    assert not latency.higher_is_better


@given(st.floats(0.0, 1e9))
def test_any_time_is_its_own_score(seconds: float) -> None:
    assert latency.score(CASE, Completion(latency_s=seconds)).value == seconds
