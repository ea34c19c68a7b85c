"""Adapters of other kinds than plain LoRA: batched answers are those of whole forwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.checks import liveness
from harness.engine import local
from harness.models.pair import open_arms
from harness.records import Case
from tests.tiny_models import muted

PROMPTS = ("the parcel is late", "a refund", "the capital of Spain is Madrid and Paris is")


def _adapter(out: Path, base: Path, kind: str) -> Path:
    """Save an adapter of random weights."""
    import torch
    from peft import IA3Config, LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(5)
    config = {
        "dora": LoraConfig(r=4, target_modules="all-linear", use_dora=True),
        "rslora": LoraConfig(r=4, target_modules="all-linear", use_rslora=True),
        "ia3": IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    }[kind]
    with muted():
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "ia3_" in name:
                torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(out)
    return out


@pytest.mark.parametrize("kind", ["dora", "rslora", "ia3"])
def test_answers_are_those_of_whole_forwards(
    tiny: Any, ask: Any, tmp_path: Path, kind: str
) -> None:
    """The adapter is alive, base is restored, and rows of a padded batch equal rows alone."""
    import torch

    adapter = _adapter(tmp_path / "adapter", tiny.base(), kind)
    arms = open_arms({"base": str(tiny.base()), "tuned": str(adapter)})
    assert liveness.check(arms)["tuned"]["switching_off_restores_base"] == "exactly"
    arm: Any = arms["tuned"]
    cases = [Case(id=str(i), prompt=text) for i, text in enumerate(PROMPTS)]
    found = {a.key: a.completion for a in local.complete(arm, ask(arm, cases, max_new_tokens=8))}
    for case in cases:
        ids = list(arm.tokenizer(case.prompt)["input_ids"])
        start = len(ids)
        with arm.active() as model, torch.inference_mode():
            while len(ids) < start + 8:
                token = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
                if token in arm.stop_ids:
                    break
                ids.append(token)
        completion = found[case.id]
        assert completion is not None
        assert completion.text == arm.tokenizer.decode(ids[start:], skip_special_tokens=True)
