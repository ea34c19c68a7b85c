"""The verifier: scores are rewards, unscored is None and never 0, failures name reward and row."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import RewardFailed
from tunegate.harness.records.scores import Score
from tunegate.trainers.prompt_rows import PromptRow
from tunegate.trainers.verifiable_rewards import Reward, RewardVerifier


class Letters:
    """A tokenizer of one letter a token: 0 ends, 1 is a."""

    eos_token_id = 0
    pad_token_id = 0

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return "".join(chr(96 + i) for i in ids if i)


def rows(count: int) -> list[PromptRow]:
    """Return rows that come from lines 1, 2, … of a file."""
    return [
        PromptRow(
            Case(id=str(i), prompt=f"p{i}", expected=f"e{i}").with_place(f"rows.jsonl:{i + 1}"),
            f"p{i}",
            {"prompt": f"p{i}", "level": 10 * i},
        )
        for i in range(count)
    ]


def call(verifier: RewardVerifier, answers: list[list[int]], row: list[int]) -> tuple[Any, Any]:
    """Call every function as TRL does; return the columns of rewards and the logged metrics."""
    logged: dict[str, float] = {}
    batch = {
        "prompts": [f"p{i}" for i in row],
        "completions": [str(ids) for ids in answers],
        "completion_ids": answers,
        "row": row,
        "trainer_state": None,
        "log_extra": None,
        "log_metric": logged.__setitem__,
    }
    return [function(**batch) for function in verifier.functions()], logged


def scoring(function: Callable[..., Any], name: str = "mine") -> Reward:
    """Return a metric's reward."""
    return Reward(name, name, 1.0, metric=Metric(name=name, score=function))


def test_metrics_see_the_case_and_what_the_gate_would_know() -> None:
    seen: list[tuple[Any, ...]] = []

    def look(case: Case, completion: Completion) -> float:
        text, reason = completion.text, completion.finish_reason
        seen.append((case.expected, text, completion.output_tokens, reason))
        return len(text or "")

    verifier = RewardVerifier([scoring(look)], rows(2), Letters())
    columns, _ = call(verifier, [[1, 2, 0], [3, 3]], [0, 1])

    assert [("e0", "ab", 2, "stop"), ("e1", "cc", 2, "length")] == seen
    assert [[2.0, 2.0]] == columns
    assert ["mine"] == [function.__name__ for function in verifier.functions()]


def test_unscored_is_none_and_counted() -> None:
    """What a metric leaves unscored is None for TRL, its reason counted; a score of 0 stays 0."""

    def some(case: Case, completion: Completion) -> Score:
        text = completion.text
        return Score.unscored("timed out") if text == "a" else Score.of(float(text == "b"))

    verifier = RewardVerifier([scoring(some)], rows(1), Letters())
    columns, logged = call(verifier, [[1], [2], [3], [1]], [0, 0, 0, 0])

    assert [[None, 1.0, 0.0, None]] == columns
    assert {"mine: timed out": 2} == verifier.unscored
    assert {"rewards/unscored": 0.5} == logged


def test_half_scored_completions_are_left_out_whole() -> None:
    """TRL would count one missing reward as 0 in the sum, so the completion is left out."""

    def one(case: Case, completion: Completion) -> float:
        return 1.0

    def other(case: Case, completion: Completion) -> float | None:
        return None if completion.text == "a" or case.id == "1" else 0.5

    verifier = RewardVerifier([scoring(one, "one"), scoring(other, "other")], rows(2), Letters())
    columns, logged = call(verifier, [[1], [2], [1], [2]], [0, 0, 1, 1])

    # Row 0: the first answer lacks `other`, which the second has. Row 1: `other` says nothing of
    # the prompt at all, so `one` alone decides there.
    assert [[None, 1.0, 1.0, 1.0], [None, 0.5, None, None]] == columns
    assert {"rewards/unscored": 0.25} == logged


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (math.nan, "returned nan, which is not a number"),
        (-math.inf, "returned -inf, which is not a number"),
        ("many", "raised ValueError: could not convert string to float: 'many'"),
        (KeyError("lost"), "raised KeyError: 'lost'"),
    ],
)
def test_a_failing_reward_names_itself_and_the_row(returned: Any, said: str) -> None:
    def fails(case: Case, completion: Completion) -> Any:
        if case.id == "1" and isinstance(returned, Exception):
            raise returned
        return returned if case.id == "1" else 1.0

    verifier = RewardVerifier([scoring(fails)], rows(2), Letters())

    with pytest.raises(RewardFailed) as caught:
        call(verifier, [[1], [1]], [0, 1])
    assert str(caught.value).startswith("rows.jsonl:2: reward 'mine' ")
    assert said in str(caught.value)


def test_functions_of_trls_kind_get_the_rows_columns() -> None:
    """A function that takes a batch is called once, with the rows' own columns; None stays None."""
    calls: list[Any] = []

    def batch(completions: list[Any], level: list[int], **more: Any) -> list[float | None]:
        calls.append(more["prompts"])
        return [None if one == 10 else float(one) for one in level]

    verifier = RewardVerifier([Reward("batch", "m:batch", 1.0, function=batch)], rows(3), Letters())
    columns, _ = call(verifier, [[1], [1], [1]], [0, 1, 2])

    assert [[0.0, None, 20.0]] == columns
    assert [["p0", "p1", "p2"]] == calls


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ([1.0], "returned 1 numbers for 2 rows"),
        ([1.0, math.nan], "rows.jsonl:2: reward 'batch' returned nan"),
        (None, "rows.jsonl:1 and the rest of its batch: reward 'batch' raised TypeError"),
    ],
)
def test_a_failing_function_of_trls_kind(returned: Any, said: str) -> None:
    reward = Reward("batch", "m:batch", 1.0, function=lambda completions, **_: returned)

    with pytest.raises(RewardFailed) as caught:
        call(RewardVerifier([reward], rows(2), Letters()), [[1], [1]], [0, 1])
    assert said in str(caught.value)


def test_async_functions_are_awaited() -> None:
    async def later(completions: list[Any], **_: Any) -> list[float]:
        return [2.0 for _ in completions]

    columns, _ = call(
        RewardVerifier([Reward("later", "m:later", 1.0, function=later)], rows(1), Letters()),
        [[1]],
        [0],
    )

    assert [[2.0]] == columns
