"""latency: the seconds that the timed pass measured."""

from __future__ import annotations

from tunegate.harness.metrics.latency import latency
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

CASE = Case(id="c", prompt="p")


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
