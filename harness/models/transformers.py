"""Transformers models and PEFT adapters in this process: loading, switching, identity.

A spec is a folder or `hf:ID@REVISION`. If tuned is an adapter of base, the weights are loaded once:
base is the same model with the adapter switched off. The engine decodes
(`tunegate.harness.engine.inference.local_engine`).

Refused is what would silently compute another model: a missing tensor that the library fills with
random values, NaN, an adapter with missing parts.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.model import Prompt
from tunegate.harness.models._chat_template import (
    PROBES,
    fingerprint_of,
    render_prompt,
)
from tunegate.harness.models._model_folder import (
    BOOKKEEPING,
    adapter_config,
    gpu_is_free,
    need_quantiser,
    needs_code,
    require_modules,
    stored_format,
    text_class,
    text_part,
)
from tunegate.harness.models.adapters.adapter_fit import (
    AdapterFit,
    differing_tensors,
    fit_adapter,
    load_translated,
    refuse_unsupported_kind,
    translate_config,
)
from tunegate.harness.models.adapters.weight_files import refuse_unsafe, weights_fingerprint
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, TunegateError, error_reason
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256

ENGINE = "tunegate/2"
"""Version of our decoding; raised when it could change an answer by more than rounding does."""


@dataclass
class LoadedModel:
    """One set of weights in memory, with the adapters attached to it."""

    torch_model: Any
    tokenizer: Any
    folder: Path
    weights_sha256: str
    dtype: str
    stored: str | None = None
    """How the files hold the weights (`bfloat16`, `nf4 (bitsandbytes)`); None if unknown."""
    pristine: Any = field(default=None, repr=False)
    """Logits on the probe texts before any adapter was attached, [probes, vocabulary]."""

    @contextlib.contextmanager
    def switched(self, adapter: str | None) -> Iterator[Any]:
        """Yield the torch model with only `adapter` active; None switches adapters off."""
        model = self.torch_model
        if not hasattr(model, "peft_config"):
            yield model
        elif adapter is None:
            with _off(model):
                yield model
        else:
            if model.active_adapter != adapter:
                model.set_adapter(adapter)
            yield model


@contextlib.contextmanager
def _off(model: Any) -> Iterator[None]:
    """Switch the adapters of a PEFT model off.

    PEFT's own `disable_adapter` first reads the state of every layer, to leave alone what was off
    before; here nothing ever is, and the reading takes longer than the switching.
    """
    if model.active_peft_config.is_prompt_learning:
        with model.disable_adapter():
            yield
        return
    model.base_model.disable_adapter_layers()
    try:
        yield
    finally:
        model.base_model.enable_adapter_layers()


@dataclass(frozen=True)
class HfArm:
    """One arm on a loaded model: the plain weights, or one adapter on them."""

    spec: str
    loaded: LoadedModel
    tokenizer: Any
    adapter: str | None = None
    adapter_folder: Path | None = None

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Spec, hashes of weights, adapter, tokenizer and template, number format and engine."""
        return {
            "spec": self.spec,
            "backend": "hf",
            "weights_sha256": self.loaded.weights_sha256,
            "adapter_sha256": self._adapter_sha256,
            "adapter_config": self._adapter_config,
            "tokenizer_sha256": self._tokenizer_sha256,
            "template_sha256": sha256(self.tokenizer.chat_template or ""),
            "config_sha256": self._config_sha256,
            "stop_ids": sorted(self.stop_ids),
            "dtype": self.loaded.dtype,
            "stored": self.loaded.stored,
            "engine": ENGINE,
        }

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the identity without the spec: a moved folder is the same arm.

        Nor does it hold how the weights are stored, which their own hash decides.
        """
        return sha256({k: v for k, v in self.identity.items() if k not in ("spec", "stored")})

    @property
    def kinds(self) -> frozenset[CellKind]:
        """A local model answers every kind of question."""
        return frozenset(CellKind)

    def cannot(self, kind: CellKind) -> str:
        """Return a sentence; a local model can answer every kind."""
        return f"{self.spec} cannot answer {kind.value} questions"

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """End-of-sequence ids of the tokenizer and of the generation config."""
        configured = self.loaded.torch_model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        return frozenset(i for i in (*ids, self.tokenizer.eos_token_id) if i is not None)

    @property
    def context_length(self) -> int | None:
        """The text configuration's `max_position_embeddings`."""
        config = self.loaded.torch_model.config.get_text_config(decoder=True)
        length = getattr(config, "max_position_embeddings", None)
        return None if length is None else int(length)

    @property
    def virtual_tokens(self) -> bool:
        """Whether the adapter puts virtual tokens in front of every prompt (prompt tuning …)."""
        return bool((self._adapter_config or {}).get("num_virtual_tokens"))

    @cached_property
    def running_state(self) -> bool:
        """Whether layers carry a running state instead of keys and values (Mamba, hybrids)."""
        model = self.loaded.torch_model
        if getattr(model, "_is_stateful", False):
            return True
        from transformers import DynamicCache

        layers = DynamicCache(config=model.config).layers  # LFM2 is not called stateful
        return any(hasattr(layer, "recurrent_states") for layer in layers)

    @cached_property
    def batch_limit(self) -> int | None:
        """Tokens of the longest row that can share a batch; None: a row of any length can."""
        return batch_limit(self.loaded.torch_model.config.get_text_config(decoder=True))

    def active(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context that yields the torch model computing this arm."""
        return self.loaded.switched(self.adapter)

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Render with the chat template (or not, as the suite sets it) and tokenise once."""
        return render_prompt(self.tokenizer, case, generation, spec=self.spec)

    def complete(self, requests: Sequence[Any]) -> Iterator[Any]:
        """Refuse: the engine decodes with local models."""
        raise TypeError(
            "local models are decoded by "
            "tunegate.harness.engine.inference.local_engine.complete_requests"
        )

    def probe(self, prompts: Sequence[Sequence[int]]) -> Any:
        """Return the last token's logits of each prompt, computed one prompt at a time."""
        with self.active() as model:
            return last_logits(model, prompts)

    def probe_ids(self) -> list[list[int]]:
        """Return the token ids of the probe texts."""
        return [list(self.tokenizer(text)["input_ids"]) for text in PROBES]

    @cached_property
    def _tokenizer_sha256(self) -> str:
        return fingerprint_of(self.tokenizer)

    @cached_property
    def _config_sha256(self) -> str:
        """Hash of the configuration without the keys on where and how it was saved."""
        config = self.loaded.torch_model.config.to_dict()
        kept = {k: v for k, v in config.items() if k not in BOOKKEEPING}
        # Bamba's time steps end at infinity, which JSON does not have.
        return sha256(json.loads(json.dumps(kept, default=str), parse_constant=str))

    @cached_property
    def _adapter_sha256(self) -> str | None:
        return weights_fingerprint(self.adapter_folder) if self.adapter_folder else None

    @cached_property
    def _adapter_config(self) -> Mapping[str, Any] | None:
        folder = self.adapter_folder
        return None if folder is None else effective_adapter_config(adapter_config(folder))


def effective_adapter_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what of an adapter's configuration can change its effect: kind, rank, scale, place."""
    return {
        key: sorted(value) if key == "target_modules" and isinstance(value, list) else value
        for key, value in sorted(config.items())
        if key not in BOOKKEEPING and value is not False and value not in (None, [], {})
    }


def batch_limit(config: Any) -> int | None:
    """Return beyond how many tokens a row's logits depend on the rows that it shares a batch with.

    LongRoPE (Ding et al. 2024; Phi 3 and 4) turns every position of a batch by other frequencies
    as soon as its longest row has left the length of the pretraining. Llama 4 scales the attention
    of its layers without positions by the columns of the batch, padding included.

    Args:
        config: The text model's configuration.
    """
    given = getattr(config, "rope_parameters", None) or {}
    kinds = [given, *(value for value in given.values() if isinstance(value, dict))]
    limits = [
        int(one["original_max_position_embeddings"])
        for one in kinds
        if one.get("rope_type") == "longrope"
    ]
    if getattr(config, "attn_temperature_tuning", False):
        limits.append(int(config.floor_scale) - 1)
    return min(limits, default=None)


def last_logits(model: Any, prompts: Sequence[Sequence[int]]) -> Any:
    """Return each prompt's last logits, computed alone, as float32 [prompts, vocabulary]."""
    import torch

    rows = []
    with torch.inference_mode():
        for ids in prompts:
            batch = torch.tensor([list(ids)], device=model.device)
            logits = model(input_ids=batch, use_cache=False, logits_to_keep=1).logits
            rows.append(logits[0, -1].float().cpu())
    return torch.stack(rows)


def load_model(folder: Path, *, dtype: str, trusted: bool = False) -> LoadedModel:
    """Load a model folder.

    Args:
        folder: A Transformers model folder with safetensors.
        dtype: `float32`, `bfloat16`, `float16` or `auto`; auto is float32 without a GPU.
        trusted: Whether code in the folder may be run where only that computes the model.

    Raises:
        UnsafeWeights: the folder could run code.
        ModelError: it cannot be loaded, or has NaN or Infinity in a tensor.
    """
    require_modules("torch", "transformers")
    refuse_unsafe(folder, trusted=trusted)
    need_quantiser(folder)
    silence_libraries()
    import torch
    from transformers import AutoModelForCausalLM

    gpu = gpu_is_free() and torch.cuda.is_available()
    spread = gpu and importlib.util.find_spec("accelerate") is not None
    chosen = ("auto" if gpu else "float32") if dtype == "auto" else dtype
    with prefix_errors(f"{folder}: cannot be loaded"):
        coded = trusted and needs_code(folder)
        kind: Any = AutoModelForCausalLM if coded else text_class(folder)
        both: Any = kind.from_pretrained(
            folder,
            dtype=chosen if chosen == "auto" else getattr(torch, chosen),
            device_map="auto" if spread else None,
            use_safetensors=True,
            trust_remote_code=coded,
            ignore_mismatched_sizes=True,  # refused below, with the names and sizes
            output_loading_info=True,
        )
        model, report = both
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
    model = text_part(model)
    if gpu and not spread:
        model.to("cuda")
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


def number_format(model: Any) -> str:
    """Return in what the model computes, and that its weights are rounded further where they are.

    Only a plain `float32` counts as exact arithmetic (`tunegate.harness.engine.plan`).
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


def load_tokenizer(folder: Path, *, trusted: bool = False) -> Any:
    """Load a folder's tokenizer, padding on the left and complete with a pad token.

    Raises:
        ModelError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    with prefix_errors(f"{folder}: no usable tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted)
    tokenizer.padding_side = "left"
    return tokenizer


def attach_adapter(
    loaded: LoadedModel, folder: Path, name: str, *, spec: str | None = None
) -> None:
    """Attach the adapter in `folder` under `name`, without training and in the base's precision.

    Args:
        loaded: The base.
        folder: The adapter's folder.
        name: The arm's name.
        spec: How the user names the adapter.

    Raises:
        ModelError: the adapter's file is broken.
        NotComparable: a tensor does not fit the base.
    """
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
        odd = next(one for one in fit.tensors if one.key != one.name)
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


def refuse_nan(parameters: Any, folder: Path) -> None:
    """Refuse weights that are no numbers.

    Raises:
        ModelError: a parameter holds NaN or infinity.
    """
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


@contextlib.contextmanager
def prefix_errors(what: str) -> Iterator[None]:
    """Turn whatever a library raises into one line that begins with `what`; mute its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except TunegateError:
        raise
    except Exception as error:
        raise ModelError(f"{what}: {error_reason(error)}") from error
