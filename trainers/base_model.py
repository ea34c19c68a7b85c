"""The model to train: located, checked for safety and identified by content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunegate.harness.models._model_folder import EMBEDDED
from tunegate.harness.models.adapters.weight_files import refuse_unsafe, weights_fingerprint
from tunegate.harness.records.errors import ModelError, UsageError


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model on this machine."""

    name: str
    """Model for Transformers and for the adapter's config: an absolute path, or a hub id."""
    folder: Path
    weights_sha256: str


def find_base(name: str | None, *, revision: str = "main", trusted: bool = False) -> BaseModel:
    """Return the base that `--model_name_or_path` names."""
    if not name:
        raise UsageError("--model_name_or_path: missing; give a folder, a hub id or 'embedded'")
    folder = find_model_folder(name, revision)
    local = name == EMBEDDED or Path(name).expanduser().is_dir()
    refuse_adapter(name, folder)
    if not trusted:
        refuse_unsafe(folder)
    return BaseModel(str(folder.resolve()) if local else name, folder, weights_fingerprint(folder))


def refuse_adapter(name: str, folder: Path) -> None:
    """Refuse a folder that holds an adapter and no model."""
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise ModelError(f"{name}: is an adapter; give the base that it was trained on")


_NEEDED = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
"""Files of a model that can be trained on."""


def find_model_folder(
    name: str,
    revision: str = "main",
    *,
    option: str = "--model_name_or_path",
    patterns: Sequence[str] = _NEEDED,
) -> Path:
    """Return the folder of a model: its own, the demo model's, or the snapshot of a hub id."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name == EMBEDDED:
        from tunegate.harness.models.demo_model import make_demo_model

        return make_demo_model()
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        allowed = "; HF_HUB_OFFLINE=0 allows downloading it" if constants.HF_HUB_OFFLINE else ""
        raise ModelError(
            f"{option} {name}: neither a folder, nor in the local Hugging Face cache, nor "
            f"reachable on the model hub ({type(error).__name__}){allowed}"
        ) from error
