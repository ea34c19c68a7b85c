"""Attach a PEFT adapter to a loaded model, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunegate.harness.models._load_model import refuse_nan
from tunegate.harness.models._model_folder import adapter_config, prefix_errors, require_modules
from tunegate.harness.models.adapters.adapter_fit import AdapterFit, fit_adapter
from tunegate.harness.models.adapters.load_translated import (
    differing_tensors,
    load_translated,
    translate_config,
)
from tunegate.harness.models.adapters.supported_kinds import refuse_unsupported_kind
from tunegate.harness.models.adapters.weight_files import refuse_unsafe
from tunegate.harness.models.transformers import LoadedModel
from tunegate.harness.records.errors import ModelError


def attach_adapter(
    loaded: LoadedModel, folder: Path, name: str, *, spec: str | None = None
) -> None:
    """Attach the adapter in `folder` under `name`, without training and in the base's precision."""
    require_modules("peft")
    refuse_unsafe(folder)
    config = adapter_config(folder)
    refuse_unsupported_kind(spec or str(folder), config)
    virtual = bool(config.get("num_virtual_tokens"))
    with prefix_errors(f"{folder}: the adapter cannot be attached"):
        fit = None if virtual else fit_adapter(spec or str(folder), folder, loaded, config)
        if fit is not None and fit.translated:
            _attach_translated(loaded, fit, folder, name)
        else:
            _attach(loaded, folder, name)
        if fit is None:
            wrong = _missing_tensors(loaded.torch_model, folder, name)
        else:
            wrong = next(differing_tensors(fit, folder, loaded.torch_model, name), None)
    if wrong:
        raise ModelError(f"{folder}: tensor {wrong}; save it again")
    loaded.torch_model.eval()
    refuse_nan(
        ((n, p) for n, p in loaded.torch_model.named_parameters() if name in n.split(".")), folder
    )


def _attach(loaded: LoadedModel, folder: Path, name: str) -> None:
    """Let PEFT read the adapter, whose names are those of the base."""
    from peft import PeftModel

    model = loaded.torch_model
    if hasattr(model, "peft_config"):
        model.load_adapter(folder, adapter_name=name, is_trainable=False)
    else:
        loaded.torch_model = PeftModel.from_pretrained(
            model, folder, adapter_name=name, is_trainable=False
        )


def _attach_translated(loaded: LoadedModel, fit: AdapterFit, folder: Path, name: str) -> None:
    """Make the adapter under the base's names and read its tensors."""
    from peft import MODEL_TYPE_TO_PEFT_MODEL_MAPPING, PeftConfig, PeftModel, PeftType

    model = loaded.torch_model
    config: Any = PeftConfig.from_pretrained(str(folder))
    if config.peft_type != PeftType.LORA:
        odd = next(tensor for tensor in fit.tensors if tensor.key != tensor.name)
        raise ModelError(f"names like {odd.key} are translated for LoRA only")
    config.inference_mode = True
    wrapped = hasattr(model, "peft_config")
    translate_config(config, fit, model.get_base_model() if wrapped else model)
    if wrapped:
        model.add_adapter(name, config)
    else:
        kind: Any = MODEL_TYPE_TO_PEFT_MODEL_MAPPING.get(config.task_type, PeftModel)
        loaded.torch_model = kind(model, config, adapter_name=name)
    load_translated(fit, folder, loaded.torch_model, name)


def _missing_tensors(model: Any, folder: Path, name: str) -> str | None:
    """Name a tensor of the adapter that its file lacks; PEFT would leave it as it starts."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    state = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        lacking = sorted(set(state) - set(file.keys()))
    return f"{lacking[0]} is missing from the adapter's file" if lacking else None
