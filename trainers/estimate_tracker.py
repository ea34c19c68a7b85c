"""Bytes of tensors that are alive while code runs, and the most there were at one time."""

from __future__ import annotations

import weakref
from typing import Any


def tracker() -> Any:
    """Return a context in which every new storage is counted from its making to its end.

    Under torch's `FakeTensorMode` nothing is computed and no memory is taken, while shapes, types
    and lifetimes are those of the real run; so the peak of a training can be found from a model's
    configuration alone. `keep(tensor)` counts what was there before, `now` and `peak` are in bytes.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_map_only
    from torch.utils.weak import WeakIdKeyDictionary

    mode: Any = TorchDispatchMode  # not annotated in torch

    class Tracker(mode):  # type: ignore[misc]  # likewise
        def __init__(self) -> None:
            super().__init__()
            self.now = 0
            self.peak = 0
            self.known = WeakIdKeyDictionary()

        def keep(self, tensor: torch.Tensor) -> None:
            storage = tensor.untyped_storage()
            if storage in self.known:
                return
            size = storage.nbytes()
            self.known[storage] = size
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.drop, size)

        def drop(self, size: int) -> None:
            self.now -= size

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            tree_map_only(torch.Tensor, self.keep, result)
            return result

    return Tracker()
