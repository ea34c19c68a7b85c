"""Models that are in the notebook's memory already, as arms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from tunegate.harness.contracts.model import Arm
from tunegate.harness.records.errors import UsageError

InMemory = tuple[Any, Any]
"""A Transformers or PEFT model with its tokenizer."""


@contextmanager
def open_in_memory(base: str | InMemory | None, tuned: InMemory) -> Iterator[Mapping[str, Arm]]:
    """Yield the arms, with the models in evaluation mode; they are left as they were.

    Args:
        base: A model in memory, the spec of one on disk, or None for tuned without its adapter.
        tuned: The fine-tune.

    Raises:
        UsageError: base is missing, or PEFT has changed it in place.
        ModelError: base cannot be loaded.
    """
    from tunegate.harness.models._model_folder import resolve_folder
    from tunegate.harness.models.live import (
        LiveArm,
        adapter_of,
        base_apart,
        live_arm,
        live_model,
    )
    from tunegate.trainers.evaluation_mode import evaluation_mode

    def whole(model: Any, tokenizer: Any, name: str) -> LiveArm:
        loaded = live_model(model, tokenizer, adapter=None)
        return LiveArm(f"{name} in memory", loaded, loaded.tokenizer, whole=True)

    adapter = adapter_of(tuned[0])
    if base is None and adapter is None:
        raise UsageError("base=None: tuned has no adapter to switch off; give the base model")
    if isinstance(base, tuple) and _share_weights(base[0], tuned[0]):
        raise UsageError(
            "base and tuned share their weights, which PEFT changes in place; leave base out "
            "(None): it is tuned without its adapter"
        )
    with ExitStack() as modes:
        modes.enter_context(evaluation_mode(tuned[0]))
        if base is None:
            loaded = live_model(*tuned, adapter=adapter)
            yield {"base": live_arm(loaded, None), "tuned": live_arm(loaded, adapter)}
            return
        arm = whole(*tuned, "tuned")
        if isinstance(base, str):
            yield {"base": base_apart(resolve_folder(base), arm.loaded), "tuned": arm}
            return
        modes.enter_context(evaluation_mode(base[0]))
        yield {"base": whole(*base, "base"), "tuned": arm}


def _share_weights(one: Any, other: Any) -> bool:
    return bool({id(p) for p in one.parameters()} & {id(p) for p in other.parameters()})
