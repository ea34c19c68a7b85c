"""Weight files: refuses unsafe ones and computes the fingerprint of a model folder.

Nothing is executed or unpickled here. `refuse_unsafe` lints the configuration and the file list
before any library reads them; `weights_fingerprint` names the weights by content, so that a moved
or renamed folder is the same model and a changed file is another.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import ModelError, UnsafeWeights
from tunegate.harness.records.files import read_file
from tunegate.harness.records.hashing import file_sha256, sha256

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_NO_WEIGHTS = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")
"""Pickles that trainers leave next to the weights and that nothing here reads."""
_WEIGHTS = (".safetensors", ".gguf")
_HEADER_LIMIT = 100_000_000
"""Largest safetensors header the format allows, in bytes."""


def refuse_unsafe(folder: Path, *, trusted: bool = False) -> None:
    """Refuse weights that are only there as pickles, and configuration that runs code."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    pickles = [f for f in files if f.suffix in _PICKLES and not f.stem.startswith(_NO_WEIGHTS)]
    if pickles and not any(_is_read(f) for f in files):
        raise UnsafeWeights(
            f"{pickles[0]}: weights are only there as a pickle, which can run code when loaded; "
            "save them as safetensors (model.save_pretrained(…)) and try again"
        )
    for path in files:
        if path.suffix == ".json" and "config" in path.stem:
            value = read_json(path)
            if trusted and isinstance(value, dict):
                value.pop("auto_map", None)
            _lint(path, value)
    tensors = sum(_check_header(path) for path in files if path.suffix == ".safetensors")
    _refuse_layers(folder / "config.json", tensors)


_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_USUAL_LAYERS = 1000
"""No model has more; those that share weights may have fewer tensors than layers."""


def _refuse_layers(config: Path, tensors: int) -> None:
    """Refuse more layers than there are tensors, before a library builds all of them."""
    config_json = read_json(config) if config.is_file() else {}
    for key in _LAYERS:
        layers = config_json.get(key) if isinstance(config_json, dict) else None
        if isinstance(layers, int) and layers > max(tensors, _USUAL_LAYERS):
            raise ModelError(
                f"{config}: {key} = {layers}, and the weights are {tensors} tensors; copy the "
                "folder again"
            )


def _is_read(file: Path) -> bool:
    """Return whether the libraries read this file's weights; PEFT reads one name only."""
    if (file.parent / "adapter_config.json").is_file():
        return file.name == "adapter_model.safetensors"
    return file.suffix in _WEIGHTS


def weights_fingerprint(folder: Path, *, code: bool = False) -> str:
    """Return the SHA-256 that names the weights in `folder`.

    It covers the content of every weight file; file names of shards count, the folder's own name
    and path do not. The configuration is hashed separately in an arm's identity.
    """
    weights = sorted(p for p in folder.iterdir() if p.suffix in _WEIGHTS)
    if not weights:
        raise ModelError(f"{folder}: no .safetensors or .gguf file in this folder")
    if code:
        weights += sorted(folder.glob("*.py"))
    return sha256({path.name: file_sha256(path) for path in weights})


def read_json(path: Path) -> Any:
    """Return the content of a model's JSON file."""
    try:
        return json.loads(read_file(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error})") from error


def _lint(path: Path, value: Any, trail: str = "") -> None:
    """Refuse keys through which a configuration makes a library import or fetch code."""
    if isinstance(value, dict):
        for key, item in value.items():
            _lint_key(path, f"{trail}{key}", str(key), item)
            _lint(path, item, f"{trail}{key}.")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _lint(path, item, f"{trail}{i}.")


def _lint_key(path: Path, trail: str, key: str, item: Any) -> None:
    runs_code = (
        (key in ("auto_map", "auto_mapping", "megatron_config", "megatron_core") and item)
        or (key == "trust_remote_code" and item)
        or ("attn_implementation" in key and isinstance(item, str) and "/" in item)
    )
    if runs_code and not _is_harmless(path, key, item):
        raise UnsafeWeights(
            f"{path}: {trail}={item!r} would run code that comes with the model; use a model "
            "that the installed transformers supports by itself, or remove the key, or allow the "
            "code of both arms on the command line with --trust-remote-code"
        )


