"""Whether the passages that an answer cites support what it cites them for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.judge import TEXT, Steps, judge, question
from tunegate.harness.contracts.judge_examples import ExampleForm
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

PROMPT = Path(__file__).with_suffix(".txt")
MOST_STATEMENTS = 40
_VALUES = {"supported": 1.0, "partly": 0.5, "not_supported": 0.0}
_MARK = re.compile(r"\[(\d+(?:\s*[,;]\s*\d+)*)\]")
_CHUNK = re.compile(r"^\[(\d+)\]", re.MULTILINE)
# a mark behind a full stop belongs to the sentence before it
_SENTENCE = re.compile(r"(?<=[.!?\]])\s+(?!\[\d)|\n+")


def check_passages(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return the cases whose context has no numbered passages."""
    bare = [case.id for case in cases if not _CHUNK.search(case.context or "")]
    if not bare:
        return []
    more = f" and {len(bare) - 1} more" if len(bare) > 1 else ""
    return [
        f"case {bare[0]!r}{more}: the context has no numbered passages; begin each on a line of "
        "its own with its number, such as [1]"
    ]


@judge(
    range=(0.0, 1.0),
    requires=("context",),
    check=check_passages,
    examples=ExampleForm({"passages": "The passages", "statement": "A statement"}, tuple(_VALUES)),
)
def citations(case: Case, completion: Completion) -> Steps:
    """Score the share of the cited sentences that the passages they cite support.

    What it does:
        Splits the answer into sentences and asks for each that cites passages (`[1]`, `[2, 3]`)
        whether those, and no others, support it: 1, 0.5 in part, 0 not. A number without a passage
        is 0, without asking. `parts` has the share of the sentences that cite and the share of
        numbers without a passage. An answer that cites nothing is 0, an empty one is unscored.

    Why:
        A right sentence with a wrong source is wrong where people follow the sources (ALCE, arXiv
        2305.14627, calls it citation precision).

    Known problems:
        Whether everything that needs a citation has one is not judged; `parts` only has the share.

    Example:
        Two cited sentences, one of them citing a passage about something else: 0.5.

    Options:
        None.
    """
    text = (completion.text or "").strip()
    if not text:
        return Score.unscored("abstention: the answer is empty")
    passages = _passages(case.context or "")
    sentences = [part.strip() for part in _SENTENCE.split(text) if part.strip()]
    cited = [(s, _numbers(s)) for s in sentences if _numbers(s)][:MOST_STATEMENTS]
    if not cited:
        return Score.of(0.0, "it cites nothing", parts={"cited": 0.0, "unknown": 0.0})
    valid = [(s, numbers) for s, numbers in cited if all(n in passages for n in numbers)]
    replies = yield [
        question(
            PROMPT,
            "verdict",
            data={
                "passages": "\n\n".join(passages[n] for n in numbers),
                "statement": _MARK.sub("", sentence).strip(),
            },
            fields={"reason": TEXT, "verdict": {"enum": list(_VALUES)}},
            choice="verdict",
        )
        for sentence, numbers in valid
    ]
    values = [reply.expected(_VALUES) for reply in replies]
    wrong = [s[:120] for (s, _), r in zip(valid, replies, strict=True) if _VALUES[r.verdict] < 1]
    wrong += [s[:120] for s, numbers in cited if any(n not in passages for n in numbers)]
    return Score.of(
        sum(values) / len(cited),
        "; ".join(f"not supported: {s!r}" for s in wrong) or None,
        parts={
            "cited": len(cited) / len(sentences),
            "unknown": 1 - len(valid) / len(cited),
        },
    )


def _passages(context: str) -> dict[str, str]:
    """Return number → passage of a context."""
    pieces = _CHUNK.split(context)
    return {n: text.strip() for n, text in zip(pieces[1::2], pieces[2::2], strict=True)}


def _numbers(sentence: str) -> list[str]:
    """Return the numbers that a sentence cites, each once."""
    found = [n for mark in _MARK.findall(sentence) for n in re.split(r"\s*[,;]\s*", mark)]
    return list(dict.fromkeys(found))
