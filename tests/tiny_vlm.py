"""A tiny vision-language model of LLaVA's classes, its processor, and adapters of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.base_families.families import make_config, model_class
from tests.tiny_models import make_tokenizer, muted
from tunegate.harness.records.cases import Case
from tunegate.harness.records.hashing import bytes_sha256
from tunegate.harness.records.images import CaseImage

TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
LANGUAGE = r".*language_model.*\.(q|v)_proj"
VISION = r".*vision_tower.*\.(q|v)_proj"


def save_vlm(out: Path, *, seed: int = 0) -> Path:
    """Save a model that reads pictures of 16 × 16 pixels as four tokens."""
    import torch
    import transformers as t

    tokenizer = make_tokenizer(template=TEMPLATE)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    config = make_config("Llava+")
    config.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    config.vision_feature_layer = -1  # of one layer
    config.text_config.vocab_size = len(tokenizer)
    torch.manual_seed(seed)
    model = model_class("Llava+")(config)
    for name, weight in model.named_parameters():
        if "language_model" not in name and weight.dim() > 1:  # so that pictures matter
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(out)
    pictures = t.CLIPImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
    )
    processor = t.LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    processor.save_pretrained(out)
    return out


def save_vlm_adapter(
    out: Path, base: Path, *, targets: Any = LANGUAGE, whole: Any = None, dead: bool = False
) -> Path:
    """Save a LoRA adapter of modules by pattern; `whole` modules are saved with it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(1)
    model: Any = AutoModelForImageTextToText.from_pretrained(base)
    with muted():
        model = get_peft_model(
            model, LoraConfig(r=4, lora_alpha=8, target_modules=targets, modules_to_save=whole)
        )
    for name, weight in model.named_parameters():
        if ("lora_B" in name or "modules_to_save" in name) and not dead:
            torch.nn.init.normal_(weight, std=0.3)
    with muted():
        model.save_pretrained(out)
    return out


@cache
def pictures() -> tuple[bytes, ...]:
    """Return four different PNG images, of different sizes."""
    from PIL import Image

    drawn = (
        Image.linear_gradient("L").resize((40, 30)),
        Image.radial_gradient("L").resize((16, 64)),
        Image.new("RGB", (20, 20), (200, 10, 30)),
        Image.linear_gradient("L").rotate(90),
    )
    files = [io.BytesIO() for _ in drawn]
    for image, file in zip(drawn, files, strict=True):
        image.save(file, "PNG")
    return tuple(file.getvalue() for file in files)


def picture_case(name: str, shown: Sequence[bytes], text: str = "the parcel", **turn: Any) -> Case:
    """Return a case that shows pictures and says a text."""
    images = [CaseImage(f"{i}.png", bytes_sha256(c), "image/png", c) for i, c in enumerate(shown)]
    parts = [{"type": "image", "image": i.name, "sha256": i.sha256} for i in images]
    content = [*parts, {"type": "text", "text": text}]
    return Case(id=name).with_images([{"role": "user", "content": content}], images)
