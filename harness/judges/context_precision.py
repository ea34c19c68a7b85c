"""Whether the retrieved passages are useful, and the useful ones come first."""

from __future__ import annotations

from pathlib import Path

from tunegate.harness.contracts.judge import (
    TEXT,
    Steps,
    format_conversation,
    judge,
    question,
    retrieved_chunks,
)
from tunegate.harness.contracts.judge_examples import ExampleForm
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

PROMPT = Path(__file__).with_suffix(".txt")
MOST_PASSAGES = 20
_VALUES = {"yes": 1.0, "no": 0.0}


@judge(
    range=(0.0, 1.0),
    requires=("expected",),
    examples=ExampleForm(
        {"prompt": "A request", "expected": "The right answer", "passage": "A passage"},
        tuple(_VALUES),
    ),
)
def context_precision(case: Case, completion: Completion) -> Steps:
    """Score how far up the useful ones of the retrieved passages are: their average precision.

    What it does:
        Asks about each passage separately whether it helps to reach the expected answer. The score
        is the mean of the precision at the rank of each useful one. Passages are the results of an
        episode's calls in order, or else the case's context. Nothing retrieved, and nothing useful,
        is 0. `parts` has the share of useful passages.

    Why:
        Useless passages distract, and cost tokens (RAGAS calls it context precision).

    Known problems:
        A fixed context gives both arms the same score: gate on its level, or on its difference if
        the model itself retrieves, in episodes.

    Example:
        Useful, useless, useful: (1/1 + 2/3) / 2 = 0.833.

    Options:
        None.
    """
    passages = retrieved_chunks(case, completion)[:MOST_PASSAGES]
    if not passages:
        return Score.of(0.0, "nothing was retrieved")
    expected = "\n".join(case.expected_texts())
    replies = yield [
        question(
            PROMPT,
            "verdict",
            data={"prompt": format_conversation(case), "expected": expected, "passage": passage},
            fields={"reason": TEXT, "verdict": {"enum": list(_VALUES)}},
            choice="verdict",
        )
        for passage in passages
    ]
    useful = [reply.expected(_VALUES) for reply in replies]
    return Score.of(
        _average_precision(useful),
        parts={"useful": sum(useful) / len(useful), "passages": float(len(useful))},
    )


def _average_precision(useful: list[float]) -> float:
    """Return the mean of the precision at each rank, weighted by how useful its passage is."""
    total = sum(useful)
    if total == 0:
        return 0.0
    at_ranks = (sum(useful[: k + 1]) / (k + 1) * value for k, value in enumerate(useful))
    return sum(at_ranks) / total
