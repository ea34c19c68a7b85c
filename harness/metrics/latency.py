"""How long the model took to answer."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.contracts.reasoning import share_of_thoughts
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(label="time of an answer", needs=CellKind.LATENCY, higher_is_better=False)
def latency(case: Case, completion: Completion) -> Score:
    """Score the seconds from sending the prompt to the last token.

    Timed in a pass of its own: one prompt at a time, arms in turn, warm-up dropped. A tolerance in
    percent bounds the geometric mean of the cases' ratios. The parts are `thinking` and `answer`,
    if known, batch size and tokens; the notes show p50 and p95.

    Known problems:
        Compare arms of one run, never two runs. A model that writes more takes longer: look at
        `length` as well. Gates on recorded times are advisory.

    Example:
        `tolerance = "10%"` lets tuned be a tenth slower.
    """
    if completion.latency_s is None:
        return Score.unscored("the completion was not timed")
    counts = {"batch_size": completion.batch_size, "output_tokens": completion.output_tokens}
    parts = {name: float(value) for name, value in counts.items() if value is not None}
    parts |= share_of_thoughts(completion, completion.latency_s, completion.reasoning_s)
    return Score.of(completion.latency_s, parts=parts or None)
