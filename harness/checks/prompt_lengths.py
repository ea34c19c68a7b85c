"""Prompt lengths: arms that got the same prompts count the same tokens.

Both arms may report how many tokens a prompt had, in recorded answers or behind servers that render
messages themselves. One tokenizer gives equal prompts equal counts, or counts apart by a constant
of one or two (the start token). Two tokenizers differ in nearly every prompt, and by a share of it.
What neither explains is another prompt: examples or a system prompt for one arm, a hint in some
cases. Cases with images and episodes are left out: servers count images in their own ways, and
later turns depend on the answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from statistics import median
from typing import Any

from tunegate.harness.checks.recorded_requests import SHOWN, prompt_origin
from tunegate.harness.contracts.further_arm import INCUMBENT, SHIPPED
from tunegate.harness.contracts.model import Arm
from tunegate.harness.contracts.result_set import results_of
from tunegate.harness.records.answers import CellKind, StoredAnswer
from tunegate.harness.records.errors import NotComparable
from tunegate.harness.records.wording import count_noun

_PAIRS = (("base", "tuned"), ("base", INCUMBENT), ("tuned", SHIPPED))
"""Arms that must get the same prompts."""
COUNTED_APART = 2
"""Tokens by which two counts of one prompt may differ: a start and an end token."""
ONE_TOKENIZER = 0.5
"""Share of cases with one difference, from which on the tokenizers are the same."""
LONGEST_RATIO = 2.0
"""Ratio of two tokenizers' total counts of the same prompts."""
_REMEDY = (
    "give both arms the same prompts, or, if only their tokenizers count differently, compare them "
    "anyway with --allow-prompt-difference"
)


@dataclass
class PromptLengths:
    """Token counts of the prompts of one suite by two arms."""

    suite: str
    names: tuple[str, str]
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Case → its tokens in both arms."""

    @property
    def different(self) -> int:
        """How many cases have two counts."""
        return sum(ours != theirs for ours, theirs in self.counts.values())

    @property
    def problem(self) -> str:
        """What no tokenizer explains; empty if nothing."""
        if not self.different:
            return ""
        gaps = {case: theirs - ours for case, (ours, theirs) in self.counts.items()}
        usual, cases = Counter(gaps.values()).most_common(1)[0]
        if cases < ONE_TOKENIZER * len(gaps):
            totals = [*map(sum, zip(*self.counts.values(), strict=True))]
            apart = max(totals) > LONGEST_RATIO * min(totals)
            return f"{self.medians}, more than tokenizers explain" if apart else ""
        odd = [case for case, gap in gaps.items() if abs(gap - usual) > COUNTED_APART]
        if odd:
            ours, theirs = self.counts[odd[0]]
            shown = ", ".join(map(repr, odd[:SHOWN])) + (", …" if len(odd) > SHOWN else "")
            return (
                f"prompts of {len(odd)} of {count_noun(len(gaps), 'case')} differ in length "
                f"({shown}): {odd[0]!r} has {ours} tokens in {self.names[0]} and {theirs} in "
                f"{self.names[1]}"
            )
        if abs(usual) > COUNTED_APART:
            longer, shorter = self.names[::-1] if usual > 0 else self.names
            return f"prompts of {longer} are {abs(usual)} tokens longer than those of {shorter}"
        return ""

    @property
    def medians(self) -> str:
        """The typical length in each arm."""
        ours, theirs = (median(lengths) for lengths in zip(*self.counts.values(), strict=True))
        one, other = self.names
        return f"prompts have a median of {ours:g} tokens in {one} and {theirs:g} in {other}"


def compare_prompt_lengths(
    arms: Mapping[str, Arm], answers: Iterable[StoredAnswer]
) -> tuple[PromptLengths, ...]:
    """Return the suites and arms whose prompts are counted differently.

    `answers` are grouped by suite.
    """
    pairs = [pair for pair in _PAIRS if {*pair} <= arms.keys() and _are_unseen(arms, pair)]
    lengths_of_arms: list[PromptLengths] = []
    for suite, group in groupby(answers, key=lambda answer: answer.cell.suite) if pairs else ():
        counts: dict[str, dict[str, int]] = {}
        for answer in group:
            done, cell = answer.completion, answer.cell
            if done is None or cell.kind is not CellKind.GENERATE or cell.sample:
                continue
            if done.input_tokens and done.episode is None:  # 0 is a cached prompt
                counts.setdefault(cell.arm, {})[cell.case] = done.input_tokens
        for pair in pairs:
            ours, theirs = (counts.get(name, {}) for name in pair)
            shared = {case: (ours[case], theirs[case]) for case in ours if case in theirs}
            lengths_of_arms.append(PromptLengths(suite, pair, shared))
    return tuple(lengths for lengths in lengths_of_arms if lengths.different)


def refuse_other_lengths(lengths: Iterable[PromptLengths]) -> None:
    """Refuse arms whose prompts differ in length in a way that no tokenizer explains."""
    for one in lengths:
        if one.problem:
            raise NotComparable(f"{one.suite}: {one.problem}; {_REMEDY}")


def _are_unseen(arms: Mapping[str, Arm], pair: Sequence[str]) -> bool:
    """Return whether the prompts of two arms were not both rendered here, where they are compared.

    Other tools count in their own ways, and their prompts are compared by hash.
    """
    return any(prompt_origin(arms[name]) != "here" for name in pair) and not any(
        results_of(arms[name]) for name in pair
    )


def without_proof(
    comparability: Mapping[str, Any], lengths: Sequence[PromptLengths]
) -> dict[str, Any]:
    """Return what is known of the prompts, where lengths differ: they are not proven equal."""
    notes = [
        f"{of_suite.suite}: {of_suite.problem or of_suite.medians}: prompts taken on trust"
        for of_suite in lengths
    ]
    count = sum(of_suite.different for of_suite in lengths)
    return {
        **comparability,
        "status": "declared",
        "on_trust": max(count, comparability.get("on_trust", 0)),
        "note": "; ".join(filter(None, [comparability.get("note"), *notes])),
    }
