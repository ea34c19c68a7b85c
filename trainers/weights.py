"""The weights that a training moves: did they move, and are they still numbers?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.errors import TunegateError


def sums(model: Any) -> dict[str, float]:
    """Return the sum of each tensor that is trained, to see later whether any has moved."""
    import torch

    trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    return {name: float(p.detach().sum(dtype=torch.float64)) for name, p in trained}


def check(model: Any, before: Mapping[str, float], *, rate: float) -> None:
    """Refuse weights that are not numbers, and weights that are what they were.

    Args:
        model: The trained model.
        before: `sums` of it before the first step.
        rate: The learning rate, for the message.

    Raises:
        TunegateError: with the option to change.
    """
    after = sums(model)
    if not all(math.isfinite(total) for total in after.values()):
        raise TunegateError(
            f"the training diverged: weights are not finite; lower learning_rate={rate}"
        )
    if after == before:
        raise TunegateError(
            f"the training changed nothing: no weight has moved; check learning_rate={rate} and "
            "the steps"
        )


def drop_reference(model: Any) -> None:
    """Take TRL's frozen copy of the first adapter off: it would be saved as a second adapter."""
    if "ref" in getattr(model, "peft_config", {}):
        model.delete_adapter("ref")
