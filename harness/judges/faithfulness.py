"""Whether each claim of the answer is supported by the case's context."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tunegate.harness.contracts.judge import (
    TEXT,
    JudgeQuestion,
    ParsedReply,
    Steps,
    batch_fields,
    format_conversation,
    format_numbered,
    judge,
    question,
)
from tunegate.harness.contracts.judge_examples import ExampleForm
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

PROMPT = Path(__file__).with_suffix(".txt")
MOST_CLAIMS = 40
_CLAIM = {"type": "string", "minLength": 1, "maxLength": 1000}
_SUPPORTED = {"supported": 1.0, "contradicted": 0.0, "not_found": 0.0}
_FIELDS = {"evidence": TEXT, "verdict": {"enum": list(_SUPPORTED)}}
_ABSTAINED = "abstention: the answer makes no claim"
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_ELLIPSIS = re.compile(r"\s*(?:\.\.\.|…|\[…\])\s*")


@judge(
    range=(0.0, 1.0),
    requires=("context",),
    examples=ExampleForm({"context": "The source", "claim": "A claim"}, tuple(_SUPPORTED)),
)
def faithfulness(
    case: Case,
    completion: Completion,
    *,
    split: Literal["model", "sentences"] = "model",
    batched: bool = False,
) -> Steps:
    """Score the share of the answer's claims that the context supports.

    What it does:
        Splits the answer into claims, then asks about each separately: supported, contradicted or
        not found, with the words of the context that decide. A verdict whose words are not in the
        context counts as not found. `parts` has the shares of the three, the number of claims and
        the share of verdicts with a made-up quotation.

    Why:
        With one question per claim, an answer cannot talk the judge into an overall verdict, and
        the quotation is checked by rule (RAGAS and FActScore split the same way).

    Known problems:
        An answer without a claim is an unscored abstention, never 1: put a tolerance on `length` or
        `refusal` as well, or a model that learned to say nothing is not measured. A true claim
        that needs two parts of the context is easily "not found".

    Example:
        Two claims supported and one contradicted: 0.667.

    Options:
        split: `model` asks the judge for the claims, `sentences` takes each sentence as one (for
            small local judges).
        batched: Ask for all claims of an answer in one call, which is cheaper; `tunegate judge
            calibrate` measures how well its verdicts agree with single calls.
    """
    text = (completion.text or "").strip()
    if not text:
        return Score.unscored(_ABSTAINED)
    if split == "sentences":
        claims = split_sentences(text)[:MOST_CLAIMS]
    else:
        (listed,) = yield [_split(case, text)]
        claims = list(dict.fromkeys(listed.fields["claims"]))
    if not claims:
        return Score.unscored(_ABSTAINED)
    context = case.context or ""
    if batched:
        (listed,) = yield [_verdicts(claims, context)]
        return _score(claims, listed.each("verdict"), context)
    replies = yield [_verdict(claim, context) for claim in claims]
    return _score(claims, replies, context)


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text; a line break also ends one."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


def _split(case: Case, text: str) -> JudgeQuestion:
    return question(
        PROMPT,
        "claims",
        data={"prompt": format_conversation(case), "completion": text},
        fields={"claims": {"type": "array", "items": _CLAIM, "maxItems": MOST_CLAIMS}},
    )


def _verdict(claim: str, context: str) -> JudgeQuestion:
    return question(
        PROMPT,
        "verdict",
        data={"context": context, "claim": claim},
        fields=_FIELDS,
        choice="verdict",
    )


def _verdicts(claims: Sequence[str], context: str) -> JudgeQuestion:
    data = {"context": context, "claims": format_numbered(claims)}
    asked = question(PROMPT, "verdicts", data=data, fields=batch_fields(_FIELDS))
    return replace(asked, verdicts=len(claims))


def _score(claims: Sequence[str], replies: Sequence[ParsedReply], context: str) -> Score:
    made_up = [_is_made_up(reply, context) for reply in replies]
    verdicts = [
        "not_found" if invented else reply.verdict
        for reply, invented in zip(replies, made_up, strict=True)
    ]
    values = [
        0.0 if invented else reply.expected(_SUPPORTED)
        for reply, invented in zip(replies, made_up, strict=True)
    ]
    n = len(claims)
    shares = {name: verdicts.count(name) / n for name in _SUPPORTED}
    return Score.of(
        sum(values) / n,
        "; ".join(_unsupported_claims(claims, verdicts)) or None,
        parts={**shares, "claims": float(n), "made_up_quotes": sum(made_up) / n},
    )


def _is_made_up(reply: ParsedReply, context: str) -> bool:
    """Return whether a verdict rests on words that are not in the context."""
    if reply.weights is not None or reply.verdict == "not_found":
        return False
    wanted = [_plain(part) for part in _ELLIPSIS.split(reply.said("evidence") or "")]
    parts = [part for part in wanted if part]
    return not parts or any(part not in _plain(context) for part in parts)


def _plain(text: str) -> str:
    """Return a text without case, extra spaces and marks at its ends, which quotations change."""
    return " ".join(text.casefold().split()).strip(" \"'“”‘’«».,;:")


def _unsupported_claims(claims: Sequence[str], verdicts: Sequence[str]) -> Iterator[str]:
    """Yield the claims that are not supported, the worst first."""
    for wanted in ("contradicted", "not_found"):
        for claim, verdict in zip(claims, verdicts, strict=True):
            if verdict == wanted:
                yield f"{wanted.replace('_', ' ')}: {claim[:120]!r}"
