"""GGUF files by llama.cpp's own converters: the adapter merged and rounded, or as a LoRA file.

Each folder also gets a Modelfile for Ollama.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tunegate.harness.models._model_folder import adapter_config
from tunegate.harness.models.gguf_format.converters import convert, find_program, quantise
from tunegate.harness.models.gguf_format.file import read_gguf
from tunegate.harness.models.gguf_format.unpack import unread_part
from tunegate.harness.records.errors import ModelError
from tunegate.trainers.artifacts import DeploymentArtifact, copy_tokenizer, save_merged
from tunegate.trainers.artifacts._base_parts import copy_base_parts
from tunegate.trainers.artifacts._modelfile import write_modelfile

HF, LORA = "convert_hf_to_gguf.py", "convert_lora_to_gguf.py"
CONVERTED = ("F16", "Q8_0")
"""Formats that the converter itself writes."""
QUANTISED = ("Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K")
"""Formats that llama.cpp makes out of a file in float32."""
_MODEL = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer.model",
)
_LOST = {
    "use_rslora": "rsLoRA's scale, lora_alpha / √r: it would be served as lora_alpha / r",
    "alpha_pattern": "scales by module (alpha_pattern)",
}
"""Key of an adapter's configuration → what `convert_lora_to_gguf.py` drops without a word."""


def make(base: Path, adapter: Path, out: Path, *, quantisation: str) -> str:
    """Merge in float32, convert, and return the file's model spec."""
    path = out / f"model-{quantisation.lower()}.gguf"
    for program in (HF,) if quantisation in CONVERTED else (HF, "llama-quantize"):
        find_program(program)  # before minutes are spent on merging
    with _merged(base, adapter, out) as whole:
        if quantisation in CONVERTED:
            convert(HF, whole, "--outfile", path, "--outtype", quantisation.lower())
        else:
            plain = whole / "model-f32.gguf"
            convert(HF, whole, "--outfile", plain, "--outtype", "f32")
            quantise(plain, path, quantisation)
        file = read_gguf(path)
        write_modelfile(whole, file)
    return f"llama-server:{path}" if unread_part(file) else f"gguf:{path}"


def make_lora(base: Path, adapter: Path, out: Path) -> str:
    """Convert base and adapter each for itself, and return the spec of both in `llama-server`."""
    find_program(LORA)
    config = adapter_config(adapter)
    if lost := next((words for key, words in _LOST.items() if config.get(key)), None):
        raise ModelError(f"{adapter}: llama.cpp's LoRA files do not hold {lost}; merge the adapter")
    model, lora = out / "base-16bit.gguf", out / "adapter-f32.gguf"
    with tempfile.TemporaryDirectory(dir=out, prefix="whole-") as place:
        whole = Path(place) / base.name
        whole.mkdir()
        copy_tokenizer(base, adapter, whole)
        for file in (f for pattern in _MODEL for f in base.glob(pattern)):
            if not (whole / file.name).exists():
                (whole / file.name).symlink_to(file.resolve())
        convert(HF, whole, "--outfile", model, "--outtype", "auto")
        convert(LORA, adapter, "--base", base, "--outfile", lora, "--outtype", "f32")
        write_modelfile(whole, read_gguf(model), adapter=lora)
    return f"llama-server:{model}?lora={lora}"


@contextmanager
def _merged(base: Path, adapter: Path, out: Path) -> Iterator[Path]:
    """Yield a folder with the merged model; it is removed afterwards."""
    with tempfile.TemporaryDirectory(dir=out, prefix="whole-") as place:
        # The converter writes the folder's name into the file.
        whole = Path(place) / adapter.name
        whole.mkdir()
        save_merged(base, adapter, whole, dtype="float32")
        copy_base_parts(base, whole)
        yield whole


ARTIFACTS = (
    *(
        DeploymentArtifact(
            f"gguf_{quantisation.lower()}",
            f"merged into the weights, rounded to GGUF's {quantisation}",
            partial(make, quantisation=quantisation),
        )
        for quantisation in (*CONVERTED, *QUANTISED)
    ),
    DeploymentArtifact("gguf_lora", "a LoRA file beside base, both for llama.cpp", make_lora),
)
