"""Tiny models of families that see, each with its processor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.base_families.families import VIT, make_config, model_class
from tests.tiny_models import make_tokenizer
from tests.tiny_vlm import TEMPLATE

QWEN = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
QWEN_PLACE = "<|vision_start|><|image_pad|><|vision_end|>"


def _qwen(t: Any, kind: str) -> dict[str, Any]:
    video = "Qwen2VL" if kind == "Qwen2_5_VL" else "Qwen3VL"
    size = {"shortest_edge": 256, "longest_edge": 4096}
    return {
        "image_processor": t.Qwen2VLImageProcessor(patch_size=8, size=size, merge_size=2),
        "video_processor": getattr(t, f"{video}VideoProcessor")(patch_size=8),
    }


PROCESSORS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "Idefics3": lambda t: {
        "image_processor": t.Idefics3ImageProcessorPil(
            size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
        ),
        "image_seq_len": 4,
    },
    "Gemma3": lambda t: {
        "image_processor": t.Gemma3ImageProcessorPil(size={"height": 16, "width": 16}),
        "image_seq_length": 4,
    },
    "Mllama": lambda t: {
        "image_processor": t.MllamaImageProcessorPil(
            size={"height": 16, "width": 16}, max_image_tiles=4
        )
    },
    "Pixtral": lambda t: {
        "image_processor": t.PixtralImageProcessorPil(
            size={"longest_edge": 64}, patch_size={"height": 8, "width": 8}
        ),
        "patch_size": 8,
        "spatial_merge_size": 2,
    },
    "Qwen2_5_VL": lambda t: _qwen(t, "Qwen2_5_VL"),
    "Qwen3VL": lambda t: _qwen(t, "Qwen3VL"),
}
"""Prefix of a processor's class → what it is made of."""
IDEFICS = ("<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
FAMILIES: dict[str, tuple[str, str, Mapping[str, str], tuple[str, ...]]] = {
    "Idefics3": ("Idefics3", "<image>", {"image_token_id": "<image>"}, IDEFICS),
    "Gemma3": (
        "Gemma3",
        "<boi>",
        {"image_token_id": "<soft>", "boi_token_index": "<boi>", "eoi_token_index": "<eoi>"},
        (),
    ),
    "Mllama": ("Mllama", "<|image|>", {"image_token_id": "<|image|>"}, ()),
    "Mistral3": ("Pixtral", "[IMG]", {"image_token_id": "[IMG]"}, ("[IMG_BREAK]", "[IMG_END]")),
    "Qwen2_5_VL": ("Qwen2_5_VL", QWEN_PLACE, QWEN, ()),
    "Qwen3VL": ("Qwen3VL", QWEN_PLACE, QWEN, ()),
    "Qwen3_5": ("Qwen3VL", QWEN_PLACE, QWEN, ()),
}
"""Family → processor, text of an image in its template, tokens of its config, further tokens."""


def save_seeing(family: str, out: Path) -> Path:
    """Write a model of the family with random weights, and its processor."""
    import torch
    import transformers as t

    kind, place, ids, further = FAMILIES[family]
    template = TEMPLATE.replace("<image>", place)
    plain = make_tokenizer(template=template)
    plain.add_special_tokens(
        {"additional_special_tokens": [*dict.fromkeys(ids.values()), *further]}
    )
    named = {"boi_token": "<boi>", "eoi_token": "<eoi>", "image_token": "<soft>"}
    tokenizer = t.PreTrainedTokenizerFast(
        tokenizer_object=plain.backend_tokenizer,
        bos_token=plain.bos_token,
        eos_token=plain.eos_token,
        pad_token=plain.pad_token,
        chat_template=template,
        **({"extra_special_tokens": named} if family == "Gemma3" else {}),
    )
    config = _config(family, {k: tokenizer.convert_tokens_to_ids(v) for k, v in ids.items()})
    # Mllama has one embedding more than words it writes: the image's.
    config.text_config.vocab_size = len(tokenizer) - (family == "Mllama")
    torch.manual_seed(0)
    model = model_class(f"{family}+")(config)
    for name, weight in model.named_parameters():
        if "language_model" not in name and "lm_head" not in name and weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(out)
    made = getattr(t, f"{kind}Processor")
    made(tokenizer=tokenizer, chat_template=template, **PROCESSORS[kind](t)).save_pretrained(out)
    return out


def _config(family: str, ids: Mapping[str, int]) -> Any:
    import transformers as t

    if family == "Idefics3":
        text = make_config("SmolVLM+").text_config.to_dict()
        vision = {**VIT, "image_size": 32}
        return t.Idefics3Config(text_config=text, vision_config=vision, scale_factor=2, **ids)
    config = make_config(f"{family}+")
    if family == "Mistral3":
        config.vision_config.image_size = 64
    for name, value in ids.items():
        setattr(config, name, value)
    return config
