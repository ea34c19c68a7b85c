"""Model contents: what a model's files state, before any of them is loaded.

A folder is read by the headers of its weight files and its configuration, a GGUF file by its
metadata. What a format does not hold, or a folder does not state, is None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DRAFTING, _VISION, _AUDIO = "a head that drafts (MTP)", "a vision tower", "an audio tower"
_KINDS = {
    DRAFTING: re.compile(r"mtp|nextn|medusa|eagle|eh_proj"),
    _AUDIO: re.compile(r"audio|speech|whisper"),
    _VISION: re.compile(r"vision|visual|image|vit\b|mm_proj|multi_?modal|patch_embed"),
}
"""Kind of a part → how its tensors are named, or the part itself."""
_PACKED = ("U8", "I8", "I32", "U32", "F8_E4M3", "F8_E5M2", "F4", "F6")
"""Number formats of weights that only the quantisation's own settings can unpack."""


@dataclass(frozen=True, slots=True)
class ModelContents:
    """What the files of a model state; None is unknown."""

    place: Path
    parts: Mapping[str, str] = field(default_factory=dict)
    """Part of the weights, as in `mtp` or `layers.61` → its kind, "" for any other."""
    kinds: frozenset[str] = frozenset()
    """The kinds among the parts."""
    experts: int | None = None
    """Experts of a layer; 0 if it has none."""
    context: int | None = None
    """Tokens of a prompt and its answer."""
    rope: Mapping[str, frozenset[Any]] | None = None
    """Rotary setting → its values; several where layers differ."""
    tied: bool | None = None
    """Whether the configuration ties the output head to the embeddings."""
    head: str | None = None
    """The output head among the tensors: `own`, `copy` of the embeddings, or `none`."""
    rows: int | None = None
    """Rows of the embeddings."""
    tokens: Mapping[str, int] | None = None
    """Special and added tokens → their ids."""
    last_token: int | None = None
    """Highest id of the tokenizer."""
    stops: frozenset[int] | None = None
    """Ids that end an answer."""
    sampling: Mapping[str, Any] | None = None
    """Settings of sampling for requests that name none."""
    templates: Mapping[str, str] | None = None
    """Name of a chat template → its text; that of the usual one is "default"."""
    inputs: frozenset[str] | None = None
    """What its preprocessing takes besides text: images, videos, audio."""
    number_format: str | None = None
    """In what most weights are stored, as safetensors names it."""
    quantised: bool | None = None
    """Whether its configuration has settings of a quantisation."""
    code: frozenset[str] | None = None
    """Modules of its own code that are not there."""

    @property
    def is_gguf(self) -> bool:
        """Whether it is a GGUF file."""
        return self.place.suffix == ".gguf"

    @property
    def packed(self) -> bool:
        """Whether most weights are in a format that needs a quantisation's settings."""
        return self.number_format in _PACKED


def part_kind(part: str, names: list[str]) -> str:
    """Return the kind of a part by the names of its tensors; "" for any other."""
    for kind, pattern in _KINDS.items():
        if pattern.search(part) or (kind == DRAFTING and any(map(pattern.search, names))):
            return kind
    return ""
