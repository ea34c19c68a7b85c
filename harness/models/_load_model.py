"""Load a Transformers model and its tokenizer from a folder.

Refused is what would silently compute another model: a missing tensor that the library fills with
random values, a layer's tensor that it drops, NaN, a tokenizer of another model.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tunegate.harness.models._model_class import needs_code, text_class, text_part
from tunegate.harness.models._model_folder import (
    OLD_BUFFERS,
    gpu_is_free,
    need_quantiser,
    prefix_errors,
    require_modules,
)
from tunegate.harness.models._number_format import number_format, stored_format
from tunegate.harness.models.adapters.weight_files import (
    read_json,
    refuse_unsafe,
    tensor_headers,
    weights_fingerprint,
)
from tunegate.harness.models.mlx_format.quantized import mlx_quantization, unpacked_source
from tunegate.harness.models.transformers import HfArm, LoadedModel, last_logits
from tunegate.harness.records.errors import ModelError


def load_model(folder: Path, *, dtype: str, trusted: bool = False) -> LoadedModel:
    """Load a model folder.

    Args:
        folder: A Transformers model folder with safetensors.
        dtype: `float32`, `bfloat16`, `float16` or `auto`; auto is float32 without a GPU.
        trusted: Whether code in the folder may be run where only that computes the model.
    """
    require_modules("torch", "transformers")
    refuse_unsafe(folder, trusted=trusted)
    need_quantiser(folder)
    silence_libraries()
    from transformers import AutoModelForCausalLM

    with prefix_errors(f"{folder}: cannot be loaded"):
        coded = trusted and needs_code(folder)
        kind: Any = AutoModelForCausalLM if coded else text_class(folder)
    model, report = load_weights(kind, folder, dtype=dtype, trust_remote_code=coded)
    foreign = {key[0] for key in report["mismatched_keys"]} | set(report["missing_keys"])
    if foreign and mlx_quantization(folder):
        raise ModelError(
            f"{folder}: MLX stores {min(foreign)} in another form than Transformers; let MLX "
            f"compute it: mlx:{folder}"
        )
    for name, stored, wanted in sorted(report["mismatched_keys"]):
        raise ModelError(
            f"{folder}: {name} is stored as {tuple(stored)}, and config.json makes it "
            f"{tuple(wanted)}; copy the folder again"
        )
    if missing := report["missing_keys"]:  # Transformers filled them with random numbers
        raise ModelError(
            f"{folder}: tensor {min(missing)} is missing from the weights; "
            "save or copy the model again"
        )
    refuse_unused(model, report["unexpected_keys"], folder)
    model = text_part(model)
    model.eval()
    _keep_unpacked(model)
    refuse_nan(model.named_parameters(), folder)
    loaded = LoadedModel(
        torch_model=model,
        tokenizer=load_tokenizer(folder, trusted=coded),
        folder=folder,
        weights_sha256=weights_fingerprint(folder, code=coded),
        dtype=number_format(model),
        stored=stored_format(folder, model.config),
    )
    ids = HfArm("", loaded, loaded.tokenizer).probe_ids()
    rows = model.get_input_embeddings().weight.shape[0]
    most = max((token for row in ids for token in row), default=0)
    if most >= rows:
        raise ModelError(
            f"{folder}: the tokenizer has token {most}, and the weights have {rows} tokens; "
            "copy tokenizer and weights of one model"
        )
    loaded.pristine = last_logits(model, ids)
    return loaded


def load_weights(
    kind: Any, folder: Path, *, dtype: str, trust_remote_code: bool = False, **config: Any
) -> tuple[Any, Any]:
    """Return a folder's model on its device, and Transformers' report of what did not fit."""
    import torch

    gpu = gpu_is_free() and torch.cuda.is_available()
    spread = gpu and importlib.util.find_spec("accelerate") is not None
    chosen = ("auto" if gpu else "float32") if dtype == "auto" else dtype
    with prefix_errors(f"{folder}: cannot be loaded"):
        source: dict[str, Any] = {"pretrained_model_name_or_path": folder}
        if mlx_quantization(folder):
            kind, source = unpacked_source(kind, folder, chosen)
        model, report = kind.from_pretrained(
            **source,
            dtype=chosen if chosen == "auto" else getattr(torch, chosen),
            device_map="auto" if spread else None,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            ignore_mismatched_sizes=True,  # the caller refuses them, with the names and sizes
            output_loading_info=True,
            **config,
        )
        if gpu and not spread:
            model.to("cuda")
    return model, report


_IN_LAYER = re.compile(r"(.+?)\.\d+\.")


def refuse_unused(model: Any, tensors: Iterable[str], folder: Path) -> None:
    """Refuse weights of layers that the model leaves out, because config.json names others.

    A further head (of a reward, of classes, for several tokens at once) is no part of the layers,
    and files of quantised weights hold more tensors than the model has.
    """
    config = getattr(model, "config", None)
    if getattr(config, "quantization_config", None) is not None:
        return
    from torch.nn import ModuleList

    lists = [f".{name}" for name, part in model.named_modules() if isinstance(part, ModuleList)]
    for tensor in sorted(tensors):
        layers = _IN_LAYER.match(tensor)
        if layers is None or OLD_BUFFERS.search(tensor):
            continue
        place = f".{layers[1]}"
        if any(name.endswith(place) or place.endswith(name) for name in lists):
            raise ModelError(
                f"{folder}: tensor {tensor} is in the weights, and the model of config.json does "
                "not use it; copy config.json and the weights of one model"
            )


def left_out(model: Any, folder: Path) -> Iterator[str]:
    """Yield the tensors of whole layers in a folder's files that a model does not have.

    For libraries that report no unused tensors.
    """
    names = [f".{name}" for name in model.state_dict()]
    for tensor in tensor_headers(folder):
        layer = _IN_LAYER.match(tensor)
        if layer and not any(f".{layer[0]}" in name for name in names):
            yield tensor


def _keep_unpacked(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights at the first forward on a CPU.

    Base's logits before and after an adapter is attached would come from two kernels, and differ
    by tenths (bitsandbytes 0.50 on processors with avx512-bf16).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def load_tokenizer(folder: Path, *, trusted: bool = False) -> Any:
    """Load a folder's tokenizer, padding on the left and complete with a pad token."""
    from transformers import AutoTokenizer

    with prefix_errors(f"{folder}: no usable tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted)
        legacy = folder / "chat_template.json"  # of models that see; processors alone read it
        if legacy.is_file():
            tokenizer.chat_template = read_json(legacy)["chat_template"]
    tokenizer.padding_side = "left"
    return tokenizer


def refuse_nan(parameters: Any, folder: Path) -> None:
    """Refuse weights that are no numbers."""
    import torch

    for name, tensor in parameters:
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"{folder}: tensor {name} holds NaN or Infinity; the training diverged: "
                "lower the learning rate, or take an earlier checkpoint"
            )


def silence_libraries() -> None:
    """Keep the libraries from talking over the run: no progress bars, no advice, no telemetry."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from transformers.utils import logging as talk

    talk.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers has no annotation
    talk.disable_progress_bar()  # type: ignore[no-untyped-call]  # nor here
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
