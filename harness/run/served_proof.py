"""Served proof: whether a server has the model that is in the folder that its spec names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tunegate.harness.contracts.model import Arm, ServedArm

if TYPE_CHECKING:
    from tunegate.harness.models.servers.identity import OpenArms, ServedIdentity


def prove_served(
    arms: Mapping[str, Arm], opened: OpenArms, report: Callable[[str], None]
) -> ServedIdentity | None:
    """Prove that every served arm is the model in its folder; None if no arm is served.

    Args:
        arms: The opened arms, base among them.
        opened: Opens folders with Transformers, in float32.
        report: Takes a line to show before the weights are read.

    Raises:
        NotComparable: an arm differs from its files; the message names the cause.
        BackendError: the server does not answer.
    """
    if not any(isinstance(arm, ServedArm) for arm in arms.values()):
        return None
    from tunegate.harness.models._model_folder import models_on_cpu
    from tunegate.harness.models.servers.identity import ServedIdentity

    def exactly(specs: Mapping[str, str]) -> Mapping[str, Arm]:
        with models_on_cpu(needed=_served_here(arms)):
            return opened(specs)

    return ServedIdentity.prove(arms, exactly, report)


def _served_here(arms: Mapping[str, Arm]) -> bool:
    """Return whether an arm is served on this machine, so that the GPU's memory may be taken."""
    from tunegate.harness.models.servers.target import is_this_machine

    served = (arm for arm in arms.values() if isinstance(arm, ServedArm))
    return any(is_this_machine(arm.address) for arm in served)
