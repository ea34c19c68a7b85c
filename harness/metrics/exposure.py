"""How much likelier a row's true value is than values that were made up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tunegate.harness.contracts.metric import Metric, metric
from tunegate.harness.metrics._choice_likelihoods import UnusableCase, choice_likelihoods
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

CONTROLS = 15
"""Made-up values beside the true one, by default."""


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    controls = options.get("controls", CONTROLS)
    if not isinstance(controls, int) or not 1 <= controls <= 1_000:
        return [f"controls={controls!r}: give the number of made-up values, from 1 to 1000"]
    other = [case for case in cases if case.choices and len(case.choices) != controls + 1]
    return [
        f"{case.where}: case {case.id!r} has {len(case.choices or ())} choices, and controls="
        f"{controls} asks for {controls + 1}, the true value among them"
        for case in other[:1]
    ]


def _bound(of: Metric) -> Metric:
    """Return the metric with the range that its number of controls gives."""
    return replace(of, range=(0.0, math.log2(of.options.get("controls", CONTROLS) + 1)))


@metric(
    label="exposure of training rows",
    needs=CellKind.CHOICES,
    higher_is_better=False,
    range=(0.0, math.log2(CONTROLS + 1)),
    requires=("choices", "answer"),
    check=_check,
    adapt=_bound,
    training_rows=True,
)
def exposure(case: Case, completion: Completion, *, controls: int = CONTROLS) -> Score:
    """Score how far the model prefers a training row's true value to made-up ones, in bits.

    log2(n) − log2(rank): n is the number of choices, rank the place of the true one by likelihood,
    with half a place for each tie (Carlini et al. 2019, "The Secret Sharer", section 4.3). A model
    that never saw the value scores 1.23 on average with 15 made-up ones; 4 says that each true
    value comes first.

    Known problems:
        A value that the prompt gives away, or controls that look made up, raise it in base, too:
        compare with base.

    Example:
        Second of 16: 4 − log2(2) = 3.

    Options:
        controls: Made-up values in each case's choices.
    """
    try:
        values = choice_likelihoods(case, completion, "none")
    except UnusableCase as problem:
        return Score.unscored(str(problem))
    true = values[case.answer or 0]
    if true == -math.inf and max(values) == -math.inf:
        return Score.unscored("no choice has a likelihood above zero")
    above = sum(value > true for value in values)
    ties = sum(value == true for value in values) - 1
    rank = 1 + above + ties / 2
    return Score.of(math.log2(len(values)) - math.log2(rank), f"place {rank:g} of {len(values)}")


def chance(controls: int) -> float:
    """Return the mean of a model that never saw the values: each place is as likely."""
    return math.fsum(_exposures(controls)) / (controls + 1)


def chance_deviation(controls: int) -> float:
    """Return the standard deviation of such a model."""
    mean = chance(controls)
    return math.sqrt(math.fsum((x - mean) ** 2 for x in _exposures(controls)) / (controls + 1))


def _exposures(controls: int) -> list[float]:
    return [math.log2((controls + 1) / rank) for rank in range(1, controls + 2)]
