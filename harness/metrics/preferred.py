"""Which of two answers people prefer."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(label="preferred by people", range=(0.0, 1.0), votes=True)
def preferred(case: Case, completion: Completion) -> Score:
    """Score which answer people prefer: their blind votes on pairs, after the run.

    Tuned's advantage d on a case is the mean of its votes: 1 tuned is better, -1 base is, 0 a tie.
    The arms score (1 - d) / 2 and (1 + d) / 2, so that their levels are shares of the votes with a
    tie as half a vote for each. Gates are undecided until the votes of all drawn cases are in.

    Known problems:
        People prefer long and polite answers; say in the question what makes an answer better.

    Example:
        `gain = 0.1` asks for a share of votes that exceeds base's by 10 points: 55 to 45 %.
    """
    return Score.unscored("nobody has voted: tunegate judge label RUN")
