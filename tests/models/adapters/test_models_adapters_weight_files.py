"""Safe files: malformed safetensors end in one line, and content names the weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.models.adapters.weight_files import (
    file_sha256,
    read_json,
    refuse_unsafe,
    weights_fingerprint,
)
from tunegate.harness.records.errors import ModelError, UnsafeWeights

TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def _file(header: Any, data: bytes = b"\0" * 8, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole safetensors file"),
        (b"\0\0\0", "not a whole safetensors file"),
        (_file({"a": TENSOR}, length=2**63), "not a whole safetensors file"),
        (_file({"a": TENSOR}, length=200_000_000), "not a whole safetensors file"),
        (_file({"a": TENSOR}, b"\0" * 4), "truncated or padded"),
        (_file({"a": TENSOR}, b"\0" * 12), "truncated or padded"),
        (_file(b"{not json"), "header is not JSON"),
        (_file(b"\xff\xfe{}"), "header is not JSON"),
        (_file(b"[" * 100_000), "header is not JSON"),
        (_file([1, 2]), "names no tensors"),
        (_file({"a": {"dtype": "F32", "shape": [2]}}), "names no tensors"),
        (_file({"a": {**TENSOR, "data_offsets": [0]}}), "names no tensors"),
        (_file({"a": {**TENSOR, "data_offsets": "08"}}), "names no tensors"),
        (
            _file({"a": TENSOR, "b": {**TENSOR, "data_offsets": [12, 20]}}, b"\0" * 20),
            "overlap or leave holes",
        ),
        (
            _file({"a": TENSOR, "b": {**TENSOR, "data_offsets": [4, 12]}}, b"\0" * 12),
            "overlap or leave holes",
        ),
        (_file({"a": {**TENSOR, "data_offsets": [4, 12]}}, b"\0" * 12), "overlap or leave holes"),
        (_file({"a": {**TENSOR, "data_offsets": [12, 8]}}), "overlap or leave holes"),
        (_file({"a": {**TENSOR, "data_offsets": [-8, 8]}}), "overlap or leave holes"),
    ],
)
def test_malformed_safetensors(tmp_path: Path, content: bytes, message: str) -> None:
    """Truncated files, giant headers, holes and overlaps are clean errors that name the file."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        refuse_unsafe(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")


def test_well_formed_safetensors(tmp_path: Path) -> None:
    """What the library writes passes, empty tensors and metadata included."""
    import torch
    from safetensors.torch import save_file

    tensors = {"a": torch.zeros(3), "b": torch.zeros(0), "c": torch.zeros(2, 2)}
    file = tmp_path / "model.safetensors"
    save_file(tensors, file, {"format": "pt"})
    refuse_unsafe(tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelError) as caught:
        refuse_unsafe(tmp_path)
    assert str(caught.value).startswith(f"{file}: ")


@pytest.mark.parametrize("shape", [[3], [1 << 62, 8], [-2]])
def test_a_shape_that_is_not_the_data(tiny: Any, copied: Any, shape: list[int]) -> None:
    """A tensor whose shape is not its bytes is an error of the load, not a crash."""
    from tunegate.harness.models._load_model import load_model

    folder = copied(tiny.base())
    (folder / "model.safetensors").write_bytes(_file({"a": {**TENSOR, "shape": shape}}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(folder, dtype="float32")


def test_content_names_the_weights(tmp_path: Path) -> None:
    """The fingerprint follows the bytes of the weights, not the folder nor other files."""
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
    (second / "README.md").write_text("moved", encoding="utf-8")
    (second / "config.json").write_text("{}", encoding="utf-8")
    assert weights_fingerprint(first) == weights_fingerprint(second)
    (second / "model.safetensors").write_bytes(b"weighty")
    assert weights_fingerprint(first) != weights_fingerprint(second)


def test_file_hash(tmp_path: Path) -> None:
    """The hash of a file is the SHA-256 of its bytes (`echo -n abc | sha256sum`)."""
    (tmp_path / "f").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(tmp_path / "f") == expected


def test_no_weights_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no .safetensors or .gguf file"):
        weights_fingerprint(tmp_path)
    refuse_unsafe(tmp_path)


def test_pickles_beside_safetensors(tmp_path: Path) -> None:
    """A pickle is refused where it would be read: alone, or as the only weights of an adapter."""
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UnsafeWeights):
        refuse_unsafe(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(_file({"a": TENSOR}))
    refuse_unsafe(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UnsafeWeights):
        refuse_unsafe(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(_file({"a": TENSOR}))
    refuse_unsafe(tmp_path)


def test_what_peft_writes_is_harmless(tmp_path: Path) -> None:
    config = {
        "auto_mapping": {
            "base_model_class": "LlamaForCausalLM",
            "parent_library": "transformers.models.llama.modeling_llama",
        },
        "megatron_config": None,
        "megatron_core": "megatron.core",
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "adapter_model.safetensors").write_bytes(_file({"a": TENSOR}))
    refuse_unsafe(tmp_path)
    config["auto_mapping"] = {"base_model_class": "M", "parent_library": "somebody.models"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UnsafeWeights, match="auto_mapping"):
        refuse_unsafe(tmp_path)


def test_reading_json(tmp_path: Path) -> None:
    """A file that is missing or broken is an error that names it."""
    for name, content in (("a.json", b"{"), ("b.json", b"\xff"), ("c.json", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=f"{name}: not readable as JSON"):
            read_json(tmp_path / name)


def test_more_layers_than_tensors(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(_file({"a": TENSOR}))
    config = tmp_path / "config.json"
    config.write_text('{"num_hidden_layers": 48}', encoding="utf-8")
    refuse_unsafe(tmp_path)  # layers may share their weights

    config.write_text('{"num_hidden_layers": 1000000000}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"num_hidden_layers = 1000000000, and .* 1 tensors"):
        refuse_unsafe(tmp_path)
