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
            if func is torch.ops.aten.bmm.default:
                self.peak = max(self.peak, self.now + sum(map(_copied, args)))
            return result

    return Tracker()


def _copied(operand: Any) -> int:
    """Return the bytes of the copy that a processor's product of batches makes of an operand.

    A weight that stands for every row of a batch is copied once a row: so it is with logits of the
    last tokens alone, where torch multiplies in bfloat16 (`--float32_matmul_precision medium`).
    """
    size = int(operand.numel() * operand.element_size())
    return size if operand.size(0) > 1 and operand.stride(0) == 0 else 0
