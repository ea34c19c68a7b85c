"""Base again: base answers a sample of its requests twice, which measures the noise floor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tunegate.harness.contracts.further_arm import BASE_AGAIN, FurtherArm

if TYPE_CHECKING:
    from tunegate.harness.contracts.model import Arm

ORDER = 40

_EXACT = ("float32", "float64")


def _derive(arms: Mapping[str, Arm]) -> Arm | None:
    """Return base, to be asked again, where it computes here in an inexact number format."""
    from tunegate.harness.contracts.model import LocalArm

    base = arms["base"]
    local = isinstance(base, LocalArm) and isinstance(arms.get("tuned"), LocalArm)
    return base if local and base.identity.get("dtype") not in _EXACT else None


base_again = FurtherArm(name=BASE_AGAIN, derive=_derive, sampled=True, timed=False, reported=False)
