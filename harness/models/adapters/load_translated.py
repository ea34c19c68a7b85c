"""Load adapters whose tensors are named after another class than the base's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.models.adapters.adapter_fit import AdapterFit
from tunegate.harness.models.adapters.tensor_names import core_name, split_name

_FULL = re.compile(r"(?:weight|bias)$")


def translate_config(config: Any, fit: AdapterFit, model: Any) -> None:
    """Write the base's names into PEFT's configuration, in place.

    Each trained module is named, whatever expression chose it. Its rank is that of its tensors.
    """
    trained = dict(model.named_modules())
    parameters = {name for name, _ in model.named_parameters()}
    alphas = dict(config.alpha_pattern)
    ranks, targets, exact = {}, set(), {}
    for tensor in fit.tensors:
        if not tensor.part.startswith(("lora_A.", "lora_embedding_A")):
            continue
        if getattr(trained.get(tensor.module), "weight", None) is None:
            continue  # experts: parameters of their module
        targets.add(tensor.module)
        pattern = f"^{re.escape(tensor.module)}"
        ranks[pattern] = tensor.shape[0]
        alpha = _pattern_value(alphas, tensor.key)
        if alpha is not None:
            exact[pattern] = alpha
    config.target_modules = targets or None
    config.exclude_modules = config.layers_to_transform = config.layers_pattern = None
    config.rank_pattern = {**ranks, **{core_name(k): v for k, v in config.rank_pattern.items()}}
    config.alpha_pattern = {**exact, **{core_name(k): v for k, v in alphas.items()}}
    parameter_names = config.target_parameters or ()
    config.target_parameters = [_suffix(name, parameters) for name in parameter_names] or None
    saved = {tensor.module for tensor in fit.loaded if _FULL.fullmatch(tensor.part)}
    config.modules_to_save = sorted(saved) or None
    tokens = getattr(config, "trainable_token_indices", None)
    if isinstance(tokens, dict):
        config.trainable_token_indices = {core_name(name): ids for name, ids in tokens.items()}


def _pattern_value(patterns: Mapping[str, Any], key: str) -> Any:
    """Return the value of the first pattern that matches a module, as PEFT matches them."""
    name = split_name(key.removeprefix("base_model.model."))[0]
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            return value
    return None


def _suffix(name: str, parameters: set[str]) -> str:
    """Return a parameter's name, or the end of it, as the base has it."""
    known = any(full == name or full.endswith(f".{name}") for full in parameters)
    return name if known else core_name(name)


def load_translated(fit: AdapterFit, folder: Path, model: Any, name: str) -> None:
    """Read an adapter's file into a PEFT model that has its (empty) adapter already.

    Modules whose full weights are in the file may have more rows than the base's: new tokens.
    """
    import torch
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    values = load_file(folder / "adapter_model.safetensors")
    wrappers = {
        key.removeprefix("base_model.model."): module.modules_to_save[name]
        for key, module in model.named_modules()
        if name in (getattr(module, "modules_to_save", None) or ())
    }
    for tensor in fit.loaded:
        if tensor.module in wrappers and _FULL.fullmatch(tensor.part):
            copy, value = wrappers[tensor.module], values[tensor.key]
            old = getattr(copy, tensor.part)
            if old.shape != value.shape:
                grown = torch.nn.Parameter(old.new_empty(value.shape), requires_grad=False)
                setattr(copy, tensor.part, grown)
                for size in ("num_embeddings", "out_features"):
                    if hasattr(copy, size):
                        setattr(copy, size, value.shape[0])
    state = {tensor.name: values[tensor.key] for tensor in fit.loaded}
    set_peft_model_state_dict(model, state, adapter_name=name)


def differing_tensors(fit: AdapterFit, folder: Path, model: Any, name: str) -> Iterator[str]:
    """Name the tensors that the model's adapter does not hold as the file has them.

    Tensors of experts that PEFT fuses are compared as PEFT converts them.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    values = load_file(folder / "adapter_model.safetensors")
    wanted = {tensor.name: values[tensor.key] for tensor in fit.loaded}
    held = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    wanted = _convert(wanted, model, name)
    yield from (f"{key} is missing from the adapter's file" for key in sorted(held.keys() - wanted))
    yield from (f"{key} does not belong to the model" for key in sorted(wanted.keys() - held))
    for key in sorted(held.keys() & wanted):
        mine, theirs = held[key], wanted[key].to(held[key].device, held[key].dtype)
        if mine.shape != theirs.shape or not mine.allclose(theirs, rtol=0, atol=0, equal_nan=True):
            yield f"{key} is not what the file holds"


def _convert(values: dict[str, Any], model: Any, name: str) -> dict[str, Any]:
    try:
        from peft.utils.transformers_weight_conversion import (
            convert_peft_adapter_state_dict_for_transformers,
        )
    except ImportError:  # an older PEFT converts nothing
        return values
    converted: dict[str, Any] = convert_peft_adapter_state_dict_for_transformers(
        model=model,
        peft_config=model.peft_config[name],
        adapter_state_dict=values,
        adapter_name=name,
    )
    return converted