def _is_harmless(path: Path, key: str, item: Any) -> bool:
    """Return whether a key that names code is not followed.

    PEFT writes `auto_mapping` for plain models and a default `megatron_core` string. Many models
    came with code of their own (`auto_map`) before Transformers had their type; it uses its own
    class then, since nothing here allows it to trust the other.
    """
    if key == "auto_mapping" and isinstance(item, dict):
        parent = str(item.get("parent_library", ""))
        return parent.startswith("transformers.models.")
    if key == "auto_map":
        return _has_own_class(path.parent)
    return key == "megatron_core" and item == "megatron.core"


def _has_own_class(folder: Path) -> bool:
    """Return whether Transformers has a class for the folder's model type."""
    if not (folder / "config.json").is_file() or importlib.util.find_spec("transformers") is None:
        return False
    from transformers import CONFIG_MAPPING

    value = read_json(folder / "config.json")
    return isinstance(value, dict) and value.get("model_type") in CONFIG_MAPPING


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """A tensor of a safetensors file, without its values."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    begin: int
    """First byte of its values in the file."""
    end: int


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that Transformers reads, without copies in another layout."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if index.is_file():
        try:
            return sorted({folder / name for name in read_json(index)["weight_map"].values()})
        except (AttributeError, KeyError, TypeError) as error:
            raise ModelError(f"{index}: has no weight_map of file names; copy it again") from error
    return sorted(folder.glob("*.safetensors"))


def tensor_headers(folder: Path) -> dict[str, TensorHeader]:
    """Return name → header of every tensor of a model folder."""
    headers = {}
    for path in weight_files(folder):
        header, start = _read_header(path)
        try:
            for name, tensor in header.items():
                begin, end = (start + offset for offset in tensor["data_offsets"])
                shape = tuple(tensor["shape"])
                headers[name] = TensorHeader(tensor["dtype"], shape, path, begin, end)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: the safetensors header names no tensors") from error
    return headers


_CHUNK = 1 << 24


def same_bytes(one: TensorHeader, other: TensorHeader) -> bool:
    """Return whether two tensors have the same form and the same values, byte for byte."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    with one.file.open("rb") as first, other.file.open("rb") as second:
        first.seek(one.begin)
        second.seek(other.begin)
        for at in range(0, one.end - one.begin, _CHUNK):
            count = min(_CHUNK, one.end - one.begin - at)
            if first.read(count) != second.read(count):
                return False
    return True


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return a safetensors file's tensors by name, and where the values begin."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _HEADER_LIMIT):
            raise ModelError(f"{path}: not a whole safetensors file; copy or save it again")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{path}: the safetensors header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise ModelError(f"{path}: the safetensors header names no tensors")
    return {name: header[name] for name in header if name != "__metadata__"}, 8 + length


def _check_header(path: Path) -> int:
    """Return how many tensors the file holds."""
    header, start = _read_header(path)
    try:
        spans = _spans(header)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: the safetensors header names no tensors") from error
    if max((end for _, end in spans), default=0) != path.stat().st_size - start:
        raise ModelError(f"{path}: truncated or padded safetensors file; copy or save it again")
    if any(begin != end for (_, end), (begin, _) in itertools.pairwise([(0, 0), *spans])):
        raise ModelError(f"{path}: tensors overlap or leave holes; copy or save it again")
    return len(spans)


def _spans(header: Any) -> list[tuple[int, int]]:
    """Return where each tensor begins and ends, in the order of the file."""
    pairs = [tensor["data_offsets"] for tensor in header.values()]
    return sorted((operator.index(begin), operator.index(end)) for begin, end in pairs)
