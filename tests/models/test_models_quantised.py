"""A base stored in 4 bits, as QLoRA trains on it: opened, shared, computed the same each time."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import muted
from tests.whole_forwards import greedy
from tunegate.harness.checks import liveness
from tunegate.harness.contracts.further_arm import add_derived_arms
from tunegate.harness.engine.inference import local_engine
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra

PROMPTS = ("a", "the parcel is late", "a refund")


@pytest.fixture(scope="module")
def folders(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A 4-bit base and a LoRA adapter of it."""
    pytest.importorskip("bitsandbytes")
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    root = tmp_path_factory.mktemp("quantised")
    stored = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    with muted():
        model = AutoModelForCausalLM.from_pretrained(tiny.base(), quantization_config=stored)
        model.save_pretrained(root / "base")
        AutoTokenizer.from_pretrained(tiny.base()).save_pretrained(root / "base")
        torch.manual_seed(1)
        reloaded = AutoModelForCausalLM.from_pretrained(root / "base")
        tuned = get_peft_model(reloaded, LoraConfig(r=4, target_modules="all-linear"))
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
        tuned.save_pretrained(root / "adapter")
    return root / "base", root / "adapter"


@pytest.fixture(name="arms", scope="module")
def _arms(folders: tuple[Path, Path]) -> dict[str, Any]:
    with muted():
        return dict(open_arms({"base": None, "tuned": str(folders[1])}))


def test_switching_off_restores_base(arms: dict[str, Any]) -> None:
    with muted():
        proof = liveness.check_liveness(arms)["tuned"]

    assert proof["switching_off_restores_base"] == "exactly"
    assert arms["base"].loaded is arms["tuned"].loaded


def test_the_format_is_recorded_and_its_noise_measured(arms: dict[str, Any]) -> None:
    """4 bits are no exact arithmetic, whatever they are unpacked to: base is asked again."""
    assert arms["base"].identity["dtype"] == "float32, 4-bit bitsandbytes"
    assert list(add_derived_arms(arms)) == ["base", "tuned", "base_again"]


def test_answers_are_those_of_whole_forwards(
    arms: dict[str, Any], ask: Callable[..., list[Any]]
) -> None:
    cases = [Case(id=str(i), prompt=text) for i, text in enumerate(PROMPTS)]
    for arm in arms.values():
        with muted():
            asked = ask(arm, cases, max_new_tokens=8)
            found = {a.key: a.completion for a in local_engine.complete_requests(arm, asked)}
            with arm.active() as model:
                for case in cases:
                    ids = greedy(model, arm.tokenizer(case.prompt)["input_ids"], 8, arm.stop_ids)
                    assert found[case.id].text == arm.tokenizer.decode(
                        ids, skip_special_tokens=True
                    )


def test_without_bitsandbytes(
    tiny: Any, copied: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence with the pip line, before anything is loaded."""
    folder = copied(tiny.base(), quantization_config={"quant_method": "bitsandbytes"})
    assert "quantization_config" in json.loads((folder / "config.json").read_text())
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else real(name)
    )

    with pytest.raises(MissingExtra, match=r"4-bit .* pip install 'tunegate\[quantized\]'"):
        open_arms({"base": str(tiny.base()), "tuned": str(folder)})
