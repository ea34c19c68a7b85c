"""Strict reading: only text in exactly the form asked for is a reply."""

from __future__ import annotations

import json
import math

import pytest

from tunegate.harness.contracts.judge import TEXT, JudgeQuestion
from tunegate.harness.judges.asking.reply import UnreadableReply, parse_reply
from tunegate.harness.records.answers import Completion

NONCE = "5f1c09ab33de"
QUESTION = JudgeQuestion(
    "verdict",
    "system",
    "body",
    NONCE,
    {"reason": TEXT, "score": {"enum": [1, 2, 3]}},
    "score",
)
GOOD = {"nonce": NONCE, "reason": "fine", "score": 3}


def good(**changes: object) -> str:
    """Return a good reply with changes; None removes a key."""
    return json.dumps({k: v for k, v in {**GOOD, **changes}.items() if v is not None})


BAD = {
    "empty": "",
    "spaces": "  \n\t",
    "prose": "The answer is good, I would say 3.",
    "prose before": f"Here is my verdict: {good()}",
    "prose after": f"{good()} I hope this helps!",
    "fenced": f"```json\n{good()}\n```",
    "fenced plainly": f"```\n{good()}\n```",
    "thought before": f"<think>let me see</think>{good()}",
    "two objects": good() + good(),
    "two objects in lines": f"{good()}\n{good(score=1)}",
    "a list": f"[{good()}]",
    "a number": "3",
    "a text": '"3"',
    "null": "null",
    "true": "true",
    "cut": good()[:-5],
    "cut in a text": good()[:30],
    "single quotes": good().replace('"', "'"),
    "a comma too many": good().replace("}", ",}"),
    "a comment": good().replace("{", "{ // verdict\n"),
    "no quotes around keys": good().replace('"score"', "score"),
    "python": str(GOOD),
    "no nonce": good(nonce=None),
    "another nonce": good(nonce="000000000000"),
    "nonce as a list": good(nonce=[NONCE]),
    "nonce with a space": good(nonce=f"{NONCE} "),
    "no score": good(score=None),
    "no reason": good(reason=None),
    "score out of range": good(score=4),
    "score below": good(score=0),
    "score as text": good(score="3"),
    "score in words": good(score="three"),
    "score as a share": good(score=2.5),
    "score as a list": good(score=[3]),
    "score as true": good(score=True),
    "score in an object": good(score={"value": 3}),
    "NaN": good().replace("3}", "NaN}"),
    "Infinity": good().replace("3}", "Infinity}"),
    "a huge number": good().replace("3}", "1" * 5000 + "}"),
    "1e400": good().replace("3}", "1e400}"),
    "two scores": good().replace("}", ', "score": 1}'),
    "two nonces": good().replace("}", f', "nonce": "{NONCE}"}}'),
    "an extra verdict": good(verdict="pass"),
    "an extra score": good(final_score=3),
    "reason as a number": good(reason=3),
    "reason as null": good().replace('"fine"', "null"),
    "a reason of a book": good(reason="x" * 5000),
    "nested deep": "[" * 100_000,
    "html": "<html><body>502 Bad Gateway</body></html>",
    "a refusal": "I'm sorry, but I can't help with that.",
    "xml": f"<verdict nonce='{NONCE}'>3</verdict>",
    "yaml": f"nonce: {NONCE}\nreason: fine\nscore: 3",
    "byte order mark": "\ufeff" + good(),
    "the schema back": json.dumps(QUESTION.schema),
    "the question back": f"<<completion {NONCE}>> {good()} <</completion {NONCE}>>",
    "endless": good(reason="x") + " " * 300_000,
}


@pytest.mark.parametrize("text", BAD.values(), ids=list(BAD))
def test_a_bad_reply_is_no_score(text: str) -> None:
    with pytest.raises(UnreadableReply) as caught:
        parse_reply(QUESTION, Completion(text=text))

    assert 5 < len(str(caught.value)) < 400


def test_a_reply_cut_at_the_limit_is_refused_even_if_it_can_be_read() -> None:
    with pytest.raises(UnreadableReply, match="cut off at its token limit"):
        parse_reply(QUESTION, Completion(text=good(), finish_reason="length"))


@pytest.mark.parametrize(
    "text", [good(), f"\n  {good()}\n", json.dumps(GOOD, indent=2), good(score=3.0)]
)
def test_a_good_reply_is_read(text: str) -> None:
    """White space and JSON's other spelling of 3 change nothing."""
    reply = parse_reply(QUESTION, Completion(text=text))

    assert reply.fields == {"reason": "fine", "score": 3}
    assert reply.verdict == "3"
    assert reply.weights is None


def test_probabilities_of_verdicts_are_normalised() -> None:
    """ln 0.1, ln 0.2 and ln 0.1 are a quarter, a half and a quarter."""
    logprobs = tuple(map(math.log, (0.1, 0.2, 0.1)))

    reply = parse_reply(QUESTION, Completion(choice_logprobs=logprobs))

    assert reply.weights == pytest.approx({"1": 0.25, "2": 0.5, "3": 0.25})
    assert reply.fields == {"score": 2}
    assert reply.expected({"1": 0.0, "2": 0.5, "3": 1.0}) == pytest.approx(0.5)


def test_probabilities_of_other_verdicts_are_refused() -> None:
    with pytest.raises(UnreadableReply, match="2 probabilities for 3 verdicts"):
        parse_reply(QUESTION, Completion(choice_logprobs=(-1.0, -2.0)))
