"""A LoRA adapter that acts and does not matter: what an A/A run compares base with.

It has the shape of a usual LoRA on every linear layer, but `lora_B`, which is zero before training,
is drawn so small that no answer should care. The numbers are seeded: the same base gets the same
adapter each time, so that its answers are stored once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.models._files import is_adapter, need

RANK = 8
ALPHA = 16
SPREAD = 1e-4
"""Standard deviation of `lora_B`; trained adapters of this shape end near 1e-2."""
WORDS = f"LoRA r={RANK}, all-linear, lora_B of size {SPREAD:.0e}"


def make_null_adapter(base: Path, out: Path) -> None:
    """Write a null adapter of the model folder `base` into the folder `out`.

    The base's weights are not read: names and shapes of its layers come from the configuration.

    Raises:
        UsageError: base is an adapter itself, or no LoRA adapter can be made for it.
    """
    if is_adapter(base):
        raise UsageError(f"base={base} is an adapter; give the model it was trained on")
    need("torch", "transformers", "peft")
    from harness.models._loading import quiet, saying

    quiet()
    import torch
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    causal: Any = AutoModelForCausalLM  # from_config has no annotation
    with saying(f"{base}: no null adapter can be made for it"):
        with torch.device("meta"):
            config = AutoConfig.from_pretrained(base, trust_remote_code=False)
            skeleton = causal.from_config(config)
            lora = LoraConfig(
                r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"
            )
            model = get_peft_model(skeleton, lora)
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
        generator = torch.Generator().manual_seed(0)
        tensors = {
            name: torch.empty(state[name].shape).normal_(
                std=SPREAD if ".lora_B." in name else state[name].shape[-1] ** -0.5,
                generator=generator,
            )
            for name in sorted(state)
        }
        out.mkdir(parents=True, exist_ok=True)
        save_file(tensors, out / "adapter_model.safetensors", metadata={"format": "pt"})
        settings = model.peft_config["default"]
        settings.base_model_name_or_path = str(base)
        settings.inference_mode = True
        settings.save_pretrained(str(out))
