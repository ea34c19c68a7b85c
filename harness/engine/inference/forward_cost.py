"""Forward cost: what a forward of a model costs besides its tokens.

It is counted in tokens. Padding that costs less than a forward more is worth it; a guess that saves
a forward may cost as many tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

TOKENS = {"cpu": 60.0}
"""Kind of device → tokens. Linear layers of SmolLM2-135M in their usual order have 53 rows' on two
cores (35 ms for 8 rows, 178 ms for 256), packed ones, with the rest of a forward, 20 to 35. From 25
to 60 the seconds of 48 answers are the same within 5 %."""
TOKENS_ELSEWHERE = 1000.0
"""The same on an accelerator, where a few hundred tokens are computed in the time of one."""


def forward_cost(model: Any) -> float:
    """Return what a forward of a model costs besides its tokens, counted in tokens."""
    return TOKENS.get(model.device.type, TOKENS_ELSEWHERE)


def group_by_length(lengths: Sequence[int], cost: float) -> list[list[int]]:
    """Split rows into forwards so that tokens, padding included, and forwards cost the least.

    A forward pads its rows to the longest of them. In the order of lengths its rows are neighbours,
    and rows of one length are together, since exchanging two rows for that never costs more. So the
    least cost of the n greatest lengths follows from that of fewer of them.

    Args:
        lengths: Tokens of each row.
        cost: What a forward costs besides its tokens, counted in tokens.

    Returns:
        The indices of each forward's rows, the longest rows first.
    """
    rows: dict[int, list[int]] = {}
    for i, length in enumerate(lengths):
        rows.setdefault(length, []).append(i)
    sizes = sorted(rows, reverse=True)
    before = [0, *accumulate(len(rows[size]) for size in sizes)]
    # Of the first n lengths: their cost, and where the last of their forwards begins.
    least, begins = [0.0], [0]
    for end in range(1, len(sizes) + 1):
        costs = [
            least[start] + sizes[start] * (before[end] - before[start]) + cost
            for start in range(end)
        ]
        least.append(min(costs))
        begins.append(costs.index(least[end]))
    groups: list[list[int]] = []
    end = len(sizes)
    while end:
        groups.append([i for size in sizes[begins[end] : end] for i in rows[size]])
        end = begins[end]
    return groups[::-1]
