"""GGUF files for tests: a tiny model that one can hold, and copies with other metadata."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts import environment

needs_gguf = pytest.mark.skipif(
    not environment.has_feature("gguf"), reason="this Transformers reads no GGUF files exactly"
)


def few_stops(folder: Path, out: Path) -> Path:
    """Copy a tiny model, ending its texts at three ids: as many as a GGUF file can name."""
    shutil.copytree(folder, out)
    set_keys(out / "generation_config.json", eos_token_id=[0, 9, 33])
    return out


def set_keys(path: Path, **keys: Any) -> None:
    """Change keys of a JSON file."""
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**value, **keys}), encoding="utf-8")


def rewritten(source: Path, out: Path, **fields: Any) -> Path:
    """Copy a GGUF file with other metadata; None leaves a key out."""
    from gguf import GGUFReader, GGUFValueType, GGUFWriter

    reader = GGUFReader(source)
    writer = GGUFWriter(out, str(reader.fields["general.architecture"].contents()))
    for key, old in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture" or key in fields:
            continue
        inner = old.types[-1] if old.types[0] is GGUFValueType.ARRAY else None
        writer.add_key_value(key, old.contents(), old.types[0], inner)
    for key, value in fields.items():
        if value is not None:
            kind = GGUFValueType.STRING if isinstance(value, str) else GGUFValueType.UINT32
            writer.add_key_value(key, value, kind)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out
