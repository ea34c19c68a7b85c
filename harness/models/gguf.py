"""`gguf:FILE.gguf`: a model in llama.cpp's format, as an arm.

By default Transformers unpacks the file to float32 and the arm is like any local model: every kind
of question, every lever of the engine, exact arithmetic on the rounded weights. With
`gguf:FILE.gguf?engine=llama.cpp` llama.cpp itself computes, as it will in production.
`?tokenizer=DIR` takes the tokenizer of a folder, which must have the file's vocabulary; several
options are joined with `&`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import ModelError
from harness.model import Arm
from harness.models import _gguf_file, _gguf_model, _gguf_tokenizer
from harness.models._files import need
from harness.models._gguf_file import GgufFile
from harness.models._llama_cpp import LlamaCppArm
from harness.models._loading import quiet
from harness.models.hf import HfArm

ENGINES = ("transformers", "llama.cpp")


@dataclass(frozen=True, slots=True)
class _Target:
    """What stands after `gguf:`."""

    path: Path
    engine: str = ENGINES[0]
    tokenizer: Path | None = None


@dataclass(frozen=True)
class GgufArm(HfArm):
    """A GGUF file that Transformers unpacked."""

    file: GgufFile | None = None

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """That of a local model, and how the file stores its tensors."""
        told = {**HfArm.identity.func(self), "backend": "gguf"}  # type: ignore[attr-defined]
        assert self.file is not None
        return {**told, "architecture": self.file.architecture, "stored": self.file.stored}


def gguf(target: str) -> Arm:
    """Open a GGUF file.

    Raises:
        ModelError: it is not there, not whole, or cannot be computed exactly.
        MissingExtra: a package is missing.
    """
    wanted = _parse(target)
    file = _gguf_file.read(wanted.path)
    need("torch", "transformers")
    if wanted.engine == "llama.cpp":
        need("llama_cpp", what="?engine=llama.cpp", extra="llama-cpp")
    else:
        need("accelerate", what="a GGUF file", extra="gguf")
    quiet()
    tokenizer = _gguf_tokenizer.tokenizer(file, wanted.tokenizer)
    if wanted.engine == "llama.cpp":
        arm = LlamaCppArm(f"gguf:{target}", file, tokenizer)
        arm.make_room(1)  # whether llama.cpp loads it is known before a case is spent
        return arm
    return GgufArm(f"gguf:{target}", _gguf_model.load(file, tokenizer), tokenizer, file=file)


def _parse(target: str) -> _Target:
    """Split the options off the path; a question mark in a file's own name is left alone."""
    if Path(target).expanduser().is_file() or "?" not in target:
        return _Target(Path(target).expanduser())
    name, _, options = target.rpartition("?")
    found: dict[str, str] = {}
    for option in options.split("&"):
        key, _, value = option.partition("=")
        if key not in ("engine", "tokenizer") or not value:
            raise ModelError(
                f"gguf:{target}: {option!r} is no option; write engine=NAME or tokenizer=DIR"
            )
        found[key] = value
    engine = found.get("engine", ENGINES[0])
    if engine not in ENGINES:
        raise ModelError(f"gguf:{target}: engine={engine} is not known; {' or '.join(ENGINES)}")
    folder = found.get("tokenizer")
    return _Target(Path(name).expanduser(), engine, Path(folder).expanduser() if folder else None)
