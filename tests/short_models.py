"""The first layers of the embedded model: real weights, tokenizer and template at a third the cost.

For tests whose claim does not depend on what the model says: files, rounding, killed processes.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import muted

LAYERS = 6
"""Of 30."""


@dataclass(frozen=True)
class ShortModel:
    """Folders of a base model and of a live adapter of it."""

    base: Path
    adapter: Path


@pytest.fixture(scope="session")
def short_model(tmp_path_factory: pytest.TempPathFactory) -> ShortModel:
    """Return a short base and a LoRA adapter of small random weights, which was not trained."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from tunegate.harness.models.demo_model import make_demo_model

    whole, root = make_demo_model(), tmp_path_factory.mktemp("short")
    made = ShortModel(root / "base", root / "adapter")
    torch.manual_seed(0)
    with muted():
        model: Any = AutoModelForCausalLM.from_pretrained(
            whole, num_hidden_layers=LAYERS, dtype=torch.float32
        )
        model.save_pretrained(made.base)
        for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copy(whole / file, made.base)
        config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model, config)
        model.peft_config["default"].base_model_name_or_path = str(made.base)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.02)
        model.save_pretrained(made.adapter)
    return made
