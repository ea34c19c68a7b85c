"""Timing a model's forwards while something runs: how many, over how many tokens, how long."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Forward:
    """One forward."""

    rows: int
    tokens: int
    """Of each row, padding included."""
    seconds: float


@dataclass
class Watch:
    """The forwards that were seen."""

    seen: list[Forward] = field(default_factory=list)
    _depth: int = 0
    _started: float = 0.0

    @property
    def seconds(self) -> float:
        """All of their time."""
        return sum(forward.seconds for forward in self.seen)

    @property
    def steps(self) -> int:
        """How many wrote one token a row."""
        return sum(forward.tokens == 1 for forward in self.seen)

    def entered(self, *_: Any, **__: Any) -> None:
        """Begin to count time at the outermost module."""
        if self._depth == 0:
            self._started = time.perf_counter()
        self._depth += 1

    def left(self, module: Any, args: Any, kwargs: Any, out: Any) -> None:
        """End it there."""
        self._depth -= 1
        if self._depth == 0:
            spent = time.perf_counter() - self._started
            token_ids = kwargs.get("input_ids", args[0] if args else None)
            shape = (0, 0) if token_ids is None else (*token_ids.shape, 1)[:2]
            self.seen.append(Forward(int(shape[0]), int(shape[1]), spent))


@contextlib.contextmanager
def watched(model: Any) -> Iterator[Watch]:
    """Watch a model's forwards, also those of its backbone and its head alone.

    Args:
        model: A causal language model of Transformers, or PEFT's wrapper around one.
    """
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    watch = Watch()
    hooks = [
        hook
        # PEFT before 0.19 calls the base's method, which runs none of its hooks.
        for module in dict.fromkeys((model, inner, *inner.children()))
        for hook in (
            module.register_forward_pre_hook(watch.entered, with_kwargs=True),
            module.register_forward_hook(watch.left, with_kwargs=True),
        )
    ]
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()
