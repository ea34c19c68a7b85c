"""Weight parts: what the files of a model folder hold, by the names of their tensors.

Transformers loads a model without parts that its class does not know, such as heads that draft
several tokens, and then saves it without them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tunegate.harness.models._model_folder import OLD_BUFFERS
from tunegate.harness.models.adapters.weight_files import tensor_headers

_PART = re.compile(r"(?:(?:model|language_model|text_model|transformer)\.)*((?:layers\.\d+|[^.]+))")
"""A tensor's part, whatever class saved it: `mtp`, `visual`, `layers.61`."""
TIED_PARTS = {"lm_head", "embed_out"}
"""Parts that are saved or not, as the embeddings are tied or not."""


def weight_parts(names: Iterable[str]) -> dict[str, list[str]]:
    """Return part → names of its tensors, without the constants of older versions."""
    parts: dict[str, list[str]] = {}
    for name in names:
        if not OLD_BUFFERS.search(name) and (match := _PART.match(name)):
            parts.setdefault(match[1], []).append(name)
    return parts


def lost_parts(base: Path, saved: Path) -> dict[str, list[str]]:
    """Return part → tensors of base's files of which a saved model has nothing."""
    ours, theirs = (weight_parts(tensor_headers(folder)) for folder in (base, saved))
    lost = sorted(ours.keys() - theirs.keys() - TIED_PARTS)
    return {part: ours[part] for part in lost} if theirs else {}
