"""A GGUF file's header, read without loading anything: metadata, and where each tensor lies.

Everything that can be wrong with the file itself is found here, in one line and before any library
maps it: no GGUF at all, an unknown version, one part of several, an end in the middle.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from harness.errors import ModelError
from harness.models._files import need

_SCALARS = dict(zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True))
"""Value type of the format → its `struct` letter."""
_STRING, _ARRAY = 8, 9
_VERSIONS = (2, 3)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file."""

    kind: str
    """How it is stored: `F32`, `Q8_0` …"""
    begin: int
    """Offset from the beginning of the file, in bytes."""
    size: int
    """Bytes."""


@dataclass(frozen=True)
class GgufFile:
    """A whole GGUF file."""

    path: Path
    fields: Mapping[str, Any] = field(repr=False)
    """Metadata by key."""
    tensors: Mapping[str, Tensor] = field(repr=False)

    @property
    def architecture(self) -> str:
        """The name of the architecture, as llama.cpp spells it."""
        return str(self.fields["general.architecture"])

    @property
    def stored(self) -> dict[str, int]:
        """How many tensors are stored in which way."""
        return dict(sorted(Counter(tensor.kind for tensor in self.tensors.values()).items()))

    @property
    def stop_ids(self) -> list[int]:
        """Ids that the file names as the end of a text, a turn or a message."""
        keys = (f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom"))
        return sorted({int(self.fields[key]) for key in keys if key in self.fields})


def read(path: Path) -> GgufFile:
    """Read the header.

    Raises:
        ModelError: it is no GGUF file, or not a whole one.
        MissingExtra: the package that knows the format's numbers is not installed.
    """
    need("gguf", what="a GGUF file", extra="gguf")
    if not path.is_file():
        raise ModelError(f"{path}: no such file; give the path of a .gguf file")
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(4)
        if magic != b"GGUF":
            raise ModelError(
                f"{path}: not a GGUF file (it begins with {magic!r}); convert the model with "
                "llama.cpp's convert_hf_to_gguf.py, or give the model's folder as it is"
            )
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _parse(path, _Cursor(data, 4))
            except _Ended as error:
                raise ModelError(
                    f"{path}: the file ends in the middle ({size} bytes, at least {error.needed} "
                    "are needed); copy or download it again"
                ) from error
            except (KeyError, ValueError, struct.error) as error:
                raise ModelError(
                    f"{path}: the GGUF header is damaged ({error}); copy or download it again"
                ) from error


class _Ended(Exception):
    """The file is shorter than it says."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


@dataclass
class _Cursor:
    """A place in the header; nothing is read beyond the end."""

    data: mmap.mmap
    at: int

    def need(self, size: int) -> int:
        """Return the place `size` bytes further on."""
        if self.at + size > len(self.data):
            raise _Ended(self.at + size)
        return self.at + size

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        end = self.need(size)
        start, self.at = self.at, end
        return self.data[start:end]

    def numbers(self, letters: str) -> tuple[Any, ...]:
        """Return the next little-endian numbers."""
        return struct.unpack(f"<{letters}", self.take(struct.calcsize(f"<{letters}")))

    def text(self) -> str:
        """Return the next string."""
        (length,) = self.numbers("Q")
        return self.take(length).decode("utf-8")

    def value(self, kind: int) -> Any:
        """Return the next value of a type."""
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.numbers(_SCALARS[kind])[0]
        inner, count = self.numbers("IQ")
        self.need(count)  # a damaged count must not be believed
        if inner in _SCALARS:
            return list(self.numbers(f"{count}{_SCALARS[inner]}"))
        return [self.value(inner) for _ in range(count)]


def _parse(path: Path, cursor: _Cursor) -> GgufFile:
    version, n_tensors, n_fields = cursor.numbers("IQQ")
    if version not in _VERSIONS:
        raise ModelError(
            f"{path}: GGUF version {version}; versions 2 and 3 can be read: convert it again"
        )
    fields = {}
    for _ in range(n_fields):
        key = cursor.text()
        fields[key] = cursor.value(cursor.numbers("I")[0])
    if "general.architecture" not in fields:
        raise ValueError("general.architecture is missing")
    if fields.get("split.count", 1) > 1:
        raise ModelError(
            f"{path}: one of {fields['split.count']} parts; join them first with llama.cpp's "
            "llama-gguf-split --merge"
        )
    table = [_entry(cursor) for _ in range(n_tensors)]
    alignment = int(fields.get("general.alignment", 32))
    start = -(-cursor.at // alignment) * alignment
    tensors = {
        name: _placed(path, (name, elements, kind), start + offset)
        for name, elements, kind, offset in table
    }
    cursor.at = 0
    cursor.need(max((t.begin + t.size for t in tensors.values()), default=start))
    return GgufFile(path, fields, tensors)


def _entry(cursor: _Cursor) -> tuple[str, int, int, int]:
    """Return a tensor's name, number of elements, type and offset."""
    name = cursor.text()
    (dimensions,) = cursor.numbers("I")
    elements = prod(cursor.numbers(f"{dimensions}Q"))
    kind, offset = cursor.numbers("IQ")
    return name, elements, kind, offset


def _placed(path: Path, entry: tuple[str, int, int], begin: int) -> Tensor:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    name, elements, kind = entry
    try:
        known = GGMLQuantizationType(kind)
    except ValueError as error:
        raise ModelError(
            f"{path}: tensor {name} is stored in a way that the installed gguf does not know "
            f"(type {kind}); quantise the model as Q8_0, or pip install --upgrade gguf"
        ) from error
    block, size = GGML_QUANT_SIZES[known]
    return Tensor(known.name, begin, elements // block * size)
