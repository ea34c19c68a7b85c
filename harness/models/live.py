"""Arms on a model that is in memory already, such as one that is being trained.

Nothing is loaded and nothing is written. Weights are named by a hash of what they hold at this
moment, since no file has them; with its adapter switched off the same model is base.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from tunegate.harness.models._load_model import load_model
from tunegate.harness.models._number_format import number_format
from tunegate.harness.models.transformers import HfArm, LoadedModel, effective_adapter_config


@dataclass(frozen=True)
class LiveArm(HfArm):
    """One arm on weights in memory, as they were when the arm was made."""

    adapter_sha256: str | None = None
    """Hash of the adapter's tensors."""
    whole: bool = False
    """Whether the arm is all of the model as it is, adapters that may be in it included."""

    def active(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context that yields the torch model computing this arm."""
        return contextlib.nullcontext(self.loaded.torch_model) if self.whole else super().active()

    @cached_property
    def _adapter_sha256(self) -> str | None:
        return self.adapter_sha256

    @cached_property
    def _adapter_config(self) -> Mapping[str, Any] | None:
        if self.adapter is None:
            return None
        config = self.loaded.torch_model.peft_config[self.adapter].to_dict()
        return effective_adapter_config({key: _plain(value) for key, value in config.items()})


@dataclass(frozen=True)
class SeparateBaseArm(HfArm):
    """Base in a second copy, where all weights are trained; freed when it has answered."""

    def probe(self, prompts: Sequence[Sequence[int]]) -> Any:
        """Return its logits on the probe texts, which were computed when it was loaded."""
        return self.loaded.pristine

    def release(self) -> None:
        """Give the weights' memory back; what it is and how it renders prompts stays known."""
        _ = self.fingerprint
        self.loaded.torch_model = None


def base_apart(folder: Path, live: LoadedModel) -> SeparateBaseArm:
    """Load base with the number format and the tokenizer of the model in training."""
    loaded = load_model(folder, dtype=live.dtype.partition(",")[0])
    return SeparateBaseArm(str(folder), loaded, live.tokenizer)


def adapter_of(model: Any) -> str | None:
    """Return the adapter without which the model is base; None if it has none.

    A model that trains more than its adapter (LoRA with `bias="all"`, unfrozen layers) is
    not base when the adapter is switched off.
    """
    name = getattr(model, "active_adapter", None)
    if not hasattr(model, "peft_config") or not isinstance(name, str):
        return None
    trained = (n for n, p in model.named_parameters() if p.requires_grad)
    return name if all(name in n.split(".") for n in trained) else None


def live_model(model: Any, tokenizer: Any, *, adapter: str | None) -> LoadedModel:
    """Return the model in memory as the engine takes it; its weights are read once for their hash.

    Args:
        model: A Transformers or PEFT model, in evaluation mode.
        tokenizer: Its tokenizer, which is copied.
        adapter: As `adapter_of` returns it.
    """
    tokenizer_copy = copy.deepcopy(tokenizer)
    if getattr(tokenizer_copy, "backend_tokenizer", None) is not None:
        # The trainer's last truncation and padding do not belong to the tokenizer.
        tokenizer_copy.backend_tokenizer.no_truncation()
        tokenizer_copy.backend_tokenizer.no_padding()
    loaded = LoadedModel(
        torch_model=model,
        tokenizer=tokenizer_copy,
        folder=Path(str(model.config._name_or_path or ".")),
        weights_sha256=_hash(model, lambda name: adapter not in name.split(".")),
        dtype=number_format(model),
    )
    if adapter is not None:
        base = live_arm(loaded, None)
        loaded.pristine = base.probe(base.probe_ids())
    return loaded


def live_whole(loaded: LoadedModel) -> LiveArm:
    """Return the arm that is all of the model as it is now."""
    return LiveArm(f"training from {loaded.folder}", loaded, loaded.tokenizer, whole=True)


def live_arm(loaded: LoadedModel, adapter: str | None) -> LiveArm:
    """Return an arm on the model as it is now: with the adapter, or base, which is without it."""
    name = str(loaded.folder)
    if adapter is None:
        return LiveArm(name, loaded, loaded.tokenizer)
    digest = _hash(loaded.torch_model, lambda key: adapter in key.split("."))
    return LiveArm(f"adapter of {name}", loaded, loaded.tokenizer, adapter, None, digest)


def _hash(model: Any, wanted: Callable[[str], bool]) -> str:
    """Return the hash of the wanted tensors: names, number formats, shapes and bytes."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not wanted(name) or not isinstance(tensor, torch.Tensor):
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        plain = tensor.detach().reshape(-1).contiguous().cpu()
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Return a value of PEFT's configuration as its file would hold it."""
    if isinstance(value, Enum):
        return value.value
    return sorted(value, key=str) if isinstance(value, set | frozenset) else value
