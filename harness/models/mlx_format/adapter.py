"""Adapters of `mlx_lm.lora`, as PEFT adapters of the same base.

MLX adds `scale · x·lora_a·lora_b` to a layer's output, PEFT `lora_alpha / r · B·A·x`: each matrix
is transposed, and `lora_alpha` is `scale · rank`. DoRA's `m` is PEFT's magnitude vector
(mlx_lm/tuner/lora.py and dora.py of mlx-lm 0.32).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.models.adapters.weight_files import read_json
from tunegate.harness.models.demo_model import cache_folder
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.hashing import file_sha256, sha256

WEIGHTS = "adapters.safetensors"
_CONFIG = "adapter_config.json"
_VERSION = 2
"""Raised when the same adapter would be written otherwise."""
_PARTS = {
    "lora_a": "lora_A.weight",
    "lora_b": "lora_B.weight",
    "m": "lora_magnitude_vector",
}
"""Part of a layer in MLX → in PEFT."""
ORIGINAL = "mlx"
"""Folder within the converted one, with the files as they were."""
_FUSE = "mlx_lm.fuse makes a model of it, which can be judged"


def is_mlx_adapter(folder: Path) -> bool:
    """Return whether the folder holds an adapter of mlx-lm, and none of PEFT's."""
    return (folder / WEIGHTS).is_file() and not (folder / "adapter_model.safetensors").is_file()


def peft_folder(folder: Path) -> Path:
    """Return a folder in the cache with the adapter in PEFT's form, made on the first call.

    Its name is a hash of tensors and configuration; equal ones are written in equal bytes.
    """
    config = read_json(folder / _CONFIG)
    name = sha256([file_sha256(folder / WEIGHTS), config, _VERSION])
    target = cache_folder() / "mlx-adapters" / name[:32]
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        _write(folder, config, place)
        place.rename(target)
    except OSError:
        if not target.is_dir():  # another process may have made it meanwhile
            raise
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return target


def _write(folder: Path, config: Any, target: Path) -> None:
    """Write the adapter in PEFT's form."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    path = folder / WEIGHTS
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ModelError(f"{path}: not a whole safetensors file; copy it again") from error
    peft = _peft_config(folder, config, tensors)
    written = {}
    for name, tensor in tensors.items():
        module, _, part = name.rpartition(".")
        value = tensor if part == "m" else tensor.T.contiguous()
        written[f"base_model.model.{module}.{_PARTS[part]}"] = value
    (target / ORIGINAL).mkdir()
    for original in (path, folder / _CONFIG):
        shutil.copyfile(original, target / ORIGINAL / original.name)
    save_file(written, target / "adapter_model.safetensors", metadata={"format": "pt"})
    (target / _CONFIG).write_text(json.dumps(peft, indent=1) + "\n", encoding="utf-8")


def _peft_config(folder: Path, config: Any, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return PEFT's configuration; raise ModelError where PEFT would compute something else."""
    place, path = folder / _CONFIG, folder / WEIGHTS
    kind = config.get("fine_tune_type", "lora") if isinstance(config, dict) else None
    if kind == "full":
        raise ModelError(f"{place}: fine_tune_type 'full' is whole layers, no adapter; {_FUSE}")
    if kind not in ("lora", "dora"):
        raise ModelError(f"{place}: fine_tune_type {kind!r} is neither 'lora' nor 'dora'")
    parameters = config.get("lora_parameters")
    scale, rank = (
        parameters.get(key) if isinstance(parameters, dict) else None for key in ("scale", "rank")
    )
    if not isinstance(scale, int | float) or not isinstance(rank, int):
        raise ModelError(
            f"{place}: lora_parameters needs a rank and a scale, and is {parameters!r}; copy the "
            "file that mlx_lm.lora wrote next to the tensors"
        )
    parts: dict[str, set[str]] = {}
    for name, tensor in tensors.items():
        module, _, part = name.rpartition(".")
        _refuse_tensor(path, name, tuple(tensor.shape), rank)
        parts.setdefault(module, set()).add(part)
    wanted = {"lora_a", "lora_b"} | ({"m"} if kind == "dora" else set())
    for module, found in sorted(parts.items()):
        if found != wanted:
            odd = min(wanted ^ found)
            what = "is missing" if odd in wanted else f"does not belong to {kind}"
            raise ModelError(f"{path}: {module}.{odd} {what}; copy the adapter again")
    return {
        "base_model_name_or_path": config.get("model"),
        "lora_alpha": scale * rank,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": sorted(parts),
        "task_type": "CAUSAL_LM",
        "use_dora": kind == "dora",
    }


def _refuse_tensor(path: Path, name: str, shape: tuple[int, ...], rank: int) -> None:
    """Raise ModelError for a tensor that PEFT has no place for, or that has another rank."""
    module, _, part = name.rpartition(".")
    if part not in _PARTS:
        raise ModelError(f"{path}: {name} is not part of a LoRA; {_FUSE}")
    if len(shape) == 3:
        raise ModelError(f"{path}: {name} is a LoRA of experts, which PEFT lacks; {_FUSE}")
    if "embed" in module.rpartition(".")[2]:
        raise ModelError(
            f"{path}: {name} is a LoRA of embeddings, which MLX applies to a tied head too; {_FUSE}"
        )
    side = {"lora_a": shape[-1], "lora_b": shape[0]}.get(part, rank)
    if side != rank:
        raise ModelError(
            f"{path}: {name} has rank {side}, and {_CONFIG} says {rank}; copy both of one training"
        )
