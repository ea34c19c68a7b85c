"""An adapter merged into its base: what every artifact without an adapter begins with."""

from __future__ import annotations

import shutil
from pathlib import Path

from tunegate.harness.errors import ModelError
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.models.transformers import prefix_errors

_TOKENIZER = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "vocab*",
    "merges.txt",
    "*.model",
)
"""Files that make up a tokenizer with its chat template."""


def save_merged(base: Path, adapter: Path, out: Path, *, dtype: str) -> None:
    """Merge in float32 and save a model folder with its tokenizer, byte for byte the adapter's.

    Args:
        base: The base's folder.
        adapter: The adapter's folder.
        out: An empty folder.
        dtype: Number format in which the weights are saved.

    Raises:
        ModelError: the adapter cannot be merged.
        NotComparable: it was trained on another base.
    """
    import torch

    tuned = open_arms({"base": str(base), "tuned": str(adapter)}, dtype="float32")["tuned"]
    loaded, virtual = tuned.loaded, tuned.virtual_tokens  # type: ignore[attr-defined]  # HfArm's
    if virtual:
        raise ModelError(
            f"{adapter}: virtual tokens cannot be merged into weights; serve the adapter as it is"
        )
    if loaded.dtype != "float32":
        raise ModelError(
            f"{base}: stored as {loaded.dtype}, into which nothing can be merged exactly; give "
            "the base in 16 or 32 bits"
        )
    with prefix_errors(f"{adapter}: the adapter cannot be merged"):
        model = loaded.torch_model.merge_and_unload(safe_merge=True)
        model.to(getattr(torch, dtype)).save_pretrained(out)
    copy_tokenizer(base, adapter, out)


def copy_tokenizer(base: Path, adapter: Path, out: Path) -> None:
    """Copy the tokenizer that the tuned arm uses: the adapter's own, else base's."""
    own = any((adapter / f).is_file() for f in ("tokenizer.json", "tokenizer_config.json"))
    source = adapter if own else base
    for path in (path for pattern in _TOKENIZER for path in source.glob(pattern)):
        if path.is_file():
            shutil.copyfile(path, out / path.name)
