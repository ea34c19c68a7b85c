"""Whether tuned's answer is better than base's, compared in both orders."""

from __future__ import annotations

import math
from pathlib import Path

from tunegate.harness.contracts.judge import (
    TEXT,
    JudgeQuestion,
    Steps,
    format_conversation,
    judge,
    question,
)
from tunegate.harness.contracts.judge_examples import ExampleForm
from tunegate.harness.judges._checks import refuse_empty
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

PROMPT = Path(__file__).with_suffix(".txt")
_LABELS = ("first", "second", "tie")
_FOR_FIRST = {"first": 1.0, "second": -1.0, "tie": 0.0}


@judge(
    range=(0.0, 1.0),
    check=refuse_empty("criteria", "describe what makes an answer better"),
    pairs=True,
    examples=ExampleForm({"first": "The first answer", "second": "The second answer"}, _LABELS),
)
def pairwise(
    case: Case,
    base: Completion,
    tuned: Completion,
    *,
    criteria: str = "The better one does what the request asks, correctly and completely.",
) -> Steps:
    """Score which of the two answers is better: 1 and 0, or 0.5 each for a tie.

    What it does:
        Asks twice, once with base's answer first and once with tuned's. A verdict that changes with
        the order is a tie. Tuned's advantage d, from -1 to 1, becomes the scores (1 - d) / 2 and
        (1 + d) / 2, whose difference is d. Identical answers are a tie without asking. `parts` has
        both verdicts as advantages of tuned, the first slot's share of the wins, and the logarithm
        of the length ratio.

    Why:
        Judge models compare more reliably than they grade, but prefer a position: GPT-4 kept its
        verdict on only two thirds of swapped pairs (MT-Bench, arXiv 2306.05685).

    Known problems:
        A preference for length remains: read the difference together with its length-adjusted form.

    Example:
        Tuned wins in both orders: base 0, tuned 1. It only wins when it is first: 0.5 each.

    Options:
        criteria: What makes an answer better, in a sentence.
    """
    texts = {"base": (base.text or "").strip(), "tuned": (tuned.text or "").strip()}
    ratio = math.log((len(texts["tuned"]) + 1) / (len(texts["base"]) + 1))
    if texts["base"] == texts["tuned"]:
        return Score.of(0.0, "the answers are the same", parts={"log_length_ratio": 0.0})
    base_first, tuned_first = yield [
        _ask(case, texts["base"], texts["tuned"], criteria),
        _ask(case, texts["tuned"], texts["base"], criteria),
    ]
    ab, ba = -base_first.expected(_FOR_FIRST), tuned_first.expected(_FOR_FIRST)
    reasons = [r for reply in (base_first, tuned_first) if (r := reply.said("reason"))]
    return Score.of(
        (ab + ba) / 2,
        " / ".join(reasons) or None,
        parts={
            "base_first": ab,
            "tuned_first": ba,
            "first_slot": (ba - ab) / 2,
            "log_length_ratio": ratio,
        },
    )


def _ask(case: Case, first: str, second: str, criteria: str) -> JudgeQuestion:
    return question(
        PROMPT,
        "verdict",
        data={"prompt": format_conversation(case), "first": first, "second": second},
        author_text={"criteria": criteria},
        fields={"reason": TEXT, "verdict": {"enum": list(_LABELS)}},
        choice="verdict",
    )
