"""A LoRA adapter at another strength."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import muted
from tunegate.harness.models.adapters.scaled_adapter import WEIGHTS, write_scaled_adapter
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.records.errors import ModelError


def logits(base: Path, adapter: Path, factor: float = 1.0) -> Any:
    """Return the logits of PEFT's model, with its own scaling times a factor."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with muted():
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter))
    for module in model.modules():
        if isinstance(scaling := getattr(module, "scaling", None), dict):
            for name in scaling:
                scaling[name] *= factor
    with torch.no_grad():
        return model(torch.arange(1, 9).unsqueeze(0)).logits


@pytest.mark.parametrize("factor", [0.25, 0.6, 1.25])
def test_it_computes_what_pefts_own_scaling_does(tiny: Any, tmp_path: Path, factor: float) -> None:
    write_scaled_adapter(tiny.adapter(), tmp_path / "scaled", factor)

    scaled = logits(tiny.base(), tmp_path / "scaled")

    assert (scaled - logits(tiny.base(), tiny.adapter(), factor)).abs().max() < 1e-4
    assert (scaled - logits(tiny.base(), tiny.adapter())).abs().max() > 1e-3


def test_its_card_names_the_new_weights(tiny: Any, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny.adapter(), source)
    card = {"method": "sft", "weights_sha256": weights_fingerprint(source)}
    (source / "tunegate_training.json").write_text(json.dumps(card), encoding="utf-8")

    write_scaled_adapter(source, tmp_path / "half", 0.5)

    written = json.loads((tmp_path / "half" / "tunegate_training.json").read_text())
    assert written["weights_sha256"] == weights_fingerprint(tmp_path / "half")
    assert (written["method"], written["strength"]) == ("sft", 0.5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"peft_type": "IA3"}, "this is IA3"),
        ({"use_dora": True}, "use_dora=True"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ],
)
def test_what_no_factor_can_weaken_is_refused(
    tiny: Any, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny.adapter(), source)
    config = json.loads((source / "adapter_config.json").read_text())
    (source / "adapter_config.json").write_text(json.dumps(config | changed), encoding="utf-8")

    with pytest.raises(ModelError, match=said):
        write_scaled_adapter(source, tmp_path / "half", 0.5)


def test_a_tensor_outside_lora_is_refused(tiny: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    source = tmp_path / "source"
    shutil.copytree(tiny.adapter(), source)
    tensors = load_file(source / WEIGHTS)
    tensors["base_model.model.lm_head.weight"] = next(iter(tensors.values())).clone()
    save_file(tensors, source / WEIGHTS, metadata={"format": "pt"})

    with pytest.raises(ModelError, match="lm_head"):
        write_scaled_adapter(source, tmp_path / "half", 0.5)


def test_lora_on_embeddings_is_scaled_beside_bases_own(tiny: Any, tmp_path: Path) -> None:
    """PEFT saves base's embedding with it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with muted():
        plain: Any = AutoModelForCausalLM.from_pretrained(tiny.base())
        model = get_peft_model(plain, LoraConfig(r=2, target_modules=["embed_tokens", "q_proj"]))
        torch.manual_seed(0)
        for weight in model.parameters():
            weight.data += 0.1 * torch.randn_like(weight) * weight.requires_grad
        model.save_pretrained(tmp_path / "source")

    write_scaled_adapter(tmp_path / "source", tmp_path / "half", 0.5)

    half = logits(tiny.base(), tmp_path / "half")
    assert (half - logits(tiny.base(), tmp_path / "source", 0.5)).abs().max() < 1e-4
    assert (half - logits(tiny.base(), tmp_path / "source")).abs().max() > 1e-3


def test_no_file_of_an_earlier_adapter_stays(tiny: Any, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "chat_template.jinja").write_text("another", encoding="utf-8")

    write_scaled_adapter(tiny.adapter(), tmp_path / "half", 0.5)

    assert not (tmp_path / "half" / "chat_template.jinja").exists()
