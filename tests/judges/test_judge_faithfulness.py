"""faithfulness: claims, verdicts with quotations that are checked, abstentions that are no 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunegate.harness.contracts.judge import JudgeQuestion, ParsedReply
from tunegate.harness.records.cases import Case

CONTEXT = "The parcel left Hamburg on 3 May.  It was\ninsured for 200 euros."
CASE = Case(id="c1", prompt="Where is my parcel?", context=CONTEXT)


def answering(verdicts: dict[str, tuple[str, str]]) -> Callable[[JudgeQuestion], dict[str, Any]]:
    def answer(question: JudgeQuestion) -> dict[str, Any]:
        if question.step == "claims":
            return {"claims": list(verdicts)}
        claim = next(c for c in verdicts if f"\n{c}\n<</claim" in question.text)
        verdict, evidence = verdicts[claim]
        return {"evidence": evidence, "verdict": verdict}

    return answer


def test_the_score_is_the_supported_share(judged: Any) -> None:
    """One of three claims is supported: 1/3, and the parts tell the other two."""
    verdicts = {
        "It left Hamburg.": ("supported", "left Hamburg on 3 May"),
        "It was insured for 100 euros.": ("contradicted", "insured for 200 euros"),
        "It is blue.": ("not_found", ""),
    }

    outcome, asked = judged("faithfulness", CASE, "Three claims.", answer=answering(verdicts))

    third = pytest.approx(1 / 3)
    assert outcome.score.value == third
    assert outcome.score.parts == {
        "supported": third,
        "contradicted": third,
        "not_found": third,
        "claims": 3.0,
        "made_up_quotes": 0.0,
    }
    assert outcome.score.reason == (
        "contradicted: 'It was insured for 100 euros.'; not found: 'It is blue.'"
    )
    assert [q.step for q in asked] == ["claims"] + ["verdict"] * 3


@pytest.mark.parametrize(
    ("evidence", "value"),
    [
        ("left Hamburg on 3 May", 1.0),
        ('"LEFT hamburg  on 3 May."', 1.0),
        ("It was insured", 1.0),  # over the end of a line
        ("left Hamburg … 200 euros", 1.0),
        ("left Bremen on 3 May", 0.0),
        ("left Hamburg … 100 euros", 0.0),
        ("", 0.0),
        ("...", 0.0),
    ],
)
def test_a_quotation_must_stand_in_the_context(judged: Any, evidence: str, value: float) -> None:
    verdicts = {"A claim.": ("supported", evidence)}

    outcome, _ = judged("faithfulness", CASE, "A claim.", answer=answering(verdicts))

    assert outcome.score.value == value
    assert outcome.score.parts["made_up_quotes"] == 1.0 - value


@pytest.mark.parametrize("text", ["", "  \n", None])
def test_silence_is_an_abstention_without_a_question(judged: Any, text: str | None) -> None:
    """An empty answer is unscored, not faithful."""
    outcome, asked = judged("faithfulness", CASE, text, answer=answering({}))

    assert outcome.status == "abstained"
    assert outcome.score.value is None
    assert asked == []


def test_no_claims_is_an_abstention(judged: Any) -> None:
    """'I think so.' says nothing that could be true or false: unscored, never 1."""
    outcome, _ = judged("faithfulness", CASE, "I think so.", answer=answering({}))

    assert outcome.status == "abstained"
    assert outcome.score.reason == "abstention: the answer makes no claim"


def test_sentences_can_stand_for_claims(judged: Any) -> None:
    """`split = "sentences"` asks no claims question: two sentences, two verdicts."""
    verdicts = {"It left Hamburg.": ("supported", "Hamburg"), "It is blue!": ("not_found", "")}

    outcome, asked = judged(
        "faithfulness",
        CASE,
        "It left Hamburg. It is blue!",
        answer=answering(verdicts),
        split="sentences",
    )

    assert outcome.score.value == 0.5
    assert [q.step for q in asked] == ["verdict", "verdict"]


def test_probabilities_need_no_quotation(finished: Any) -> None:
    """A local judge gives the probability of "supported": 0.6 and 0.2 are 0.4 on average."""
    claims = ParsedReply({"claims": ["a", "b"]})
    first = {"supported": 0.6, "contradicted": 0.1, "not_found": 0.3}
    second = {"supported": 0.2, "contradicted": 0.1, "not_found": 0.7}
    weighed = [
        ParsedReply({"verdict": "supported"}, "verdict", first),
        ParsedReply({"verdict": "not_found"}, "verdict", second),
    ]

    score = finished("faithfulness", CASE, "a. b.", rounds=[[claims], weighed])

    assert score.value == pytest.approx(0.4)


def test_all_claims_in_one_call_score_as_single_calls_do(judged: Any) -> None:
    """Supported with a true quotation, supported with a made-up one, not found: 1/3, two calls."""
    case = Case(id="c", prompt="When?", context="It opened in 1931. It is red.")
    said = [("opened in 1931", "supported"), ("is blue", "supported"), ("", "not_found")]

    def answer(question: JudgeQuestion) -> dict[str, Any]:
        if question.step == "claims":
            return {"claims": ["It opened in 1931.", "It is blue.", "It is tall."]}
        return {"verdicts": [
            {"number": n, "evidence": words, "verdict": verdict}
            for n, (words, verdict) in enumerate(said, start=1)
        ]}  # fmt: skip

    outcome, asked = judged("faithfulness", case, "Long ago.", batched=True, answer=answer)

    assert outcome.score.value == pytest.approx(1 / 3)
    assert outcome.score.parts["made_up_quotes"] == pytest.approx(1 / 3)
    assert [q.step for q in asked] == ["claims", "verdicts"]
    assert (asked[1].verdicts, "maxItems" in str(asked[1].schema)) == (3, False)
