"""Prompts with images: rendered by the chat template, prepared by the model's own processor."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.model import Prompt
from tunegate.harness.models._model_folder import require_modules
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, error_reason
from tunegate.harness.records.hashing import bytes_sha256
from tunegate.harness.records.images import CaseImage

_FILES = ("processor_config.json", "preprocessor_config.json")


def has_processor(folder: Path | None) -> bool:
    """Return whether a folder says how images are prepared."""
    return folder is not None and any((folder / name).is_file() for name in _FILES)


def takes_images(model: Any) -> bool:
    """Return whether the loaded class has its vision part."""
    from transformers.models.auto import modeling_auto

    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    vision_classes = modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    return type(plain).__name__ in vision_classes.values()


def load_processor(folder: Path, tokenizer: Any) -> Any:
    """Load what prepares images for a model, and let it use the tokenizer."""
    require_modules("PIL", what="a model that sees images", extra="images")
    from transformers import AutoProcessor

    from tunegate.harness.models._model_folder import prefix_errors

    if not has_processor(folder):
        raise ModelError(
            f"{folder}: no {_FILES[1]} or {_FILES[0]}, which say how images are prepared; "
            "copy them from where the model is from"
        )
    with prefix_errors(f"{folder}: its images cannot be prepared"):
        try:
            auto: Any = AutoProcessor
            processor = auto.from_pretrained(folder, trust_remote_code=False)
        except ImportError as error:  # torchvision for Qwen-VL, num2words for SmolVLM
            raise ModelError(
                f"{folder}: {error_reason(error).partition('. ')[0]}; install that package"
            ) from error
    processor.tokenizer = tokenizer
    return processor


def encode_prompts(processor: Any, texts: Sequence[str], cases: Sequence[Case]) -> Any:
    """Return the model's inputs for rendered prompts and their images, padded to one length."""
    images = [[_open_image(image.read()) for image in case.images] for case in cases]
    start = processor.tokenizer.bos_token
    try:
        # As in Transformers' apply_chat_template: templates may write the first token themselves.
        return processor(
            text=list(texts),
            images=images,
            padding=True,
            return_tensors="pt",
            add_special_tokens=not (start and texts[0].startswith(start)),
        )
    except Exception as error:
        raise ValueError(f"the processor refuses it: {error_reason(error)}") from error


def _open_image(content: bytes) -> Any:
    """Return an image upright and in RGB, on white where it is transparent, as vLLM shows it."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def with_images(prompt: Prompt, processor: Any, case: Case) -> Prompt:
    """Return a prompt with a token for each part of its images, and the hash of what is seen."""
    inputs = encode_prompts(processor, [prompt.text], [case])
    ids, digest = inputs.pop("input_ids"), hashlib.sha256()
    for name, value in sorted(inputs.items()):
        for tensor in value if isinstance(value, list) else [value]:
            if tensor.shape != ids.shape:  # neither mask nor types of the tokens
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                digest.update(tensor.contiguous().numpy().data)
    seen = digest.hexdigest()
    return replace(prompt, token_ids=tuple(ids[0].tolist()), answering=None, images=(seen,))


def probe_case() -> Case:
    """Return a case with a picture, on which arms that agree on texts are compared."""
    from PIL import Image

    file = io.BytesIO()
    shades = [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.new("L", (256, 256))]
    Image.merge("RGB", shades).save(file, "PNG")
    image = CaseImage("probe", bytes_sha256(file.getvalue()), "image/png", file.getvalue())
    part = {"type": "image", "image": image.name, "sha256": image.sha256}
    question = {"type": "text", "text": "What is in this picture?"}
    return Case(id="probe").with_images([{"role": "user", "content": [part, question]}], [image])
