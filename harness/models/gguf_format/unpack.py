"""Unpack a GGUF file into a Transformers model, whole or not at all.

Transformers silently skips what it does not know in a file: a bias, Llama 3's frequencies, the
scaling of positions. It would load and answer as another model. Here such a file is refused, and
the frequencies are applied.
"""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from typing import Any

import numpy as np

from tunegate.harness.models._load_model import refuse_nan
from tunegate.harness.models._model_folder import prefix_errors
from tunegate.harness.models.gguf_format.file import GgufFile
from tunegate.harness.models.transformers import HfArm, LoadedModel, last_logits
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.hashing import file_sha256

_FREQUENCIES = "rope_freqs.weight"
"""By what each rotary frequency is divided, where positions are scaled as in Llama 3."""


def load_gguf(file: GgufFile, tokenizer: Any) -> LoadedModel:
    """Unpack the file to float32."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.quantization_config import GgufConfig

    if problem := unread_part(file):
        raise ModelError(
            f"{file.path}: {problem}; let llama.cpp compute it: llama-server:{file.path}"
        )
    path = file.path.resolve()
    # Its progress bars have no common switch.
    silent = redirect_stderr(io.StringIO())
    with prefix_errors(f"{file.path}: cannot be loaded"), silent:
        model_and_report: Any = AutoModelForCausalLM.from_pretrained(
            path.parent,
            # The whole path: a bare name would be looked for in the working directory first.
            gguf_file=str(path),
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            trust_remote_code=False,
            output_loading_info=True,
        )
    model, report = model_and_report
    if report["missing_keys"]:
        # Transformers would fill them with random numbers and go on.
        raise ModelError(
            f"{file.path}: tensor {min(report['missing_keys'])} is missing; convert it again"
        )
    _refuse_unused(file, model)
    _scale_frequencies(file, model)
    if torch.cuda.is_available():
        model.to("cuda")
    model.eval()
    model.generation_config.eos_token_id = file.stop_ids or None
    refuse_nan(model.named_parameters(), file.path)
    loaded = LoadedModel(model, tokenizer, file.path, file_sha256(path), "float32")
    loaded.pristine = last_logits(model, HfArm("", loaded, tokenizer).probe_ids())
    return loaded


def unread_part(file: GgufFile) -> str:
    """Return what Transformers does not read, or reads without what it depends on; else empty."""
    from gguf import GGML_QUANT_SIZES, dequantize
    from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    architectures = {*GGUF_SUPPORTED_ARCHITECTURES, *GGUF_CONFIG_ARCHS}
    problem = ""
    if file.architecture not in architectures:
        problem = f"architecture {file.architecture!r} is not read by Transformers"
    scaling = file.fields.get(f"{file.architecture}.rope.scaling.type", "none")
    if scaling != "none" and file.architecture != "gpt-oss":
        problem = f"rope scaling {scaling!r} is not read by Transformers"
    for kind in {tensor.tensor_type for tensor in file.tensors.values()}:
        try:
            dequantize(np.zeros((1, GGML_QUANT_SIZES[kind][1]), dtype=np.uint8), kind)
        except NotImplementedError:
            problem = f"tensors stored as {kind.name} cannot be unpacked"
    return problem


def _refuse_unused(file: GgufFile, model: Any) -> None:
    """Refuse a file with a tensor that the model does not have."""
    from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    if file.architecture in GGUF_CONFIG_ARCHS:
        return
    processor: Any = TENSOR_PROCESSORS.get(file.architecture, TensorProcessor)
    weight_map: Any = get_gguf_hf_weights_map(model, processor(config=model.config.to_dict()))
    for name in file.tensors:
        if (
            name not in weight_map
            and name.rpartition(".")[0] not in weight_map
            and name != _FREQUENCIES
        ):
            raise ModelError(
                f"{file.path}: tensor {name} is not read by Transformers, and the answers would "
                f"be another model's; let llama.cpp compute it: llama-server:{file.path}"
            )


def _scale_frequencies(file: GgufFile, model: Any) -> None:
    """Scale the rotary frequencies by the file's factors; Transformers leaves that out."""
    import torch

    tensor = file.tensors.get(_FREQUENCIES)
    if tensor is None:
        return
    rotary = getattr(model.base_model, "rotary_emb", None)
    if file.architecture != "llama" or rotary is None or tensor.data.dtype != np.float32:
        raise ModelError(
            f"{file.path}: tensor {_FREQUENCIES} is not read by Transformers; let llama.cpp "
            f"compute it: llama-server:{file.path}"
        )
    factors = torch.from_numpy(np.array(tensor.data))
    for name in ("inv_freq", "original_inv_freq"):
        getattr(rotary, name).div_(factors)
