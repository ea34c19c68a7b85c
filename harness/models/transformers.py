"""Transformers models and PEFT adapters in this process, as arms.

A spec is a folder or `hf:ID@REVISION`. If tuned is an adapter of base, the weights are loaded once:
base is the same model with the adapter switched off. The engine decodes
(`tunegate.harness.engine.inference.local_engine`).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.models import _image_prompt
from tunegate.harness.models._chat_template import PROBES, fingerprint_of, render_prompt
from tunegate.harness.models._model_folder import BOOKKEEPING, adapter_config
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.records.answers import GENERATED, CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, TunegateError
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
        """Every kind of question, except about the drafts of a server."""
        return frozenset(CellKind) - {CellKind.DRAFTS}

    def cannot(self, kind: CellKind) -> str:
        """Return that nothing is drafted here, and who drafts."""
        return (
            f"{self.spec} has no {kind.value}: nothing is drafted here; serve it with its head or "
            "draft model, and name it as server:"
        )

    @property
    def configuration(self) -> Any:
        """The model's configuration; None once its weights were freed."""
        return getattr(self.loaded.torch_model, "config", None)

    @property
    def image_kinds(self) -> frozenset[CellKind]:
        """It writes about images if its class has a vision part; likelihoods are not computed."""
        if not _image_prompt.takes_images(self.loaded.torch_model):
            return frozenset()
        if self.virtual_tokens:
            raise ModelError(
                f"{self.spec}: its virtual tokens are not computed together with images; take a "
                "LoRA adapter, or cases without images"
            )
        return GENERATED if self.processor else frozenset()

    @cached_property
    def processor(self) -> Any:
        """What prepares images for the model: the adapter's own, or base's."""
        own = _image_prompt.has_processor(self.adapter_folder)
        folder = self.adapter_folder if own else None
        return _image_prompt.load_processor(folder or self.loaded.folder, self.tokenizer)

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
        prompt = render_prompt(self.tokenizer, case, generation, spec=self.spec)
        return _image_prompt.with_images(prompt, self.processor, case) if case.images else prompt

    def image_inputs(self, requests: Sequence[Request]) -> Any:
        """Return the model's inputs for requests with images."""
        texts, cases = [r.prompt.text for r in requests], [r.case for r in requests]
        return _image_prompt.encode_prompts(self.processor, texts, cases)

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

    def probe_image(self) -> Any:
        """Return the last logits after a picture, [1, vocabulary]; None if it cannot be shown."""
        import torch

        try:
            if not self.image_kinds:
                return None
            case = _image_prompt.probe_case()
            text = self.prompt(case, GenerationSettings()).text
            inputs = _image_prompt.encode_prompts(self.processor, [text], [case])
        except (TunegateError, ValueError):
            return None
        with torch.inference_mode(), self.active() as model:
            logits = model(**inputs.to(model.device, model.dtype), logits_to_keep=1).logits
            return logits[:, -1].float().cpu()

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
    """Return the part of an adapter's configuration that can change its effect."""
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
    """
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    limits = [
        int(kind["original_max_position_embeddings"])
        for kind in kinds
        if kind.get("rope_type") == "longrope"
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
