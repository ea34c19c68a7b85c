"""Loading Transformers models and attaching PEFT adapters: safely, completely, without chatter.

What is refused here would otherwise give numbers of another model: a tensor that the file lacks and
the library fills with random values, NaN, an adapter of which a part is not there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from harness.checks.weights import fingerprint, refuse_unsafe
from harness.errors import ModelError
from harness.models._files import need, need_quantiser
from harness.models._rendering import reason
from harness.models._stored import stored
from harness.models.hf import HfArm, LoadedModel, last_logits


def load(folder: Path, *, dtype: str) -> LoadedModel:
    """Load a model folder.

    Args:
        folder: A Transformers model folder with safetensors.
        dtype: `float32`, `bfloat16`, `float16` or `auto`; auto is float32 without a GPU.

    Raises:
        UnsafeWeights: the folder could run code.
        ModelError: it cannot be loaded, or has NaN or Infinity in a tensor.
    """
    need("torch", "transformers")
    refuse_unsafe(folder)
    need_quantiser(folder)
    quiet()
    import torch
    from transformers import AutoModelForCausalLM

    gpu = torch.cuda.is_available()
    spread = gpu and importlib.util.find_spec("accelerate") is not None
    chosen = ("auto" if gpu else "float32") if dtype == "auto" else dtype
    with saying(f"{folder}: cannot be loaded"):
        both: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=chosen if chosen == "auto" else getattr(torch, chosen),
            device_map="auto" if spread else None,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        model, report = both
    _refuse_missing(report["missing_keys"], folder)
    if gpu and not spread:
        model.to("cuda")
    model.eval()
    _keep_unpacked(model)
    refuse_nan(model.named_parameters(), folder)
    loaded = LoadedModel(
        torch_model=model,
        tokenizer=load_tokenizer(folder),
        folder=folder,
        weights_sha256=fingerprint(folder),
        dtype=number_format(model),
        stored=stored(folder, model.config),
    )
    ids = HfArm("", loaded, loaded.tokenizer).probe_ids()
    loaded.pristine = last_logits(model, ids)
    return loaded


def _refuse_missing(names: Collection[str], folder: Path) -> None:
    """Refuse weights without a tensor: Transformers would fill it with random numbers and go on."""
    if names:
        raise ModelError(
            f"{folder}: tensor {min(names)} is missing from the weights; "
            "save or copy the model again"
        )


def number_format(model: Any) -> str:
    """Return in what the model computes, and that its weights are rounded further where they are.

    Only a plain `float32` counts as exact arithmetic (`harness.engine.noise`).
    """
    computed = str(model.dtype).removeprefix("torch.")
    config = getattr(model.config, "quantization_config", None)
    method = getattr(config, "quant_method", None)
    if method is None:
        return computed
    bits = "4-bit " if getattr(config, "load_in_4bit", False) else ""
    return f"{computed}, {bits}{getattr(method, 'value', method)}"


def _keep_unpacked(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights at the first forward on a CPU.

    Base's logits before and after an adapter is attached would come from two kernels, and differ
    by tenths (bitsandbytes 0.50 on processors with avx512-bf16).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def load_tokenizer(folder: Path) -> Any:
    """Load a folder's tokenizer, padding on the left and complete with a pad token."""
    from transformers import AutoTokenizer

    with saying(f"{folder}: no usable tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    tokenizer.padding_side = "left"
    return tokenizer


def attach(loaded: LoadedModel, folder: Path, name: str) -> None:
    """Attach the adapter in `folder` under `name`, without training and in the base's precision.

    Raises:
        ModelError: the adapter's file is broken or does not fit.
    """
    need("peft")
    refuse_unsafe(folder)
    with saying(f"{folder}: the adapter cannot be attached"):
        from peft import PeftModel

        model = loaded.torch_model
        if hasattr(model, "peft_config"):
            model.load_adapter(folder, adapter_name=name, is_trainable=False)
        else:
            loaded.torch_model = PeftModel.from_pretrained(
                model, folder, adapter_name=name, is_trainable=False
            )
        missing = _missing_tensors(loaded.torch_model, folder, name)
    if missing:
        raise ModelError(
            f"{folder}: tensor {missing[0]} is missing from the adapter's file; save it again"
        )
    loaded.torch_model.eval()
    refuse_nan(
        ((n, p) for n, p in loaded.torch_model.named_parameters() if name in n.split(".")), folder
    )


def _missing_tensors(model: Any, folder: Path, name: str) -> list[str]:
    """Return the adapter's tensors that its file lacks; PEFT would leave them as they start."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    state = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        return sorted(set(state) - set(file.keys()))


def refuse_nan(parameters: Any, folder: Path) -> None:
    import torch

    for name, tensor in parameters:
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"{folder}: tensor {name} holds NaN or Infinity; the training diverged: "
                "lower the learning rate, or take an earlier checkpoint"
            )


def quiet() -> None:
    """Keep the libraries from talking over the run: no progress bars, no advice, no telemetry."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from transformers.utils import logging as talk

    talk.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers has no annotation
    talk.disable_progress_bar()  # type: ignore[no-untyped-call]  # nor here
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


@contextlib.contextmanager
def saying(what: str) -> Iterator[None]:
    """Turn whatever a library raises into one line that begins with `what`; mute its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        raise ModelError(f"{what}: {reason(error)}") from error
