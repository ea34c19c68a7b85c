"""Sample of cases that base is asked again, to measure the noise floor of inexact arithmetic.

In bfloat16, float16 or quantised weights a batch's shape and a draft's verification move logits in
the last digits, and now and then a greedy answer with them. The further arm `base_again` repeats a
sample of base's questions as the tuned arm is asked them (drafted, in its own batches); how far its
scores are from base's is what arithmetic alone does. In float32 there is nothing to measure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from tunegate.harness.records.hashing import sha256

ALL_AGAIN = 400
"""Up to this many cases, all are asked again."""
SHARE_AGAIN = 0.5
"""Share of more cases.

The uncertainty of the noise floor is part of every claimed difference: with these numbers it costs
up to 2 points of power from 400 cases on where base never differs from itself, and 2 to 7 where it
does on one case in a hundred. A quarter of the cases would cost up to 24 points.
"""


def noise_sample(
    cases: Iterable[str], *, suite: str, seed: int, size: int | None = None
) -> frozenset[str]:
    """Return the cases that sampled arms are asked, drawn by the hash of seed and id."""
    ordered = sorted(cases, key=lambda case: sha256(["noise", seed, suite, case]))
    wanted = max(ALL_AGAIN, math.ceil(SHARE_AGAIN * len(ordered))) if size is None else size
    return frozenset(ordered[:wanted])
