"""GGUF files: metadata and tensors, mapped into memory by the `gguf` package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.models._model_folder import require_modules
from tunegate.harness.records.errors import ModelError

if TYPE_CHECKING:
    from gguf.gguf_reader import ReaderTensor


@dataclass(frozen=True)
class GgufFile:
    """A whole GGUF file."""

    path: Path
    fields: Mapping[str, Any] = field(repr=False)
    """Metadata by key."""
    tensors: Mapping[str, ReaderTensor] = field(repr=False)
    kinds: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Types of the metadata, as the `gguf` package numbers them."""

    @property
    def architecture(self) -> str:
        """The name of the architecture, as llama.cpp spells it."""
        return str(self.fields["general.architecture"])

    @property
    def stored(self) -> dict[str, int]:
        """Number of tensors by storage type: `F32`, `Q8_0` …"""
        return dict(sorted(Counter(t.tensor_type.name for t in self.tensors.values()).items()))

    @property
    def stop_ids(self) -> list[int]:
        """Ids that the file names as the end of a text, a turn or a message."""
        keys = (f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom"))
        return sorted({int(self.fields[key]) for key in keys if key in self.fields})


def read_gguf(path: Path) -> GgufFile:
    """Read the metadata and map the tensors."""
    require_modules("gguf", what="a GGUF file", extra="gguf")
    from gguf import GGUFReader

    if not path.is_file():
        raise ModelError(f"{path}: no such file; give the path of a .gguf file")
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise ModelError(
            f"{path}: not a GGUF file (it begins with {magic!r}); convert the model with "
            "llama.cpp's convert_hf_to_gguf.py, or give the model's folder as it is"
        )
    try:
        reader = GGUFReader(path)
        fields = {key: value.contents() for key, value in reader.fields.items()}
    except (IndexError, KeyError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path}: truncated, damaged or unknown to the installed gguf package ({error}); copy "
            "or download it again, or pip install --upgrade gguf"
        ) from error
    if "general.architecture" not in fields:
        raise ModelError(f"{path}: general.architecture is missing; convert the model again")
    if fields.get("split.count", 1) > 1:
        raise ModelError(
            f"{path}: one of {fields['split.count']} parts; join them first with llama.cpp's "
            "llama-gguf-split --merge"
        )
    kinds = {key: value.types for key, value in reader.fields.items()}
    return GgufFile(path, fields, {tensor.name: tensor for tensor in reader.tensors}, kinds)
