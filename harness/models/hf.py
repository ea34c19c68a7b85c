"""Transformers models and PEFT adapters in this process.

A spec is a folder or `hf:ID@REVISION`. Where tuned is an adapter of base, the weights are loaded
once: base is the same model with the adapter switched off. Decoding is the engine's work
(`harness.engine.local`); this module opens, names and switches models.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.checks.weights import file_sha256, fingerprint, refuse_unsafe
from harness.errors import MissingExtra, ModelError
from harness.model import Prompt
from harness.records import Case, CellKind, sha256
from harness.suite import Generation

ENGINE = "tunegate/1"
"""Version of our decoding; raised when it could change an answer."""

PROBES = (
    "The capital of France is",
    "Write one line of JSON with a name and an age.",
    "Summarise: the meeting was moved from Monday to Tuesday because the room was taken.",
    "def add(a, b):",
    "Question: Which planet is known for its rings?\nAnswer:",
    "Dear customer, your order",
    "1, 2, 3, 4,",
    "How do I make a cup of tea?",
)
"""Texts on which the arms' logits are compared before any scoring."""


@dataclass
class LoadedModel:
    """One set of weights in memory, with the adapters attached to it."""

    torch_model: Any
    tokenizer: Any
    folder: Path
    weights_sha256: str
    dtype: str
    pristine: Any = field(default=None, repr=False)
    """Logits on the probe texts before any adapter was attached, [probes, vocabulary]."""

    @contextlib.contextmanager
    def switched(self, adapter: str | None) -> Iterator[Any]:
        """Yield the torch model with only `adapter` active; None switches adapters off."""
        model = self.torch_model
        if not hasattr(model, "peft_config"):
            yield model
        elif adapter is None:
            with model.disable_adapter():
                yield model
        else:
            model.set_adapter(adapter)
            yield model


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
            "dtype": self.loaded.dtype,
            "engine": ENGINE,
        }

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the identity without the spec: a moved folder is the same arm."""
        return sha256({k: v for k, v in self.identity.items() if k != "spec"})

    @property
    def kinds(self) -> frozenset[CellKind]:
        """A local model answers every kind of question."""
        return frozenset(CellKind)

    def cannot(self, kind: CellKind) -> str:
        """Return a sentence; a local model can answer every kind."""
        return f"{self.spec} cannot answer {kind.value} questions"

    @property
    def stop_ids(self) -> frozenset[int]:
        """End-of-sequence ids of the tokenizer and of the generation config."""
        configured = self.loaded.torch_model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        return frozenset(i for i in (*ids, self.tokenizer.eos_token_id) if i is not None)

    @property
    def context_length(self) -> int | None:
        """The configuration's `max_position_embeddings`."""
        length = getattr(self.loaded.torch_model.config, "max_position_embeddings", None)
        return None if length is None else int(length)

    def active(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context that yields the torch model computing this arm."""
        return self.loaded.switched(self.adapter)

    def prompt(self, case: Case, generation: Generation) -> Prompt:
        """Render with the chat template (or not, as the suite says) and tokenise once."""
        if generation.template == "none":
            text = _plain(case, generation)
            return Prompt(text, tuple(self.tokenizer(text)["input_ids"]))
        if not self.tokenizer.chat_template:
            raise ValueError(
                f"{self.spec} has no chat template; set template = \"none\" under [generation]"
            )
        text = self.tokenizer.apply_chat_template(
            list(case.input_messages(generation.system)),
            tools=list(case.tools) if case.tools else None,
            add_generation_prompt=True,
            tokenize=False,
        )
        return Prompt(text, tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]))

    def complete(self, requests: Sequence[Any]) -> Iterator[Any]:
        """Refuse: the engine decodes with local models."""
        raise TypeError("local models are decoded by harness.engine.local.complete")

    def probe(self, prompts: Sequence[Sequence[int]]) -> Any:
        """Return the last token's logits of each prompt, computed one prompt at a time."""
        with self.active() as model:
            return last_logits(model, prompts)

    def probe_ids(self) -> list[list[int]]:
        """Return the token ids of the probe texts."""
        return [list(self.tokenizer(text)["input_ids"]) for text in PROBES]

    @cached_property
    def _tokenizer_sha256(self) -> str:
        return sha256(self.tokenizer.backend_tokenizer.to_str())

    @cached_property
    def _adapter_sha256(self) -> str | None:
        return fingerprint(self.adapter_folder) if self.adapter_folder else None

    @cached_property
    def _adapter_config(self) -> Mapping[str, Any] | None:
        """What of the adapter's configuration changes its effect: kind, rank and scale."""
        if self.adapter_folder is None:
            return None
        config = adapter_config(self.adapter_folder)
        keys = ("peft_type", "r", "lora_alpha", "use_rslora", "use_dora", "num_virtual_tokens")
        return {key: config[key] for key in keys if config.get(key) is not None}


def _plain(case: Case, generation: Generation) -> str:
    if case.prompt is None:
        raise ValueError('template = "none" needs cases with a prompt, not messages')
    return f"{generation.system}\n\n{case.prompt}" if generation.system else case.prompt


def last_logits(model: Any, prompts: Sequence[Sequence[int]]) -> Any:
    """Return the last token's logits of each prompt alone, float32 on the CPU, [prompts, vocabulary]."""
    import torch

    rows = []
    with torch.inference_mode():
        for ids in prompts:
            batch = torch.tensor([list(ids)], device=model.device)
            logits = model(input_ids=batch, use_cache=False, logits_to_keep=1).logits
            rows.append(logits[0, -1].float().cpu())
    return torch.stack(rows)


def is_adapter(folder: Path) -> bool:
    """Return whether the folder holds a PEFT adapter."""
    return (folder / "adapter_config.json").is_file()


def adapter_config(folder: Path) -> dict[str, Any]:
    """Read an adapter's configuration."""
    value: dict[str, Any] = json.loads((folder / "adapter_config.json").read_bytes())
    return value


def resolve(spec: str) -> Path:
    """Return the local folder of a spec: a folder, or a hub id that is cached or reachable.

    Raises:
        ModelError: nothing is there; the message says what was tried.
    """
    name = spec.removeprefix("hf:")
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if spec.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(f"{spec}: no such folder; give a model folder, an adapter folder or a hub id")
    return _from_hub(name)


def _from_hub(name: str) -> Path:
    _need("huggingface_hub")
    from huggingface_hub import snapshot_download

    repo, _, revision = name.partition("@")
    try:
        folder = snapshot_download(
            repo,
            revision=revision or None,
            allow_patterns=["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"],
        )
    except Exception as error:
        raise ModelError(
            f"{name}: neither a folder here nor reachable on the model hub "
            f"({type(error).__name__}); give the path of a downloaded model"
        ) from error
    return Path(folder)


def load(folder: Path, *, dtype: str) -> LoadedModel:
    """Load a model folder.

    Args:
        folder: A Transformers model folder with safetensors.
        dtype: `float32`, `bfloat16`, `float16` or `auto`; auto is float32 without a GPU.

    Raises:
        UnsafeWeights: the folder could run code.
        ModelError: it cannot be loaded, or has NaN or Infinity in a tensor.
    """
    _need("torch", "transformers")
    refuse_unsafe(folder)
    quiet()
    import torch
    from transformers import AutoModelForCausalLM

    gpu = torch.cuda.is_available()
    chosen = ("auto" if gpu else "float32") if dtype == "auto" else dtype
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=chosen if chosen == "auto" else getattr(torch, chosen),
            device_map="auto" if gpu else None,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"{folder}: cannot be loaded: {str(error).splitlines()[0]}") from error
    model.eval()
    _refuse_nan(model.named_parameters(), folder)
    loaded = LoadedModel(
        torch_model=model,
        tokenizer=load_tokenizer(folder),
        folder=folder,
        weights_sha256=fingerprint(folder),
        dtype=str(model.dtype).removeprefix("torch."),
    )
    ids = HfArm("", loaded, loaded.tokenizer).probe_ids()
    loaded.pristine = last_logits(model, ids)
    return loaded


