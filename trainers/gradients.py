"""Does the first step of a training reach any weight? Asked at once, not after the last one."""

from __future__ import annotations

from typing import Any

from harness.errors import TunegateError


def callback() -> Any:
    """Return a callback that ends a training of which the first step has no gradient.

    Raises:
        TunegateError: at the first step, from `trainer.train`.
    """
    from transformers import TrainerCallback

    class Gradients(TrainerCallback):
        def __init__(self) -> None:
            self.seen = False

        def on_pre_optimizer_step(
            self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
        ) -> None:
            if self.seen or model is None:
                return
            self.seen = True
            trained = [weight for weight in model.parameters() if weight.requires_grad]
            if not trained:
                raise TunegateError("nothing is trained: no weight of the model takes a gradient")
            if all(weight.grad is None for weight in trained):
                raise TunegateError(
                    f"the first step reached none of {len(trained)} trained tensors: no gradient "
                    "arrives; a quantised base may compute with kernels that have none"
                )

    return Gradients()
