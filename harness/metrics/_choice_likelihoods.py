"""Choice likelihoods of a multiple-choice case, checked and made comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

Normalize = Literal["none", "byte"]

ROUNDING = 1e-3
"""How far above 0 a log-likelihood may be: rounding of half precision."""


class UnusableCase(ValueError):
    """The case or the completion lacks what a multiple-choice metric needs."""


def choice_likelihoods(case: Case, completion: Completion, normalize: Normalize) -> Sequence[float]:
    """Return the log-likelihood of each choice, divided by its UTF-8 length for `byte`.

    Raises:
        UnusableCase: something is missing, inconsistent or not a log-likelihood.
    """
    if not case.choices or case.answer is None:
        raise UnusableCase("the case has no choices with an answer")
    if not 0 <= case.answer < len(case.choices):
        raise UnusableCase(f"answer={case.answer} names none of the {len(case.choices)} choices")
    values = completion.choice_logprobs
    if values is None:
        raise UnusableCase("the completion has no log-likelihoods of the choices")
    if len(values) != len(case.choices):
        raise UnusableCase(f"{len(values)} log-likelihoods for {len(case.choices)} choices")
    if odd := [value for value in values if not value <= ROUNDING]:  # NaN is odd, too
        raise UnusableCase(f"{odd[0]} is not a log-likelihood: they are 0 or less")
    if normalize == "none":
        return values
    lengths = [len(choice.encode("utf-8", "surrogatepass")) for choice in case.choices]
    if 0 in lengths:
        raise UnusableCase("an empty choice has no length to divide by")
    return [value / length for value, length in zip(values, lengths, strict=True)]
