"""Reference: what the weights on the disk compute, and would with other scales of an adapter.

Log-probabilities of the token after fixed pieces of text, by Transformers and PEFT in this process.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.contracts.model import LocalArm


def expected_logprobs(arm: LocalArm, prefixes: Sequence[Sequence[Sequence[int]]]) -> Any:
    """Return log-probabilities of the token after each prefix, float32 [places, vocabulary]."""
    import torch

    with arm.active() as model, torch.inference_mode():
        return _next_logprobs(model, prefixes).cpu().numpy()


def _next_logprobs(model: Any, prefixes: Sequence[Sequence[Sequence[int]]]) -> Any:
    import torch

    texts = [list(text[-1]) for text in prefixes]
    width = max(map(len, texts))
    # What follows a position in a causal model does not matter to it, so no mask is needed.
    filled = [text + text[-1:] * (width - len(text)) for text in texts]
    batch = torch.tensor(filled, device=model.device)
    logits = model(input_ids=batch, use_cache=False).logits
    # From the end: virtual tokens of an adapter are at the front.
    front = logits.shape[1] - width
    rows = [
        torch.log_softmax(row[[front + len(prefix) - 1 for prefix in text]].float(), dim=-1)
        for row, text in zip(logits, prefixes, strict=True)
    ]
    return torch.cat(rows)


def shared_values(
    reported: Sequence[Mapping[int, float]], expected: Any
) -> Iterator[tuple[Any, Any]]:
    """Yield, of each place, the served values and those of the same tokens by the files."""
    import numpy as np

    for served, row in zip(reported, expected, strict=True):
        ids = sorted(token for token in served if token < len(row))
        yield np.array([served[token] for token in ids]), np.asarray(row)[ids].astype(float)


@dataclass(frozen=True, slots=True)
class ServedError:
    """How far a served arm is from its files; all in nats but the last two."""

    size: float
    """Root mean square of served − expected."""
    movement: float
    """Root mean square of tuned − base, over the same tokens; 0 where there is one arm alone."""
    along: float
    """Part of the error along the fine-tune, in sizes of the fine-tune."""
    spread: float
    """Standard error of `along`, the places being independent."""

    @property
    def ratio(self) -> float:
        """The error as a share of what the fine-tune changes."""
        return self.size / self.movement if self.movement else math.inf


def served_error(
    reported: Sequence[Mapping[int, float]], expected: Any, ends: tuple[Any, Any] | None
) -> ServedError:
    """Compare log-probabilities with the expected ones.

    Args:
        reported: Place → token → log-probability, as served.
        expected: The same by the files, [places, vocabulary].
        ends: Those of base and of tuned by their files; None if there is no other arm.
    """
    import numpy as np

    x = [served - files for served, files in shared_values(reported, expected)]
    size = float(np.sqrt(np.mean(np.concatenate(x) ** 2)))
    if ends is None:
        return ServedError(size, 0.0, 0.0, 0.0)
    base, tuned = ([files for _, files in shared_values(reported, end)] for end in ends)
    d = [t - b for t, b in zip(tuned, base, strict=True)]
    total = sum(float(row @ row) for row in d)
    if not total:
        return ServedError(size, 0.0, 0.0, 0.0)
    along = sum(float(row @ way) for row, way in zip(x, d, strict=True)) / total
    apart = (float(row @ way) - along * float(way @ way) for row, way in zip(x, d, strict=True))
    spread = math.sqrt(sum(value * value for value in apart)) / total
    movement = float(np.sqrt(np.mean(np.concatenate(d) ** 2)))
    return ServedError(size, movement, along, spread)


def served_arithmetic(arm: LocalArm) -> str:
    """Return how coarsely a server of an arm's weights computes: `16 bit`, or `8 bit`.

    llama.cpp multiplies quantised weights by activations in 8 bits.
    """
    return "8 bit" if any(kind not in _WHOLE for kind in _stored(arm)) else "16 bit"


_WHOLE = ("F32", "F16", "BF16")


def _stored(arm: LocalArm) -> Collection[str]:
    """Return the storage types of a GGUF file; none for a folder."""
    stored = getattr(arm, "identity", {}).get("stored")
    return stored if isinstance(stored, Mapping) else ()


def in_served_arithmetic(arm: LocalArm) -> contextlib.AbstractContextManager[None]:
    """Return a context in which a model computes as coarsely as a server of its weights does."""
    if served_arithmetic(arm) == "16 bit":
        return in_bfloat16(arm)
    return in_eight_bits(arm, 256 if any(kind.endswith("_K") for kind in _stored(arm)) else 32)


@contextlib.contextmanager
def in_eight_bits(arm: LocalArm, block: int) -> Iterator[None]:
    """Round what goes into each linear layer to 8 bits a block, as llama.cpp does.

    Blocks are of 32 numbers (Q8_0), and of 256 for K-quants (Q8_K): `vec_dot_type` in
    ggml/src/ggml-cpu/ggml-cpu.c.
    """
    import torch

    def rounded(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        values = inputs[0]
        if values.shape[-1] % block:
            return None
        blocks = values.reshape(*values.shape[:-1], -1, block)
        step = (blocks.abs().amax(dim=-1, keepdim=True) / 127).clamp_min(1e-30)
        return ((blocks / step).round() * step).reshape(values.shape), *inputs[1:]

    with arm.active() as model:
        layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    handles = [layer.register_forward_pre_hook(rounded) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def in_bfloat16(arm: LocalArm) -> Iterator[None]:
    """Round a model's weights to bfloat16 and compute in it; afterwards it has float32 again."""
    import torch

    with arm.active() as model:
        weights = [p for p in model.parameters() if p.is_floating_point()]
    with torch.no_grad():
        for weight in weights:
            weight.data = weight.data.to(torch.bfloat16)
        try:
            yield
        finally:
            for weight in weights:
                weight.data = weight.data.float()


@dataclass(frozen=True)
class AdapterLayers:
    """The layers that an adapter wraps, each with its scale: PEFT multiplies B·A by it."""

    name: str
    layers: Mapping[str, Any]
    """Full name of the module → the layer."""
    scales: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, arm: Any) -> AdapterLayers:
        """Find the layers of an arm's adapter."""
        with arm.active() as model:
            layers = {
                name: module
                for name, module in model.named_modules()
                if isinstance(getattr(module, "scaling", None), dict)
                and arm.adapter in module.scaling
            }
        return cls(arm.adapter, layers, {n: m.scaling[arm.adapter] for n, m in layers.items()})

    @property
    def kinds(self) -> list[str]:
        """Last names of the wrapped modules, such as `q_proj`."""
        return sorted({name.rpartition(".")[2] for name in self.layers})

    @contextlib.contextmanager
    def scaled(self, factor: Callable[[str], float]) -> Iterator[None]:
        """Multiply each layer's scale by a factor of its name."""
        try:
            for name, layer in self.layers.items():
                layer.scaling[self.name] = self.scales[name] * factor(name)
            yield
        finally:
            for name, layer in self.layers.items():
                layer.scaling[self.name] = self.scales[name]

    def logprobs(
        self,
        arm: LocalArm,
        prefixes: Sequence[Sequence[Sequence[int]]],
        factor: Callable[[str], float],
    ) -> Any:
        """Return what the arm would give with other scales."""
        with self.scaled(factor):
            return expected_logprobs(arm, prefixes)
