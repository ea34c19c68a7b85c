"""Adapter fit: which module of the loaded base each tensor of an adapter belongs to.

PEFT would silently skip a tensor that has no module, or several; here it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunegate.harness.models.adapters.tensor_names import (
    SHARED,
    ModuleIndex,
    UnknownPart,
    core_name,
    plain_name,
    split_name,
)
from tunegate.harness.records.errors import ModelError, NotComparable

_ONE_EXPERT = re.compile(r"\.experts\.\d+\.")


@dataclass(frozen=True)
class AdapterTensor:
    """One tensor of an adapter's file and its module in the base."""

    key: str
    """Its name in the file."""
    module: str
    """Name of its module in the base; empty for a tensor that all modules share."""
    part: str
    """Its kind: `lora_A.weight`, `weight` …"""
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name by which PEFT reads it for this base."""
        if not self.module:
            return f"{SHARED}{self.part}"
        return f"base_model.model.{self.module}.{self.part}"


@dataclass(frozen=True)
class AdapterFit:
    """How an adapter's tensors and configuration are put onto a base."""

    tensors: tuple[AdapterTensor, ...]
    whole: frozenset[str]
    """Modules whose full weights are in the file, though the configuration does not name them."""
    unchanged: frozenset[str]
    """Names of tensors that are base's own, bit for bit: PEFT saves embeddings with an adapter."""
    left_out: frozenset[str] = frozenset()
    """Names of tensors of unused parts of base, such as a vision tower."""

    @property
    def translated(self) -> bool:
        """Whether PEFT would not find everything by itself, or would write into base."""
        other_names = any(one.key != one.name for one in self.tensors)
        return other_names or bool(self.whole or self.unchanged or self.left_out)

    @property
    def loaded(self) -> Iterator[AdapterTensor]:
        """The tensors that are not base's own."""
        return (one for one in self.tensors if one.key not in self.unchanged)


def fit_adapter(spec: str, folder: Path, base: Any, config: Mapping[str, Any]) -> AdapterFit:
    """Find the module of every tensor."""
    from safetensors import safe_open

    model = base.torch_model
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    modules = ModuleIndex.of(plain)
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        shapes = {key: tuple(file.get_slice(key).get_shape()) for key in sorted(file.keys())}
    try:
        blocks = bool(config.get("use_bdlora"))
        dropped: frozenset[str] = getattr(plain, "left_out", frozenset())
        unused = frozenset(
            key for key in shapes if core_name(plain_name(key)).split(".")[0] in dropped
        )
        if unused == shapes.keys():
            raise ModelError(f"{spec}: trains only parts that text does not use: {min(unused)}")
        fitting = {key: shape for key, shape in shapes.items() if key not in unused}
        tensors = [
            _match_tensor(key, shape, modules, blocks=blocks) for key, shape in fitting.items()
        ]
        if biased := _trained_bias(tensors, config):
            raise ModelError(f"{spec}: not supported: {biased}")
        if added := _added_tokens(tensors, modules):
            raise NotComparable(f"{spec}: {added}")
        unchanged = frozenset(_copies_of_base(tensors, folder, modules))
        if config.get("task_type") == "SEQ_CLS":  # PEFT makes a copy of the head in any case
            kept = tuple(config.get("modules_to_save") or ())
            unchanged -= {tensor.key for tensor in tensors if tensor.module.endswith(kept)}
    except UnknownPart as error:
        kind = config.get("peft_type")
        raise ModelError(f"{spec}: a {kind} adapter with unknown tensors: {error}") from None
    except LookupError as error:
        raise NotComparable(
            f"{spec} does not fit {base.folder}: {error}; it has another base"
        ) from None
    saved = config.get("modules_to_save") or ()
    whole = {
        tensor.module
        for tensor in tensors
        if tensor.part == "weight" and tensor.key not in unchanged
    }
    whole -= {module for module in whole if any(module.endswith(name) for name in saved)}
    tensors += _tied_heads(tensors, whole, plain)
    return AdapterFit(tuple(tensors), frozenset(whole), unchanged, unused)


