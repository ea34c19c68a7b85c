"""What a call costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.metric import metric
from harness.metrics import _prices
from harness.records import Case, Completion, Score

_AMOUNTS = ("price_in", "price_out", "hourly")


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return prices that make no sense before any case is spent."""
    return list(_problems(options))


def _problems(options: Mapping[str, Any]) -> Iterator[str]:
    given = {name: options[name] for name in _AMOUNTS if options.get(name) is not None}
    for name, value in given.items():
        if not 0 <= value < math.inf:
            yield f"{name}={value!r} must be 0 or more US dollars"
    if len(given.keys() & {"price_in", "price_out"}) == 1:
        yield "price_in and price_out go together: give both"
    ways = [name for name in ("price_in", "hourly") if name in given]
    if len(ways) + bool(options.get("model")) > 1:
        yield "give one of model, price_in with price_out, and hourly: they are three prices"
    elif options.get("model"):
        try:
            _prices.price_of(options["model"])
        except _prices.UnknownPrice as error:
            yield str(error)


@metric(higher_is_better=False, check=_check)
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

    What it does:
        Takes the first of these that is given: `price_in` and `price_out` times the tokens;
        `hourly` times the measured time; the list price of `model` times the tokens; the cost that
        the backend or the recorded completion states. None of them: unscored, for an unknown price
        is not 0. List prices come from the table in the installed litellm package (`pip install
        litellm`), read as a file. Time is the seconds until the answer was complete, divided by
        the completions that were written together in its batch.

    Why:
        A better model that costs twice as much is another decision. A local fine-tune that
        replaces a hosted model is often made for this number alone.

    Known problems:
        The price is the same for both arms: what is compared is how much they use. Arms of
        different prices need a backend or a `replay:` file that states each completion's `cost`.
        List prices know no discounts, cached tokens or tiers for long prompts, and are as old as
        the installed litellm: its version is yours to pin. Measured time depends on the machine;
        answers that end before the others of their batch make `hourly` too low by the time the
        machine ran on, and a machine that waits is paid for too. A backend that states no batch
        size leaves time unpriced.

    Example:
        With `price_in = 0.15` and `price_out = 0.60`, 1,000 tokens in and 100 out cost
        0.00015 + 0.00006 = 0.00021 dollars. With `hourly = 1.80`, 2 seconds alone cost 0.001.

    Options:
        model: Name in litellm's table, such as `gpt-4o-mini`.
        price_in: US dollars per million tokens of prompts.
        price_out: US dollars per million tokens of answers.
        hourly: US dollars that the machine costs an hour.
    """
    for problem in _problems({"price_in": price_in, "price_out": price_out, "hourly": hourly}):
        return Score.unscored(problem)
    if price_in is not None and price_out is not None:
        return _of_tokens(completion, _prices.Price(price_in / 1e6, price_out / 1e6))
    if hourly is not None:
        return _of_time(completion, hourly)
    if model is not None:
        try:
            return _of_tokens(completion, _prices.price_of(model))
        except _prices.UnknownPrice as error:
            return Score.unscored(str(error))
    if completion.cost is not None:
        return Score.of(completion.cost)
    return Score.unscored("unknown price: give model, price_in and price_out, or hourly")


def _of_tokens(completion: Completion, price: _prices.Price) -> Score:
    if completion.input_tokens is None or completion.output_tokens is None:
        return Score.unscored("the completion has no counts of its tokens")
    parts = {
        "input": completion.input_tokens * price.input,
        "output": completion.output_tokens * price.output,
    }
    return Score.of(sum(parts.values()), parts=parts)


def _of_time(completion: Completion, hourly: float) -> Score:
    if completion.latency_s is None:
        return Score.unscored("the completion was not timed")
    if completion.batch_size is None:
        return Score.unscored("it is not known how many completions shared the measured time")
    seconds = completion.latency_s / completion.batch_size
    return Score.of(hourly / 3600 * seconds, parts={"seconds": seconds})
