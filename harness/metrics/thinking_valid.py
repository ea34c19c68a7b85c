"""Whether the thoughts before the answer are thoughts."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

_WINDOW = 24
"""Characters of the pieces that are counted."""
_SHORTEST = 2 * _WINDOW
"""Characters of the shortest thoughts that can be repetition."""
_DISTINCT = 1 / 3
"""Share of distinct pieces below which a text is nothing but repetition."""


@metric(label="sound thinking", binary=True, only_if_base_has="thinks")
def thinking_valid(case: Case, completion: Completion) -> Score:
    r"""Score 1 if the thoughts ended, hold something and are not only repetition, else 0.

    At least a third of their pieces of 24 characters must be distinct. An answer without thoughts
    scores 0. Hidden thoughts leave the case unscored. Gates are dropped if base never thinks.

    Known problems:
        Fluent nonsense is valid, and so are thoughts that contradict the answer.

    Example:
        `<think>2 and 2 is 4</think>4` scores 1; `<think>\n\n</think>4` and an answer cut off within
        its thoughts score 0.
    """
    if not completion.thinks:
        return Score.of(0.0, "no thoughts", parts={"thinks": 0.0})
    thinks = {"thinks": 1.0}
    if completion.reasoning_closed is False:
        return Score.of(0.0, "the thoughts did not end", parts=thinks)
    if completion.reasoning is None:
        return Score.unscored("the provider hides the thoughts")
    text = " ".join(completion.reasoning.split())
    if not any(character.isalnum() for character in text):
        return Score.of(0.0, "the thoughts are empty", parts=thinks)
    if len(text) >= _SHORTEST:
        pieces = [text[at : at + _WINDOW] for at in range(len(text) - _WINDOW + 1)]
        share = len(set(pieces)) / len(pieces)
        if share < _DISTINCT:
            return Score.of(0.0, f"repetition: {share:.0%} of it is distinct", parts=thinks)
    return Score.of(1.0, parts=thinks)
