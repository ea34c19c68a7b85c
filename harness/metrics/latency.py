"""How long the model took to answer."""

from __future__ import annotations

from harness.metric import metric
from harness.records import Case, CellKind, Completion, Score


@metric(needs=CellKind.LATENCY, higher_is_better=False)
def latency(case: Case, completion: Completion) -> Score:
    """Score the seconds from sending the prompt to the last token.

    What it does:
        Takes the time of a completion that ran alone, in a pass of its own: batch of one, arms in
        turn, warm-up dropped.

    Why:
        A merged adapter costs nothing, an unmerged one or a longer answer does, and users feel it.

    Known problems:
        It depends on the machine and on what else runs there: compare arms of one run, never two
        runs. A model that says more takes longer: look at `length` beside it.

    Example:
        `tolerance = "10%"` allows the tuned model to be a tenth slower.

    Options:
        None.
    """
    if completion.latency_s is None:
        return Score.unscored("the completion was not timed")
    return Score.of(completion.latency_s)
