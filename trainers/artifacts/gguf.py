"""The adapter merged into the weights, written as a GGUF file with four to eight bits a number.

llama.cpp itself makes K-quants, out of a file in float32.
"""

from __future__ import annotations

import logging
import tempfile
from functools import partial
from pathlib import Path

from tunegate.harness.contracts.quiet import quiet_libraries
from tunegate.harness.models._model_folder import require_modules
from tunegate.harness.records.errors import ModelError
from tunegate.trainers.artifacts import DeploymentArtifact, save_merged
from tunegate.trainers.artifacts._gguf_writer import write_gguf


def make(base: Path, adapter: Path, out: Path, *, quantisation: str) -> str:
    """Merge in float32, write the file and return its model spec.

    The file carries the tokenizer and the chat template of the tuned arm.
    """
    path = out / f"model-{quantisation.lower()}.gguf"
    with tempfile.TemporaryDirectory(dir=out, prefix="whole-") as whole:
        save_merged(base, adapter, Path(whole), dtype="float32")
        write_gguf(Path(whole), path, quantisation)
    return f"gguf:{path}"


def make_k_quant(base: Path, adapter: Path, out: Path, *, quantisation: str) -> str:
    """Merge in float32, let llama.cpp round the file and return its model spec.

    Raises:
        MissingExtra: llama-cpp-python is not installed.
    """
    require_modules("llama_cpp", what=f"a GGUF file in {quantisation}", extra="llama-cpp")
    path = out / f"model-{quantisation.lower()}.gguf"
    with tempfile.TemporaryDirectory(dir=out, prefix="whole-") as whole:
        save_merged(base, adapter, Path(whole), dtype="float32")
        plain = Path(whole) / "model-f32.gguf"
        write_gguf(Path(whole), plain, "F32")
        quantise_gguf(plain, path, quantisation)
    return f"gguf:{path}"


def quantise_gguf(plain: Path, path: Path, quantisation: str) -> None:
    """Write a K-quant of a GGUF file in float32, as llama.cpp's own tool does.

    Args:
        plain: The file in float32.
        path: The file to be written.
        quantisation: A mixture of llama.cpp, as `Q4_K_M`. It says which layers are stored more
            exactly; rows that do not fill a block of 256 get another format.

    Raises:
        ModelError: llama.cpp did not write it.
    """
    import ctypes

    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{quantisation}")
    # It logs a line for each tensor, and llama.cpp's warnings as errors.
    with quiet_libraries("llama-cpp-python", level=logging.CRITICAL):
        code = llama_cpp.llama_model_quantize(
            str(plain).encode(), str(path).encode(), ctypes.byref(params)
        )
    if code:
        raise ModelError(f"{path}: llama.cpp did not write it in {quantisation} (code {code})")


K_QUANTS = ("Q4_K_M", "Q5_K_M", "Q6_K")
ARTIFACTS = tuple(
    DeploymentArtifact(
        f"gguf_{quantisation.lower()}",
        f"merged into the weights, rounded to GGUF's {quantisation}",
        partial(make_k_quant if quantisation in K_QUANTS else make, quantisation=quantisation),
    )
    for quantisation in ("Q8_0", "Q4_0", *K_QUANTS)
)
