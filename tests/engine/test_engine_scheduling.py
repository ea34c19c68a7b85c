"""Batches: of one kind, longest first, under the token budget; prefixes that prompts share."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.engine import scheduling
from tunegate.harness.engine.inference.prefix_cache import SHORTEST, shared_length
from tunegate.harness.engine.scheduling import (
    FORWARD,
    PlannedQuestion,
    RequestBatch,
    make_batches,
    prefix_families,
)
from tunegate.harness.records.answers import CellKind


def _questions(n: int, kind: str = "generate", suite: str = "s") -> list[PlannedQuestion]:
    return [PlannedQuestion(suite, f"c{i}", CellKind(kind)) for i in range(n)]


def test_longest_first() -> None:
    """Questions are ordered by falling length, equal ones as they came."""
    a, b, c, d = _questions(4)
    (batch,) = make_batches({a: 5, b: 9, c: 5, d: 7})
    assert batch.questions == (b, d, a, c)


def test_token_budget() -> None:
    """Rows times the longest row stay within 8192 tokens; one long question goes alone."""
    questions = _questions(5)
    batches = make_batches(dict(zip(questions, (9000, 4096, 4096, 4000, 10), strict=True)))
    assert [len(b.questions) for b in batches] == [1, 2, 2]


def test_row_limit() -> None:
    """No batch has more than 48 rows however short they are."""
    batches = make_batches(dict.fromkeys(_questions(100), 2))
    assert [len(b.questions) for b in batches] == [48, 48, 4]


def test_a_pool_is_wider_than_memory() -> None:
    """Up to 128 answers that are written here are planned together, whatever their length."""
    questions = _questions(300)
    batches = make_batches(dict.fromkeys(questions, 4000), prompts=dict.fromkeys(questions, (1, 2)))
    assert [len(b.questions) for b in batches] == [128, 128, 44]


def test_suites_leave_a_batch() -> None:
    questions = (*_questions(2, suite="s"), *_questions(2, suite="t"))
    batch = RequestBatch(CellKind.GENERATE, questions, 3)
    assert batch.without({"s"}) == RequestBatch(CellKind.GENERATE, questions[2:], 3)
    assert batch.without({"s", "t"}) is None


def test_kinds_and_scored_suites_stay_apart() -> None:
    """Written answers of all suites share batches; scored ones keep to their suite's prefix."""
    groups = [
        *_questions(2, "generate", "s"),
        *_questions(2, "generate", "t"),
        *_questions(2, "choices", "s"),
        *_questions(2, "choices", "t"),
        *_questions(2, "answer", "s"),
    ]
    batches = make_batches(dict.fromkeys(groups, 5))
    found = [(b.kind.value, sorted({q.suite for q in b.questions})) for b in batches]
    assert found == [
        ("generate", ["s", "t"]),
        ("choices", ["s"]),
        ("choices", ["t"]),
        ("answer", ["s"]),
    ]


def test_timed_questions_go_alone() -> None:
    """Latency is measured at batch 1, in the order of the cases whatever their length."""
    questions = _questions(3, "latency")
    batches = make_batches(dict(zip(questions, (5, 7, 6), strict=True)))
    assert [b.questions for b in batches] == [(question,) for question in questions]


def test_halves() -> None:
    """A batch that did not fit is split in the middle, nothing lost."""
    questions = tuple(_questions(5))
    first, second = RequestBatch(CellKind.GENERATE, questions).halves()
    assert (first.questions, second.questions) == (questions[:2], questions[2:])
    assert first.kind is second.kind is CellKind.GENERATE


@given(st.lists(st.integers(1, 10_000), max_size=120))
def test_every_question_once_within_the_budget(lengths: list[int]) -> None:
    questions = _questions(len(lengths))
    size = dict(zip(questions, lengths, strict=True))
    batches = make_batches(size)
    assert sorted(q.case for b in batches for q in b.questions) == sorted(q.case for q in questions)
    for batch in batches:
        rows = len(batch.questions)
        longest = max(size[q] for q in batch.questions)
        assert rows == 1 or rows * longest <= scheduling.TOKEN_BUDGET


@given(
    st.lists(st.integers(0, 2), max_size=30),
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=2, max_size=6),
)
def test_shared_length(head: list[int], tails: list[list[int]]) -> None:
    """The shared prefix is the longest one, leaves each prompt a token, and is worth sharing."""
    prompts = [[*head, *tail] for tail in tails]
    length = shared_length(prompts)
    longest = 0
    while all(len(p) > longest + 1 for p in prompts) and len({p[longest] for p in prompts}) == 1:
        longest += 1
    assert length == (longest if longest >= SHORTEST else 0)


def test_one_prompt_shares_nothing() -> None:
    assert shared_length([[1] * 50]) == 0


def test_equal_prompts_keep_a_token_each() -> None:
    assert shared_length([[1] * 50, (1,) * 50]) == 49


def _families(prompts: Sequence[Sequence[int]]) -> list[set[int]]:
    return [set(family) for family in prefix_families(prompts)]


def test_questions_with_the_same_header_stay_together() -> None:
    """Two subjects with headers of 500 tokens, interleaved: two families, whatever their order."""
    headers = [[1] * 500, [2] * 500]
    prompts = [[*headers[i % 2], 10 + i, 3] for i in range(10)]

    assert _families(prompts) == [set(range(0, 10, 2)), set(range(1, 10, 2))]


def test_a_system_prompt_before_the_headers_does_not_join_them() -> None:
    prompts = [[*[5] * 200, *[i % 2] * 500, 10 + i] for i in range(10)]

    assert _families(prompts) == [set(range(0, 10, 2)), set(range(1, 10, 2))]


def test_two_equal_questions_do_not_part_a_subject() -> None:
    """The ninth and tenth of ten questions share 300 tokens more than their header of 500."""
    prompts = [[*[1] * 500, min(i, 8), *[7] * 300, i] for i in range(10)]

    assert _families(prompts) == [set(range(10))]


def test_short_prompts_are_not_torn_apart() -> None:
    """Prompts that share nothing but are short fill one batch: a forward each would cost more."""
    assert _families([[i] * 20 for i in range(8)]) == [set(range(8))]


@pytest.mark.parametrize(("header", "apart"), [(FORWARD, False), (FORWARD + 1, True)])
def test_a_header_is_worth_a_forward_of_its_own(header: int, apart: bool) -> None:
    prompts = [[i // 2] * header + [i] for i in range(4)]

    assert _families(prompts) == ([{0, 1}, {2, 3}] if apart else [{0, 1, 2, 3}])


def test_a_family_between_prompts_that_share_nothing() -> None:
    header = [5] * 100
    prompts = [[i] for i in range(4)] + [[*header, 9, i] for i in range(6)] + [[7], [8]]

    assert _families(prompts) == [set(range(4, 10)), {0, 1, 2, 3, 10, 11}]


def test_every_question_is_in_one_family() -> None:
    draw = random.Random(1)
    for _ in range(100):
        headers = [[draw.randrange(3)] * draw.choice([0, 50, 300, 600]) for _ in range(3)]
        prompts = [[*draw.choice(headers), draw.randrange(9)] for _ in range(draw.randrange(30))]
        found = prefix_families(prompts)
        assert sorted(i for family in found for i in family) == list(range(len(prompts)))


def test_a_thousand_prompts_that_begin_with_each_other() -> None:
    assert _families([[1] * length for length in range(1, 1_500)]) == [set(range(1_499))]
