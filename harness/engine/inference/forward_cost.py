"""Forward cost: the fixed cost of a model's forward, counted in tokens.

Padding is worth it as long as it costs less than another forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

TOKENS = {"cpu": 60.0}
"""Kind of device → tokens. Measured with SmolLM2-135M on two cores: 53, and 20 to 35 with packed
weights; 48 answers take the same time within 5 % with any value from 25 to 60."""
TOKENS_ELSEWHERE = 1000.0
"""The same on an accelerator, where a few hundred tokens are computed in the time of one."""


def forward_cost(model: Any) -> float:
    """Return what a forward of a model costs besides its tokens, counted in tokens."""
    return TOKENS.get(model.device.type, TOKENS_ELSEWHERE)


def group_by_length(lengths: Sequence[int], cost: float) -> list[list[int]]:
    """Sort rows by length and cut where their padding would cost more than another forward.

    Args:
        lengths: Tokens of each row.
        cost: What a forward costs besides its tokens, counted in tokens.
    """
    groups: list[list[int]] = []
    padding = 0.0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        padding += lengths[groups[-1][0]] - lengths[i] if groups else 0
        if not groups or padding > cost:
            groups.append([])
            padding = 0.0
        groups[-1].append(i)
    return groups