def _tied_heads(
    tensors: Sequence[AdapterTensor], whole: Collection[str], model: Any
) -> list[AdapterTensor]:
    """Return the head's weights where a file has only the embeddings that the head is tied to.

    Embeddings that were named in `modules_to_save` were trained apart from the head.
    """
    embeddings = getattr(model.get_input_embeddings(), "weight", None)
    same = [
        name
        for name, module in model.named_modules()
        if getattr(module, "weight", None) is embeddings is not None
    ]
    present = {tensor.module for tensor in tensors if tensor.part == "weight"}
    tied = [tensor for tensor in tensors if tensor.module in same and tensor.module in whole]
    return [
        replace(tensor, module=name) for tensor in tied[:1] for name in same if name not in present
    ]


def _added_tokens(tensors: Sequence[AdapterTensor], modules: ModuleIndex) -> str | None:
    """Return what to do if base lacks tokens that were added before the training.

    Where the file has all of the embeddings instead of base's, they are loaded; where it has
    changes to embeddings, those must have as many rows as base's.
    """
    parts = ("original_module.weight", "base_layer.weight", "token_adapter.base_layer.weight")
    for tensor in tensors:
        module = modules.by_name.get(tensor.module)
        weight: Any = getattr(getattr(module, "base_layer", module), "weight", None)
        same = (
            weight is None
            or tensor.part not in parts
            or len(tensor.shape) != 2
            or weight.dim() != 2
        )
        if not same and weight.shape[0] != tensor.shape[0] and weight.shape[1] == tensor.shape[1]:
            return (
                f"its {tensor.module} has {tensor.shape[0]} rows and base's {weight.shape[0]}: "
                "tokens were added before the training; give as base the model that has them "
                "(resize_token_embeddings, then save_pretrained), or the merged model as tuned"
            )
    return None


def _trained_bias(tensors: Sequence[AdapterTensor], config: Mapping[str, Any]) -> str | None:
    """Return what to do about an adapter that trained base's own biases; None if it did not."""
    way, saved = config.get("bias") or "none", tuple(config.get("modules_to_save") or ())
    biases = (
        tensor.key
        for tensor in tensors
        if tensor.part in ("bias", "base_layer.bias") and not tensor.module.endswith(saved)
    )
    first = None if way == "none" else next(biases, None)
    if first is None:
        return None
    return (
        f"bias={way!r} trains base's own biases, such as {first}; merge it, and give the merged "
        "model as tuned"
    )


def _copies_of_base(
    tensors: Sequence[AdapterTensor], folder: Path, modules: ModuleIndex
) -> Iterator[str]:
    """Yield the names of whole weights that are those of the base, in the file's number format."""
    from safetensors import safe_open

    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        for tensor in tensors:
            if tensor.part not in ("weight", "base_layer.weight", "original_module.weight"):
                continue
            module = modules.by_name.get(tensor.module)
            mine: Any = getattr(getattr(module, "base_layer", module), "weight", None)
            theirs = file.get_tensor(tensor.key)
            same = mine is not None and mine.shape == theirs.shape
            if same and bool((mine.to(theirs.dtype).cpu() == theirs).all()):
                yield tensor.key
            elif tensor.part != "weight":
                raise LookupError(f"its copy of {tensor.module} holds other weights")


def _match_tensor(
    key: str, shape: tuple[int, ...], modules: ModuleIndex, *, blocks: bool = False
) -> AdapterTensor:
    """Find a tensor's module and compare their sizes, which block-diagonal LoRA has in parts."""
    module, part = split_name(plain_name(key))
    if f"{module}." == SHARED and part:
        return AdapterTensor(key, "", part, shape)
    if part.startswith("modules_to_save."):
        part = part.removeprefix("modules_to_save.")
    if _ONE_EXPERT.search(module) and module not in modules.by_name:
        return AdapterTensor(key, module, part, shape)  # PEFT converts them, or differences show
    name = modules.find(module)
    side = next((p for p in ("lora_A.", "lora_B.") if part.startswith(p)), None)
    sides = _sides(modules.by_name[name])
    if side and sides is not None and len(sides) == len(shape) == 2 and not blocks:
        size = shape[-1] if side == "lora_A." else shape[0]
        if size not in sides:
            raise LookupError(f"{module} is {list(sides)}, the adapter's side {size}")
    return AdapterTensor(key, name, part, shape)


def _sides(module: Any) -> tuple[int, ...] | None:
    """Return the shape of a module's weight as it computes; quantised, it is stored in another."""
    module = getattr(module, "base_layer", module)
    if hasattr(module, "out_features"):
        return (int(module.out_features), int(module.in_features))
    weight = getattr(module, "weight", None)
    return None if weight is None else tuple(weight.shape)
