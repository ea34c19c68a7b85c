"""How much of a suite was written by template: prompts that agree once fillings are masked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_FILLING = re.compile(r"\"[^\"]*\"|\S*@\S*|\S*\d\S*|(?<!^)(?<![.!?:] )\b[A-Z]\w*")
"""Quotations, addresses, numbers and ids, and names: capitals that begin no sentence."""
_NEAR = 0.6
"""Jaccard index of two sets of words from which the prompts count as one template."""


def largest_template(prompts: Sequence[str]) -> float:
    """Return the share of prompts in the largest group that hangs together by near agreement."""
    words = [frozenset(re.findall(r"[\w']+", _FILLING.sub(" ", p).lower())) for p in prompts]
    group = list(range(len(prompts)))
    for right, mine in enumerate(words):
        for left in range(right):
            if group[left] != group[right] and _near(words[left], mine):
                old, new = group[right], group[left]
                group = [new if g == old else g for g in group]
    return max(Counter(group).values()) / len(prompts)


def commonest_opening(prompts: Sequence[str], length: int = 3) -> float:
    """Return the share of prompts that begin with the same words."""
    openings = Counter(" ".join(p.lower().split()[:length]) for p in prompts)
    return max(openings.values()) / len(prompts)


def _near(left: frozenset[str], right: frozenset[str]) -> bool:
    return len(left & right) >= _NEAR * len(left | right)
