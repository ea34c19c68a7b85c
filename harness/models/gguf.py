"""`gguf:FILE.gguf`: a model in llama.cpp's format, as an arm.

Transformers unpacks the file to float32 and the arm is like any local model: every kind of
question, every optimization of the engine, exact arithmetic on the rounded weights. With
`llama-server:FILE.gguf` llama.cpp computes, as in production.
`?tokenizer=DIR` takes the tokenizer of a folder, which must have the file's vocabulary, and
`?lora=FILE&scale=X` adds a LoRA adapter as GGUF to the weights; options are joined with `&`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tunegate.harness.contracts import environment
from tunegate.harness.models._load_model import silence_libraries
from tunegate.harness.models._model_folder import require_modules
from tunegate.harness.models.gguf_format.file import GgufFile, read_gguf
from tunegate.harness.models.gguf_format.lora import parse_scale, read_lora, write_merged
from tunegate.harness.models.gguf_format.tokenizer import gguf_tokenizer
from tunegate.harness.models.gguf_format.unpack import load_gguf
from tunegate.harness.models.transformers import HfArm
from tunegate.harness.records.errors import ModelError

SPEC = "gguf:FILE.gguf[?tokenizer=FOLDER&lora=FILE&scale=X]"
_OPTIONS = ("tokenizer", "lora", "scale")


@dataclass(frozen=True, slots=True)
class _GgufTarget:
    """The spec after `gguf:`."""

    path: Path
    tokenizer: Path | None = None
    lora: Path | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class GgufArm(HfArm):
    """A GGUF file that Transformers unpacked."""

    file: GgufFile | None = None

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """That of a local model, and how the file stores its tensors."""
        assert self.file is not None
        known = {**super().identity, "backend": "gguf"}
        return {**known, "architecture": self.file.architecture, "stored": self.file.stored}


def computes_here(target: str) -> bool:
    """Return True: Transformers computes each file in this process, logits included."""
    return True


def model_file(target: str) -> Path:
    """Return the file that a target names."""
    return _parse(target).path


def gguf(target: str) -> GgufArm:
    """Open a GGUF file."""
    wanted = _parse(target)
    file = read_gguf(wanted.path)
    require_modules("torch", "transformers")
    require_modules("accelerate", what="a GGUF file", extra="gguf")
    environment.require_feature("gguf", f"gguf:{target}")
    silence_libraries()
    tokenizer = gguf_tokenizer(file, wanted.tokenizer)
    if wanted.lora is None:
        return GgufArm(f"gguf:{target}", load_gguf(file, tokenizer), tokenizer, file=file)
    with tempfile.TemporaryDirectory(prefix="tunegate-lora-") as place:
        merged = Path(place) / file.path.name
        write_merged(file, read_lora(wanted.lora, file), wanted.scale, merged)
        loaded = load_gguf(read_gguf(merged), tokenizer)
    return GgufArm(f"gguf:{target}", loaded, tokenizer, file=file)


def with_scale(target: str, factor: float) -> str:
    """Return a target whose adapter is scaled by a factor."""
    scale = factor * _parse(target).scale
    kept = [option for option in target.rpartition("?")[2].split("&") if option[:6] != "scale="]
    return f"{target.rpartition('?')[0]}?{'&'.join([*kept, f'scale={scale:g}'])}"


def _parse(target: str) -> _GgufTarget:
    """Split the options off the path; a question mark in a file's own name is left alone."""
    if Path(target).expanduser().is_file() or "?" not in target:
        return _GgufTarget(Path(target).expanduser())
    name, _, options = target.rpartition("?")
    values: dict[str, str] = {}
    for option in options.split("&"):
        key, _, value = option.partition("=")
        if key not in _OPTIONS or not value:
            raise ModelError(
                f"gguf:{target}: {option!r} is not an option; write tokenizer=DIR, lora=FILE "
                "or scale=NUMBER"
            )
        values[key] = value
    folder, lora = (Path(v).expanduser() if (v := values.get(k)) else None for k in _OPTIONS[:2])
    scale = parse_scale(f"gguf:{target}", values.get("scale", "1"))
    return _GgufTarget(Path(name).expanduser(), folder, lora, scale)