def load_tokenizer(folder: Path) -> Any:
    """Load a folder's tokenizer, padding on the left and complete with a pad token."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{folder}: no usable tokenizer: {reason}") from error
    tokenizer.padding_side = "left"
    return tokenizer


def attach(loaded: LoadedModel, folder: Path, name: str) -> None:
    """Attach the adapter in `folder` under `name`, without training and in the base's precision.

    Raises:
        ModelError: the adapter's file is broken or does not fit.
    """
    _need("peft")
    refuse_unsafe(folder)
    from peft import PeftModel

    model = loaded.torch_model
    try:
        if hasattr(model, "peft_config"):
            model.load_adapter(folder, adapter_name=name, is_trainable=False)
        else:
            loaded.torch_model = PeftModel.from_pretrained(
                model, folder, adapter_name=name, is_trainable=False
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{folder}: the adapter cannot be attached: {reason}") from error
    loaded.torch_model.eval()
    _refuse_nan(
        ((n, p) for n, p in loaded.torch_model.named_parameters() if name in n.split(".")), folder
    )


def _refuse_nan(parameters: Any, folder: Path) -> None:
    import torch

    for name, tensor in parameters:
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"{folder}: tensor {name} holds NaN or Infinity; the training diverged: "
                "lower the learning rate, or take an earlier checkpoint"
            )


def _need(*modules: str) -> None:
    import importlib.util

    if any(importlib.util.find_spec(name) is None for name in modules):
        raise MissingExtra("a Transformers model", "hf")


def quiet() -> None:
    """Keep the libraries from talking over the run: no progress bars, no advice, no telemetry."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import logging
    import warnings

    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"peft\..*")


def template_sha256(folder: Path) -> str:
    """Return the hash of the chat template a folder's tokenizer carries."""
    return sha256(load_tokenizer(folder).chat_template or "")


def base_record(folder: Path) -> Mapping[str, Any]:
    """Return what the training record beside an adapter says of its base; empty without one."""
    record = folder / "tunegate_training.json"
    if not record.is_file():
        return {}
    value: dict[str, Any] = json.loads(record.read_bytes())
    return value


__all__ = [
    "ENGINE",
    "HfArm",
    "LoadedModel",
    "adapter_config",
    "attach",
    "base_record",
    "file_sha256",
    "is_adapter",
    "last_logits",
    "load",
    "load_tokenizer",
    "quiet",
    "resolve",
    "template_sha256",
]
