"""Price of a call in US dollars."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.contracts.metric import metric
from tunegate.harness.contracts.reasoning import share_of_thoughts
from tunegate.harness.metrics._token_prices import TokenPrice, UnknownPrice, price_of
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

_AMOUNTS = ("price_in", "price_out", "hourly")


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    return list(_problems(options))


def _problems(options: Mapping[str, Any]) -> Iterator[str]:
    amounts = {name: options[name] for name in _AMOUNTS if options.get(name) is not None}
    for name, value in amounts.items():
        if not 0 <= value < math.inf:
            yield f"{name}={value!r} must be 0 or more US dollars"
    if len(amounts.keys() & {"price_in", "price_out"}) == 1:
        yield "price_in and price_out go together: give both"
    ways = [name for name in ("price_in", "hourly") if name in amounts]
    if len(ways) + bool(options.get("model")) > 1:
        yield "give one of model, price_in with price_out, and hourly: they are three prices"
    elif options.get("model"):
        try:
            price_of(options["model"])
        except UnknownPrice as error:
            yield str(error)


@metric(label="price of a call", higher_is_better=False, check=_check)
def cost(
    case: Case,
    completion: Completion,
    *,
    model: str | None = None,
    price_in: float | None = None,
    price_out: float | None = None,
    hourly: float | None = None,
) -> Score:
    """Score the price of the call in US dollars; cheaper counts as better.

    Uses the first of these that is given: `price_in` and `price_out` times tokens, litellm's list
    price of `model`, the cost that the backend states, or `hourly` times the measured time. With
    none of them the case is unscored. The parts `thinking` and `answer` split the price where that
    is known.

    Known problems:
        Both arms have the same price; arms with different prices need a backend or a `replay:` file
        that states `cost`. List prices know no discounts. Measured time depends on the machine.

    Example:
        With `price_in = 0.15` and `price_out = 0.60`, 1,000 tokens in and 100 out cost $0.00021.

    Options:
        model: Name in litellm's price table, such as `gpt-4o-mini`.
        price_in: US dollars per million prompt tokens.
        price_out: US dollars per million answer tokens.
        hourly: US dollars per hour of the machine, for answers that state no cost.
    """
    for problem in _problems({"price_in": price_in, "price_out": price_out, "hourly": hourly}):
        return Score.unscored(problem)
    if price_in is not None and price_out is not None:
        return _token_cost(completion, TokenPrice(price_in / 1e6, price_out / 1e6))
    if model is not None:
        try:
            return _token_cost(completion, price_of(model))
        except UnknownPrice as error:
            return Score.unscored(str(error))
    if completion.cost is not None:
        parts = share_of_thoughts(completion, completion.cost, None)
        return Score.of(completion.cost, parts=parts or None)
    if hourly is not None:
        return _time_cost(completion, hourly)
    return Score.unscored("unknown price: give model, price_in and price_out, or hourly")


def _token_cost(completion: Completion, price: TokenPrice) -> Score:
    if completion.input_tokens is None or completion.output_tokens is None:
        return Score.unscored("the completion has no counts of its tokens")
    parts = {
        "input": completion.input_tokens * price.input,
        "output": completion.output_tokens * price.output,
    }
    count = completion.reasoning_tokens
    thoughts = None if count is None else count * price.output
    shares = share_of_thoughts(completion, parts["output"], thoughts)
    return Score.of(sum(parts.values()), parts=parts | shares)


def _time_cost(completion: Completion, hourly: float) -> Score:
    if completion.latency_s is None:
        return Score.unscored("the completion was not timed")
    if completion.batch_size is None:
        return Score.unscored("it is not known how many completions shared the measured time")
    seconds = completion.latency_s / completion.batch_size
    price, alone = hourly / 3600 * seconds, completion.batch_size == 1
    reasoning_s = completion.reasoning_s if alone else None
    thoughts = None if reasoning_s is None else hourly / 3600 * reasoning_s
    return Score.of(
        price, parts={"seconds": seconds} | share_of_thoughts(completion, price, thoughts)
    )
