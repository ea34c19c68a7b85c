"""Lost parts: names in weight files, as the makers of models write them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunegate.harness.checks.lost_parts import lost_parts_warning

torch = pytest.importorskip("torch")

TEXT = ["model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "model.norm.weight"]


@pytest.mark.parametrize(
    ("base", "tuned", "lost"),
    [
        ([*TEXT, "mtp.layers.0.mlp.up_proj.weight", "mtp.norm.weight"], TEXT, "mtp"),
        # DeepSeek-V3 and GLM-4.5 number the head that drafts as a further layer.
        ([*TEXT, "model.layers.1.eh_proj.weight"], TEXT, "layers.1"),
        # Qwen2.5-VL: the text part is saved alone, under other names.
        (
            [*(name.replace("model.", "model.language_model.") for name in TEXT),
             "model.visual.blocks.0.attn.qkv.weight"],
            TEXT,
            "visual",
        ),
        ([*TEXT, "lm_head.weight"], TEXT, ""),
        (TEXT, [*TEXT, "lm_head.weight"], ""),
    ],
)  # fmt: skip
def test_a_part_of_base_that_tuned_lacks_is_named(
    tmp_path: Path, base: list[str], tuned: list[str], lost: str
) -> None:
    from safetensors.torch import save_file

    arms: list[Any] = []
    for name, tensors in (("base", base), ("tuned", tuned)):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "model.safetensors"
        save_file({tensor: torch.zeros(1) for tensor in tensors}, file)
        arms.append(SimpleNamespace(loaded=SimpleNamespace(folder=tmp_path / name)))

    warning = lost_parts_warning(*arms)

    assert warning.startswith(f"its files lack {lost} of base") if lost else warning == ""


def test_an_adapter_on_the_load_of_base_loses_nothing(tmp_path: Path) -> None:
    arm: Any = SimpleNamespace(loaded=SimpleNamespace(folder=tmp_path))

    assert lost_parts_warning(arm, arm) == ""
