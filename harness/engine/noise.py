"""The noise floor of inexact arithmetic: base asked again on the way the tuned arm is asked.

In bfloat16, float16 or quantised weights a batch's shape and a draft's verification move logits in
the last digits, and now and then a greedy answer with them. A further arm, `base_again`, repeats a
sample of base's questions as the tuned arm is asked them (drafted, in its own batches); how far its
scores lie from base's is what arithmetic alone does. In float32 there is nothing to measure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.manifest import BASE_AGAIN
from harness.model import Arm, LocalArm
from harness.records import sha256

SAMPLE = 50
"""Cases of a suite that base answers again."""
_EXACT = ("float32", "float64")


def with_base_again(arms: Mapping[str, Arm]) -> dict[str, Arm]:
    """Return the arms, and `base_again` where base computes here in an inexact number format."""
    base = arms["base"]
    local = isinstance(base, LocalArm) and isinstance(arms.get("tuned"), LocalArm)
    if not local or base.identity.get("dtype") in _EXACT:
        return dict(arms)
    return {**arms, BASE_AGAIN: base}


def sampled(cases: Iterable[str], *, suite: str, seed: int) -> frozenset[str]:
    """Return the cases that base answers again: at most 50, by the hash of seed and id."""
    ordered = sorted(cases, key=lambda case: sha256(["noise", seed, suite, case]))
    return frozenset(ordered[:SAMPLE])
