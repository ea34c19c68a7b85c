"""Names of an adapter's tensors, matched with the modules of the loaded base.

An adapter's tensors are named after the modules of the class that was trained: `model.layers.0` in
the text class, `model.language_model.layers.0` in the class with vision,
`language_model.model.layers.0` in that class before Transformers 4.52, with wrappers of
`torch.compile`, FSDP or activation checkpointing between them. Names that differ only in this are
matched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

SHARED = "base_model."
"""Beginning of the names of tensors that all modules share, such as VeRA's projections."""
_OUTER = {"base_model", "model", "language_model", "text_model", "transformer", "backbone"}
"""Components of names that only show in which class the text model is."""
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module"}
"""Components that wrappers add during training."""
_PARTS = (
    *("modules_to_save.", "original_module.", "token_adapter.", "trainable_tokens_"),
    # Where PEFT's own list of prefixes has only the beginning of some tensors' names.
    *("vera_", "pvera_", "adaption_"),
)
_ADAPTER_NAME = re.compile(r"(?<=[._])(lora_\w+|modules_to_save|trainable_tokens_delta)\.default\b")


@cache
def _part_pattern() -> re.Pattern[str]:
    """Return where a tensor's name goes from its module to what the adapter has there."""
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

    starts = sorted({*_PARTS, *PEFT_TYPE_TO_PREFIX_MAPPING.values()})
    any_start = "|".join(map(re.escape, starts))
    return re.compile(rf"\.(?=(?:base_layer\.)*(?:{any_start}|weight$|bias$))")


def split_name(name: str) -> tuple[str, str]:
    """Return a tensor's module, and what the adapter has there."""
    module, *part = _part_pattern().split(name, maxsplit=1)
    return module, "".join(part)


@dataclass(frozen=True)
class ModuleIndex:
    """The modules of a base by their names, and by what of those is the same in every class."""

    kind: str
    by_name: Mapping[str, Any]
    by_core: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, model: Any) -> ModuleIndex:
        """Index the modules of a model."""
        plain = {
            name: module
            for name, module in model.named_modules()
            if not _part_pattern().search(f".{name}.") and ".base_layer" not in name
        }
        cores: dict[str, tuple[str, ...]] = {}
        for name in plain:
            cores[core_name(name)] = (*cores.get(core_name(name), ()), name)
        return cls(type(model).__name__, plain, cores)

    def find(self, name: str) -> str:
        """Return the base's name of a module."""
        if name in self.by_name:
            return name
        candidates = self.by_core.get(core_name(name), ())
        outer, _, last = name.rpartition(".")
        if (
            not candidates
            and getattr(self.by_name.get(self._known(outer)), "weight", None) is not None
        ):
            raise UnknownPart(f"{last} of {outer}")
        if not candidates:
            raise LookupError(f"it has no module {name} ({self.kind})")
        if len(candidates) > 1:
            raise LookupError(f"{name} may be {candidates[0]} or {candidates[1]} ({self.kind})")
        return candidates[0]

    def _known(self, name: str) -> str:
        return next(iter(self.by_core.get(core_name(name), ())), name)


class UnknownPart(Exception):
    """A module of the base has a tensor of no known adapter."""


def core_name(name: str) -> str:
    """Return what of a module's name is the same in every class."""
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    while len(parts) > 1 and parts[0] in _OUTER:
        del parts[0]
    return ".".join(parts)


def plain_name(key: str) -> str:
    """Return a tensor's name without PEFT's beginning and the adapter's name."""
    return _ADAPTER_NAME.sub(r"\1", key.removeprefix("base_model.model."))
