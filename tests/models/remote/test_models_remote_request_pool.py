"""Many questions at once: bounded, asked again, paused together, and never stuck."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.models.remote.failures import PermanentError, RequestFailure, RetryableError
from tunegate.harness.models.remote.rate_limits import RateLimiter
from tunegate.harness.models.remote.request_pool import QuestionFeed, ask_all, complete_all
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.errors import BackendError


def soon(question: int, deadline: float) -> int:
    """Answer after a moment."""
    time.sleep(0.05)
    return question * 10


def read(answers: Iterable[tuple[Any, Any]], into: dict[Any, Any]) -> None:
    """Keep what comes, so that it is known however it ends."""
    for question, result in answers:
        into[question] = result


def test_every_question_has_its_answer() -> None:
    found = list(ask_all(range(100), lambda q, deadline: q * 10, PoolLimits(concurrency=7)))

    assert sorted(found) == [(q, q * 10) for q in range(100)]


def test_questions_run_at_the_same_time_within_the_bound() -> None:
    """24 answers of 50 ms, 8 at a time, take 0.15 s and not 1.2 s; never are 9 under way."""
    lock, now, most = threading.Lock(), 0, 0

    def counted(question: int, deadline: float) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        result = soon(question, deadline)
        with lock:
            now -= 1
        return result

    began = time.monotonic()
    list(ask_all(range(24), counted, PoolLimits(concurrency=8)))

    assert time.monotonic() - began < 0.6
    assert most == 8


def test_a_result_is_known_before_the_others_are() -> None:
    def mixed(question: float, deadline: float) -> float:
        time.sleep(question)
        return question

    first, _ = next(iter(ask_all([1.0, 0.0], mixed, PoolLimits(concurrency=2))))

    assert first == 0.0


def test_later_is_asked_again_and_refused_is_not() -> None:
    """Two tries with one fault; one try where it was refused; five where nothing helps."""
    asked: Counter[str] = Counter()

    def ask(question: str, deadline: float) -> str:
        asked[question] += 1
        if question == "refused":
            raise PermanentError("too long", whole=False)
        if question == "never" or asked[question] == 1:
            raise RetryableError("HTTP 500")
        return "fine"

    found = dict(ask_all(["once", "refused", "never"], ask, PoolLimits()))

    assert asked == {"once": 2, "refused": 1, "never": 5}
    assert found == {
        "once": "fine",
        "refused": RequestFailure("too long", 1, refused=True),
        "never": RequestFailure("HTTP 500 (asked 5 times)", 5),
    }


def test_requests_for_a_completion_are_counted() -> None:
    """The last try counts where it sent two requests itself; so do those of a failure."""
    tries: Counter[str] = Counter()

    def ask(question: str, deadline: float) -> Completion:
        tries[question] += 1
        if question == "never" or (question == "second" and tries[question] == 1):
            raise RetryableError("HTTP 500")
        return Completion(text="fine", attempts=2 if question != "first" else None)

    before = time.time()
    answers = {
        a.question: a
        for a in complete_all(
            ["first", "twice", "second", "never"],
            ask,
            PoolLimits(attempts=2),
            cost_of=lambda question: 1.0,
            backend="a server",
        )
    }

    assert {name: a.requests for name, a in answers.items()} == {
        "first": 1,
        "twice": 2,
        "second": 3,
        "never": 2,
    }
    assert answers["second"].completion == Completion(text="fine", attempts=3)
    assert answers["second"].error is None
    assert answers["never"].completion is None
    assert answers["never"].error == "HTTP 500 (asked 2 times)"
    assert all(before <= a.started_s <= time.time() for a in answers.values())


def test_a_call_that_hangs_is_left_behind() -> None:
    release = threading.Event()

    def ask(question: int, deadline: float) -> int:
        if question == 0:
            release.wait(30)
        return question

    began = time.monotonic()
    found = dict(ask_all(range(5), ask, PoolLimits(concurrency=1, deadline_s=0.5)))
    took = time.monotonic() - began
    release.set()

    assert found == {0: RequestFailure("no answer within 0.5 s", 1), 1: 1, 2: 2, 3: 3, 4: 4}
    assert took < 2.5


def test_attempts_share_the_deadline() -> None:
    deadlines = []

    def ask(question: int, deadline: float) -> int:
        deadlines.append(deadline)
        time.sleep(0.3)
        raise RetryableError("HTTP 503")

    began = time.monotonic()
    ((_, result),) = ask_all([0], ask, PoolLimits(deadline_s=0.5, attempts=50))

    assert time.monotonic() - began < 2.5
    assert isinstance(result, RequestFailure)
    assert "no answer within 0.5 s; the attempt before: HTTP 503" in result.message
    assert max(deadlines) - min(deadlines) < 0.05


def test_one_who_is_told_to_wait_makes_all_wait() -> None:
    """After a 429 with Retry-After nobody is asked until the pause is over."""
    times: list[float] = []
    paused = threading.Event()

    def ask(question: int, deadline: float) -> int:
        times.append(time.monotonic())
        if question == 0 and not paused.is_set():
            paused.set()
            raise RetryableError("HTTP 429", after_s=0.6)
        paused.wait(1)
        time.sleep(0.05)
        return question

    found = dict(ask_all(range(8), ask, PoolLimits(concurrency=2)))
    gaps = sorted(b - a for a, b in pairwise(times))

    assert found == {q: q for q in range(8)}
    assert gaps[-1] >= 0.5


def test_a_pause_beyond_the_deadline_ends_the_question() -> None:
    asked: list[tuple[int, float]] = []

    def ask(question: int, deadline: float) -> int:
        asked.append((question, time.monotonic()))
        if question == 1:
            raise RetryableError("HTTP 429", after_s=0.9)
        return question

    began = time.monotonic()
    answers = ask_all([1, 2], ask, PoolLimits(concurrency=1, deadline_s=0.8))
    first = next(answers)
    took = time.monotonic() - began
    rest = dict(answers)

    text = "HTTP 429; the pause of 0.9 s ends after the deadline of 0.8 s"
    assert first == (1, RequestFailure(text, 1))
    assert took < 0.5
    assert rest == {2: 2}
    assert [question for question, _ in asked] == [1, 2]
    assert asked[1][1] - asked[0][1] >= 0.8


def test_pauses_count_against_the_deadline() -> None:
    """Told to wait 0.2 s each time, a question of 1 s is given up after it, not after 100 tries."""

    def ask(question: int, deadline: float) -> int:
        raise RetryableError("HTTP 429", after_s=0.2)

    began = time.monotonic()
    ((_, result),) = ask_all([1], ask, PoolLimits(deadline_s=1.0))

    assert time.monotonic() - began < 1.5
    assert isinstance(result, RequestFailure)
    assert 2 <= result.attempts <= 5


def test_a_crowd_before_a_slow_door_all_get_through() -> None:
    """A 429 does not use up an attempt: with two each, thirty get in one at a time."""
    open_at = time.monotonic()
    lock = threading.Lock()

    def ask(question: int, deadline: float) -> int:
        nonlocal open_at
        with lock:
            now = time.monotonic()
            if now < open_at:
                raise RetryableError("HTTP 429", after_s=0.02)
            open_at = now + 0.02
        return question

    found = dict(ask_all(range(30), ask, PoolLimits(concurrency=8, attempts=2)))

    assert found == {q: q for q in range(30)}


def test_who_is_always_told_to_wait_gives_up_in_the_end() -> None:
    def ask(question: int, deadline: float) -> int:
        raise RetryableError("HTTP 429", after_s=0.001)

    assert dict(ask_all([1], ask, PoolLimits(attempts=1))) == {
        1: RequestFailure("HTTP 429 (asked 20 times)", 20)
    }


def test_a_pause_of_hours_ends_the_run() -> None:
    """It can be resumed later; waiting would look like hanging."""

    def ask(question: int, deadline: float) -> int:
        raise RetryableError("HTTP 429", after_s=7200.0)

    with pytest.raises(BackendError, match="it asks to wait 7200 s, so resume later"):
        list(ask_all([1], ask, PoolLimits()))


def test_what_refuses_everything_ends_the_run_after_what_was_under_way() -> None:
    asked = []
    both = threading.Barrier(2)

    def ask(question: int, deadline: float) -> int:
        asked.append(question)
        both.wait(5)
        if question == 0:
            raise PermanentError("HTTP 401: no", whole=True)
        time.sleep(0.2)
        return question

    found: dict[int, Any] = {}
    answers = ask_all(range(10), ask, PoolLimits(concurrency=2), backend="the shop")
    with pytest.raises(BackendError, match="the shop: HTTP 401: no"):
        read(answers, found)

    assert sorted(asked) == [0, 1]
    assert found[1] == 1
    assert isinstance(found[0], RequestFailure)


def test_a_backend_that_is_gone_ends_the_run() -> None:
    """Ten questions in a row without an answer: the other 990 are not tried."""
    asked: set[int] = set()

    def ask(question: int, deadline: float) -> int:
        asked.add(question)
        if question >= 20:
            raise RetryableError("connection refused")
        return question

    found: dict[int, Any] = {}
    answers = ask_all(range(1000), ask, PoolLimits(concurrency=4, attempts=1))
    with pytest.raises(BackendError, match="questions in a row had no answer: connection refused"):
        read(answers, found)

    assert all(found[q] == q for q in range(20))
    assert 30 <= len(asked) < 40


def test_single_failures_are_no_end() -> None:
    def ask(question: int, deadline: float) -> int:
        if question % 2:
            raise RetryableError("HTTP 500")
        return question

    found = list(ask_all(range(60), ask, PoolLimits(concurrency=1, attempts=1)))

    assert sum(isinstance(result, RequestFailure) for _, result in found) == 30


def test_questions_that_are_too_long_are_no_end() -> None:
    def ask(question: int, deadline: float) -> int:
        raise PermanentError("the prompt is too long", whole=False)

    assert len(list(ask_all(range(30), ask, PoolLimits(concurrency=1)))) == 30


def test_a_defect_shows_itself() -> None:
    """What `ask` was not meant to raise reaches the reader as it is."""

    def ask(question: int, deadline: float) -> int:
        raise ZeroDivisionError("a defect")

    with pytest.raises(ZeroDivisionError, match="a defect"):
        list(ask_all([1, 2], ask, PoolLimits()))


def test_a_defect_of_the_questions_shows_itself() -> None:
    def questions() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError("a defect")

    with pytest.raises(ZeroDivisionError, match="a defect"):
        list(ask_all(questions(), lambda q, deadline: q, PoolLimits()))


def test_closing_stops_the_asking() -> None:
    asked = []

    def ask(question: int, deadline: float) -> int:
        asked.append(question)
        return soon(question, deadline)

    answers = ask_all(range(1000), ask, PoolLimits(concurrency=2))
    next(iter(answers))
    answers.close()
    count = len(asked)
    time.sleep(0.2)

    assert count <= 4
    assert len(asked) <= count + 2


def test_a_reader_that_is_slow_is_not_overrun() -> None:
    taken = []

    def questions() -> Iterator[int]:
        for number in range(10_000):
            taken.append(number)
            yield number

    answers = ask_all(questions(), lambda q, deadline: q, PoolLimits(concurrency=2))
    next(iter(answers))
    time.sleep(0.3)

    assert len(taken) < 100
    answers.close()


def test_rates_spread_the_questions() -> None:
    """600 requests a minute are ten a second: seven take 0.6 s; so do tokens at their own rate."""
    began = time.monotonic()
    list(ask_all(range(7), lambda q, d: q, PoolLimits(requests_per_minute=600)))
    requests = time.monotonic() - began
    began = time.monotonic()
    list(
        ask_all(
            range(7), lambda q, d: q, PoolLimits(tokens_per_minute=6000), cost_of=lambda q: 10.0
        )
    )
    tokens = time.monotonic() - began

    assert 0.55 < requests < 1.5
    assert 0.55 < tokens < 1.5


def test_a_rate_counts_from_when_it_was_free() -> None:
    """60 a minute: at once, a second later, and after a rest at once again."""
    rate = RateLimiter(60.0)

    assert [rate.reserve(1.0, now) for now in (100.0, 100.0, 100.5, 110.0)] == [
        100.0,
        101.0,
        102.0,
        110.0,
    ]


def test_questions_that_get_ready_later_do_not_wait_for_slow_ones() -> None:
    through, ready = threading.Event(), [1]

    def ask(question: int, deadline: float) -> bool:
        return through.wait(10) if question == 0 else True

    def more() -> list[int]:
        found, ready[:] = list(ready), []
        return found

    asked = []
    for question, result in ask_all(QuestionFeed([0], more), ask, PoolLimits(concurrency=2)):
        assert result is True
        asked.append(question)
        if 0 < question < 3:
            ready.append(question + 1)
        elif question == 3:
            through.set()

    assert asked == [1, 2, 3, 0]


def test_more_is_asked_within_the_bound_until_nothing_is_left() -> None:
    """A tree of 63 questions, two at a time; each makes two others ready."""
    ready: list[int] = []
    running, most, lock = 0, 0, threading.Lock()

    def ask(question: int, deadline: float) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1
        return question

    def more() -> list[int]:
        found, ready[:] = list(ready), []
        return found

    seen = []
    for question, _ in ask_all(QuestionFeed([1], more), ask, PoolLimits(concurrency=2)):
        seen.append(question)
        if question < 32:
            ready.extend([2 * question, 2 * question + 1])

    assert sorted(seen) == list(range(1, 64))
    assert most <= 2


def test_a_backend_that_is_gone_is_given_no_more() -> None:
    """What refuses everything ends the asking, though further questions are ready."""
    asked: list[int] = []

    def ask(question: int, deadline: float) -> None:
        asked.append(question)
        raise PermanentError("no", whole=True)

    feed = QuestionFeed([0], lambda: [len(asked)])
    with pytest.raises(BackendError, match="no"):
        list(ask_all(feed, ask, PoolLimits(concurrency=1)))

    assert asked == [0]
