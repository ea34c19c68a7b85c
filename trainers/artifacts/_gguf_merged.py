"""An adapter merged into its base and written as one GGUF file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from trainers.artifacts._gguf import write
from trainers.artifacts._merge import save_merged


def save_gguf(base: Path, adapter: Path, out: Path, quantisation: str) -> str:
    """Merge in float32, write the file and return its model spec.

    The file carries the tokenizer and the chat template of the tuned arm.
    """
    path = out / f"model-{quantisation.lower()}.gguf"
    with tempfile.TemporaryDirectory(dir=out, prefix="whole-") as whole:
        save_merged(base, adapter, Path(whole), dtype="float32")
        write(Path(whole), path, quantisation)
    return f"gguf:{path}"
