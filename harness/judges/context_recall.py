"""Whether the retrieved passages support the expected answer."""

from __future__ import annotations

from collections.abc import Sequence
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
MOST_CLAIMS = 40
_CLAIM = {"type": "string", "minLength": 1, "maxLength": 1000}
_VALUES = {"yes": 1.0, "no": 0.0}


@judge(
    range=(0.0, 1.0),
    requires=("expected",),
    examples=ExampleForm({"passages": "The passages", "claim": "A claim"}, tuple(_VALUES)),
)
def context_recall(case: Case, completion: Completion) -> Steps:
    """Score the share of the expected answer's claims that the retrieved passages support.

    What it does:
        Splits the expected answer into claims and asks about each whether the passages support it.
        Passages are the results of an episode's calls, or else the case's context. Nothing
        retrieved is 0. Arms with the same passages are asked about once.

    Why:
        An answer can be no better than the passages found for it, so this separates retrieval from
        writing (RAGAS calls it context recall).

    Known problems:
        A fixed context gives both arms the same score: gate on its level, or on its difference if
        the model itself retrieves, in episodes.

    Example:
        Two of three claims are in the passages: 0.667.

    Options:
        None.
    """
    passages = retrieved_chunks(case, completion)
    if not passages:
        return Score.of(0.0, "nothing was retrieved")
    expected = "\n".join(case.expected_texts())
    data = {"prompt": format_conversation(case), "expected": expected}
    claims_field = {"claims": {"type": "array", "items": _CLAIM, "maxItems": MOST_CLAIMS}}
    (listed,) = yield [question(PROMPT, "claims", data=data, fields=claims_field)]
    claims: Sequence[str] = list(dict.fromkeys(listed.fields["claims"]))
    if not claims:
        return Score.unscored("abstention: the expected answer makes no claim")
    replies = yield [
        question(
            PROMPT,
            "verdict",
            data={"passages": "\n\n".join(passages), "claim": claim},
            fields={"evidence": TEXT, "verdict": {"enum": list(_VALUES)}},
            choice="verdict",
        )
        for claim in claims
    ]
    missing = [c[:120] for c, r in zip(claims, replies, strict=True) if r.verdict == "no"]
    return Score.of(
        sum(reply.expected(_VALUES) for reply in replies) / len(claims),
        "; ".join(f"not retrieved: {c!r}" for c in missing) or None,
        parts={"claims": float(len(claims)), "passages": float(len(passages))},
    )
