"""Memory of one training step on fake tensors, and the tracker of live bytes.

The model is made from its configuration with tensors that have shapes and no content (torch's
`FakeTensorMode`), an adapter is put in by PEFT, and the trainer's forwards and its loss
(`tunegate.trainers.estimate.losses`), a backward and AdamW run over it, so that nothing about an
architecture is a formula of ours. Linear layers of a
quantised base are NF4 with double quantisation: 4 bits a weight, and for every 64 weights one byte,
for every 64 · 256 four more (Dettmers et al., 2023, QLoRA, section 3).
"""

from __future__ import annotations

import warnings
import weakref
from dataclasses import dataclass, replace
from typing import Any

from tunegate.harness import lookup
from tunegate.harness.environment import cache_name
from tunegate.harness.errors import UsageError, error_reason
from tunegate.trainers.estimate.losses import TrainingStep

METHODS = ("lora", "qlora", "full")
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes a weight."""


@dataclass(frozen=True, slots=True)
class TrainingSetting:
    """One way of training."""

    method: str
    rank: int
    """Of the adapter; without meaning for `full`."""
    length: int
    """Tokens a row."""
    batch: int
    """Rows a step on one device: of DPO pairs, of GRPO answers."""
    dtype: str = "float32"
    """Of the weights."""
    trainer: str = "sft"
    """Name of the training, as `tunegate train` calls it."""
    written: int = 0
    """Tokens at the end of each row that GRPO writes itself."""


@dataclass(frozen=True, slots=True)
class StepMemory:
    """Bytes of tensors."""

    weights: int
    """Of base and adapter."""
    trained: int
    """Gradients and AdamW's two moments of what is trained."""
    activations: int
    """Memory kept for the backward at the moment of the loss, logits included."""
    peak: int
    """The most there is at one time, temporary tensors included."""
    parameters: int
    """Numbers that are trained."""
    packed: int = 0
    """Bytes, before that, of what is quantised: read from the file once, and not used again."""


def simulate_step(config: Any, setting: TrainingSetting) -> StepMemory:
    """Return what a step takes.

    Args:
        config: Transformers' configuration of the base.
        setting: How it is trained.

    Raises:
        UsageError: the architecture cannot be computed without weights.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model, causal = _model(config, setting)
            packed = _quantise(model) if setting.method == "qlora" else 0
            with FakeTensorMode(allow_non_fake_inputs=True):
                return replace(_step(model, causal, setting), packed=packed)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{config.model_type}: its memory does not follow from its configuration "
                f"({error_reason(error):.120})"
            ) from error


def cache_bytes(config: Any, dtype: str = "float32") -> int:
    """Return the bytes of keys and values (or states) for one row of 128 tokens, a token.

    Args:
        config: Transformers' configuration of the base.
        dtype: Of keys and values.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    _, causal = _model(config, TrainingSetting("full", 0, 128, 1, dtype))
    with warnings.catch_warnings(), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        warnings.simplefilter("ignore")
        causal.to_empty(device="cpu")
        read = causal(torch.zeros(1, 128, dtype=torch.long), use_cache=True)
        cache = getattr(read, cache_name())
        held = [t for layer in cache.layers for t in (layer.keys, layer.values)]
        return int(sum(t.numel() * t.element_size() for t in held)) // 128


def _model(config: Any, setting: TrainingSetting) -> tuple[Any, Any]:
    """Return the model that is trained, and the causal model in it, on the meta device."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        auto: Any = AutoModelForCausalLM  # not annotated
        causal = auto.from_config(config, dtype=getattr(torch, setting.dtype))
        if setting.method == "full":
            return causal, causal
        from peft import LoraConfig, get_peft_model

        adapter = LoraConfig(
            r=setting.rank,
            lora_dropout=0.05,  # TRL's default; dropout keeps a mask and a copy of every input
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        return get_peft_model(causal, adapter, low_cpu_mem_usage=True), causal


def _step(model: Any, causal: Any, setting: TrainingSetting) -> StepMemory:
    """Run two steps, of which the second has the optimiser's state from its beginning."""
    import torch

    step_loss = lookup.ordered_modules("tunegate.trainers")[setting.trainer].step_loss
    model.to_empty(device="cpu")
    causal.tie_weights()
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained)
    ids = torch.zeros(setting.batch, setting.length, dtype=torch.long)
    memory = memory_tracker()
    for tensor in (*model.parameters(), *model.buffers()):
        memory.keep(tensor)
    weights = memory.now
    with memory:
        for _ in range(2):
            before = memory.now
            loss = step_loss(TrainingStep(model, causal, ids, setting.written))
            activations = memory.now - before
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0, foreach=False)
            optimiser.step()
            optimiser.zero_grad()
            del loss
    sizes = sum(p.numel() * p.element_size() for p in trained)
    return StepMemory(
        weights=weights,
        trained=3 * sizes,
        activations=activations,
        peak=memory.peak,
        parameters=sum(p.numel() for p in trained),
    )


def _quantise(model: Any) -> int:
    """Put in the place of each frozen linear layer under an adapter one of 4 bits.

    Return the bytes of what was replaced. The adapter is in bfloat16, as TRL leaves it on a
    quantised base.
    """
    import torch

    replaced = 0
    for module in list(model.modules()):
        if hasattr(module, "base_layer"):
            replaced += module.base_layer.weight.numel() * module.base_layer.weight.element_size()
            module.base_layer = _four_bits(module.base_layer)
    for p in model.parameters():
        if p.requires_grad:
            p.data = p.data.to(torch.bfloat16)
    return replaced


def _four_bits(linear: Any) -> Any:
    """Return a layer that, like bitsandbytes', unpacks its weight forwards and backwards."""
    import torch

    shape = tuple(linear.weight.shape)
    if hasattr(linear, "nf"):  # GPT-2's layers hold their weights the other way round
        shape = shape[::-1]
    size = int(linear.weight.numel() * _NF4)

    class UnpackedLinear(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Any) -> Any:
            return torch.nn.functional.linear(x, torch.empty(shape, dtype=x.dtype))

        @staticmethod
        def backward(context: Any, *gradients: Any) -> Any:
            (gradient,) = gradients
            return gradient @ torch.empty(shape, dtype=gradient.dtype)

    class FourBitLinear(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("packed", torch.empty(size, dtype=torch.uint8, device="meta"))

        def forward(self, x: Any) -> Any:
            return UnpackedLinear.apply(x)  # type: ignore[no-untyped-call]  # torch's is not annotated

    return FourBitLinear()


def memory_tracker() -> Any:
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

    class MemoryTracker(mode):  # type: ignore[misc]  # likewise
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
                self.peak = max(self.peak, self.now + sum(map(_copied_bytes, args)))
            return result

    return MemoryTracker()


def _copied_bytes(operand: Any) -> int:
    """Return the bytes of the copy that a processor's product of batches makes of an operand.

    A weight that stands for every row of a batch is copied once a row: so it is with logits of the
    last tokens alone, where torch multiplies in bfloat16 (`--float32_matmul_precision medium`).
    """
    size = int(operand.numel() * operand.element_size())
    return size if operand.size(0) > 1 and operand.stride(0) == 0 else 0
