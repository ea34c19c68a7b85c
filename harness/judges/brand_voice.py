"""Whether the answer speaks in the brand's voice, rule by rule of its style guide."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.judge import (
    TEXT,
    ParsedReply,
    Steps,
    batch_fields,
    format_numbered,
    judge,
    question,
)
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

PROMPT = Path(__file__).with_suffix(".txt")
MOST_RULES = 20
_VALUES = {"on_brand": 1.0, "mixed": 0.5, "off_brand": 0.0}
_KEPT = {"kept": 1.0, "broken": 0.0}
_OTHER = "does_not_apply"
_VERDICT = {"reason": TEXT, "verdict": {"enum": list(_VALUES)}}
_RULE = {"reason": TEXT, "verdict": {"enum": [*_KEPT, _OTHER]}}
_ITEM = re.compile(
    r"^[ \t]*(?:[-*+]|\d+[.)])[ \t]+(\S.*(?:\n[ \t]+(?![-*+][ \t]|\d+[.)])\S.*)*)", re.M
)


def check_guide(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return what is wrong with the guide."""
    guide = options["guide"]
    try:
        text = guide.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        return [f"{guide}: not UTF-8 at byte {error.start}"]
    if not text.strip():
        return [f"{guide}: is empty"]
    n = len(rules_of(text))
    many = f"{guide}: has {n} rules, which are its list items; at most {MOST_RULES}"
    return [many] if n > MOST_RULES else []


@judge(range=(0.0, 1.0), check=check_guide)
def brand_voice(
    case: Case,
    completion: Completion,
    *,
    guide: Path,
    examples: tuple[str, ...] = (),
    batched: bool = False,
) -> Steps:
    """Score the share of the style guide's rules that the answer keeps.

    What it does:
        The guide's list items are its rules. It asks about each rule separately: kept, broken, or
        does not apply to this answer and is left out. `parts` has the rules by number. A guide
        without list items is judged as a whole: 1 on brand, 0.5 mixed, 0 off brand. An empty
        answer, and one to which no rule applies, is unscored.

    Why:
        Many fine-tunes are made for their voice; rule by rule the score shows what was lost, and a
        pleasant answer does not make up for a broken rule.

    Known problems:
        With most judge models examples weigh more than rules: give several, on different subjects.
        `format` is better at rules that can be counted (length, exclamation marks).

    Example:
        `guide = "voice.md"` with seven list items, one of them broken: 0.857.

    Options:
        guide: The style guide, a text file next to suite.toml, its rules as a list.
        examples: Texts in the voice.
        batched: Ask for all rules in one call, which is cheaper; `tunegate judge calibrate`
            measures how well its verdicts agree with single calls.
    """
    text = (completion.text or "").strip()
    if not text:
        return Score.unscored("abstention: the answer is empty")
    written = guide.read_text(encoding="utf-8").strip()
    rules = rules_of(written)
    author_text = {"guide": written, "rules": format_numbered(rules),
            "examples": "\n\n".join(examples) or "(none are given)"}  # fmt: skip
    data = {"completion": text}
    if not rules:
        template = question(
            PROMPT, "voice", data=data, author_text=author_text, fields=_VERDICT, choice="verdict"
        )
        (reply,) = yield [template]
        return Score.of(reply.expected(_VALUES), reply.said("reason"))
    if batched:
        template = question(
            PROMPT, "rules", data=data, author_text=author_text, fields=batch_fields(_RULE)
        )
        (listed,) = yield [replace(template, verdicts=len(rules))]
        return _score(rules, listed.each("verdict"))
    template = question(
        PROMPT, "rule", data=data, author_text=author_text, fields=_RULE, choice="verdict"
    )
    replies = yield [replace(template, ask=f"Rule {n}.") for n in range(1, len(rules) + 1)]
    return _score(rules, replies)


def rules_of(guide: str) -> tuple[str, ...]:
    """Return the list items of a guide: lines that start with a mark or a number."""
    return tuple(" ".join(found[1].split()) for found in _ITEM.finditer(guide))


def _score(rules: Sequence[str], replies: Sequence[ParsedReply]) -> Score:
    values = {n: _value(reply) for n, reply in enumerate(replies, start=1)}
    applicable = {n: value for n, value in values.items() if value is not None}
    if not applicable:
        return Score.unscored("abstention: no rule of the guide applies to the answer")
    broken = [
        f"rule {n}, {rules[n - 1][:80]!r}: {reply.said('reason') or 'broken'}"
        for n, reply in enumerate(replies, start=1)
        if reply.verdict == "broken"
    ]
    return Score.of(
        sum(applicable.values()) / len(applicable),
        "; ".join(broken) or None,
        parts={f"rule {n}": value for n, value in applicable.items()},
    )


def _value(reply: ParsedReply) -> float | None:
    """Return 1 for a kept rule, 0 for a broken one, or the mean under a local model's weights."""
    if reply.verdict == _OTHER:
        return None
    if reply.weights is None:
        return _KEPT[reply.verdict]
    applies = sum(reply.weights[name] for name in _KEPT)
    return sum(reply.weights[name] * value for name, value in _KEPT.items()) / applies
