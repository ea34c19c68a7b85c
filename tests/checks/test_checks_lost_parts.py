"""Lost parts: the tensors that Transformers itself leaves out, by its own lists."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunegate.harness.checks.lost_parts import lost_parts_warning

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXT = ["model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "model.norm.weight"]
NESTED = [name.replace("model.", "model.language_model.") for name in TEXT]


class SavedArm(SimpleNamespace):
    """A local arm of which only the folder matters."""

    tokenizer = stop_ids = context_length = None
    active = probe = len


def warning(tmp_path: Path, base: list[str], tuned: list[str]) -> str:
    """Return what is told of two models with such tensors."""
    from safetensors.torch import save_file

    arms: list[Any] = []
    for name, tensors in (("base", base), ("tuned", tuned)):
        folder = tmp_path / name
        folder.mkdir()
        save_file({tensor: torch.zeros(1) for tensor in tensors}, folder / "model.safetensors")
        arms.append(SavedArm(loaded=SimpleNamespace(folder=folder)))
    return lost_parts_warning(*arms)


@pytest.mark.parametrize(
    ("model", "tensor", "part"),
    [
        ("Qwen3NextForCausalLM", "mtp.layers.0.mlp.up_proj.weight", "mtp"),
        # A head that drafts is numbered as a further layer.
        ("Glm4MoeForCausalLM", "model.layers.46.eh_proj.weight", "layers.46"),
        ("LongcatFlashForCausalLM", "model.mtp.layers.0.eh_proj.weight", "mtp"),
    ],
)
def test_a_head_that_transformers_leaves_out_is_named(
    tmp_path: Path, model: str, tensor: str, part: str
) -> None:
    left_out = getattr(transformers, model)._keys_to_ignore_on_load_unexpected

    assert any(re.search(pattern, tensor) for pattern in left_out)
    assert warning(tmp_path, [*TEXT, tensor], TEXT).startswith(f"its files lack {part} of base")


def test_a_vision_tower_is_named_if_the_text_part_was_saved_alone(tmp_path: Path) -> None:
    base = [*NESTED, "model.visual.blocks.0.attn.qkv.weight"]

    assert warning(tmp_path, base, TEXT).startswith("its files lack visual of base")


@pytest.mark.parametrize("more", ["lm_head.weight", "model.rotary_emb.inv_freq"])
def test_tied_heads_and_old_buffers_are_no_loss(tmp_path: Path, more: str) -> None:
    assert warning(tmp_path, [*TEXT, more], TEXT) == ""


def test_an_adapter_on_the_load_of_base_loses_nothing(tmp_path: Path) -> None:
    arm: Any = SavedArm(loaded=SimpleNamespace(folder=tmp_path))

    assert lost_parts_warning(arm, arm) == ""
