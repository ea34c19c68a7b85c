"""Prompted: base with its best prompt, which may make the training superfluous."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tunegate.harness.contracts.further_arm import PROMPTED, TEACHER, FurtherArm
from tunegate.harness.records.errors import UsageError

if TYPE_CHECKING:
    from tunegate.harness.contracts.model import Arm

ORDER = 50


def _derive(arms: Mapping[str, Arm]) -> Arm:
    """Return base, to be asked with another prompt."""
    from tunegate.harness.contracts.model import RecordedArm

    base = arms["base"]
    if isinstance(base, RecordedArm):
        raise UsageError(
            f"{PROMPTED}: base's answers are recorded ({base.identity.get('spec')}), and a record "
            f"answers no other prompt; name a model as base, or give recorded answers to that "
            f"prompt as the {TEACHER}"
        )
    return base


prompted = FurtherArm(name=PROMPTED, derive=_derive, reference=True, needs_prompt=True)
