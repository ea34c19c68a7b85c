"""The adapter merged into the weights, which are then rounded to NF4 by bitsandbytes.

Works on a processor too. The weights of linear layers are stored in 4 bits, their scales doubly
quantised; embeddings and the head stay as they are.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tunegate.harness.models._model_class import text_class
from tunegate.harness.models._model_folder import prefix_errors, require_modules
from tunegate.trainers.artifacts import DeploymentArtifact, copy_tokenizer, save_merged


def make(base: Path, adapter: Path, out: Path) -> str:
    """Make the artifact and return its model spec."""
    require_modules("bitsandbytes", "accelerate", what="a 4-bit artifact", extra="quantized")
    with tempfile.TemporaryDirectory(dir=out, prefix="whole-") as whole:
        save_merged(base, adapter, Path(whole), dtype="float32")
        _quantise(Path(whole), out)
    copy_tokenizer(base, adapter, out)
    return str(out)


def _quantise(whole: Path, out: Path) -> None:
    import torch
    from transformers import BitsAndBytesConfig

    computed = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    stored = BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # Transformers is untyped there
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=computed,
    )
    with prefix_errors(f"{whole}: cannot be stored in 4 bits"):
        model = text_class(whole).from_pretrained(whole, quantization_config=stored, dtype=computed)
        model.save_pretrained(out)


ARTIFACTS = (
    DeploymentArtifact("four_bit", "merged into the weights, rounded to 4 bits (NF4)", make),
)
