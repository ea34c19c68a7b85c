"""How long the model took to answer."""

from __future__ import annotations

from tunegate.harness.metric import metric
from tunegate.harness.records.cases import Case, CellKind, Completion, Score
from tunegate.harness.thinking import share_of_thoughts


@metric(label="time of an answer", needs=CellKind.LATENCY, higher_is_better=False)
def latency(case: Case, completion: Completion) -> Score:
    """Score the seconds from sending the prompt to the last token.

    What it does:
        Takes the time of a completion that was timed in a pass of its own: batch of one, arms in
        turn, warm-up dropped. The parts give the batch size in which it ran, how many tokens it
        wrote, and the seconds of its thoughts (`thinking`) and of its answer (`answer`) where that
        is known. The run's notes show how many times as long tuned takes (geometric mean of the
        cases' ratios), p50 and p95 of both arms, tokens a second, and what was timed. A tolerance
        in percent is a bound on that ratio, not on the difference of means.

    Why:
        A merged adapter costs nothing, an unmerged one or a longer answer does, and users feel it.

    Known problems:
        It depends on the machine and on what else runs there: compare arms of one run, never two
        runs. A model that writes more takes longer: look at `length` as well. Times that were
        recorded elsewhere (`replay:`) are taken as they are, batch or single; a line's
        `batch_size` shows which. In what order they were taken is unknown, so gates that compare
        them are advisory. 30 cases show no p95: its ratio is judged from 100. A server's reply
        comes as a whole, so the time of its thoughts is not known; nor is it of recorded answers
        without `reasoning_s`.

    Example:
        `tolerance = "10%"` allows the tuned model to be a tenth slower.

    Options:
        None.
    """
    if completion.latency_s is None:
        return Score.unscored("the completion was not timed")
    known = {"batch_size": completion.batch_size, "output_tokens": completion.output_tokens}
    parts = {name: float(value) for name, value in known.items() if value is not None}
    parts |= share_of_thoughts(completion, completion.latency_s, completion.reasoning_s)
    return Score.of(completion.latency_s, parts=parts or None)
