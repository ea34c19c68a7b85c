"""Adapters with virtual tokens: each row alone gives what plain PEFT gives, and base stays base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import muted
from tunegate.harness.checks import liveness
from tunegate.harness.engine.inference import local_engine
from tunegate.harness.engine.inference.fallbacks import one_by_one
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.cases import Case

PROMPTS = ("the parcel is late", "a refund", "the capital of Spain is Madrid and Paris is")


def _adapter(out: Path, base: Path, kind: str) -> Path:
    """Save an adapter of random virtual tokens."""
    import torch
    from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(5)
    config = {"prompt": PromptTuningConfig, "prefix": PrefixTuningConfig}[kind](
        task_type="CAUSAL_LM", num_virtual_tokens=4
    )
    with muted():
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        for parameter in model.prompt_encoder.parameters():
            torch.nn.init.normal_(parameter, std=1.0)
        model.save_pretrained(out)
    return out


@pytest.fixture(name="pair", params=["prompt", "prefix"])
def _pair(request: pytest.FixtureRequest, tiny: Any, tmp_path: Path) -> dict[str, Any]:
    """Return both arms of a llama with virtual tokens."""
    adapter = _adapter(tmp_path / "adapter", tiny.base(), request.param)
    with muted():
        return open_arms({"base": str(tiny.base()), "tuned": str(adapter)})


def test_only_the_tuned_arm_is_computed_alone(pair: dict[str, Any]) -> None:
    with muted():
        proof = liveness.check_liveness(pair)["tuned"]

    assert proof["switching_off_restores_base"] == "exactly"
    assert (one_by_one(pair["base"]), one_by_one(pair["tuned"])) == (False, True)


def test_answers_are_those_of_whole_forwards(pair: dict[str, Any], ask: Any) -> None:
    import torch

    arm = pair["tuned"]
    cases = [Case(id=str(i), prompt=text) for i, text in enumerate(PROMPTS)]
    with muted():
        found = {
            a.key: a for a in local_engine.complete_requests(arm, ask(arm, cases, max_new_tokens=8))
        }
    for case in cases:
        ids = list(arm.tokenizer(case.prompt)["input_ids"])
        start = len(ids)
        with arm.active() as model, torch.inference_mode(), muted():
            while len(ids) < start + 8:
                whole = torch.tensor([ids])
                logits = model(input_ids=whole, attention_mask=torch.ones_like(whole)).logits
                token = int(logits[0, -1].argmax())
                if token in arm.stop_ids:
                    break
                ids.append(token)
        text = arm.tokenizer.decode(ids[start:], skip_special_tokens=True)
        assert found[case.id].completion.text == text


def test_likelihoods_are_those_of_one_forward(pair: dict[str, Any], ask: Any) -> None:
    import torch

    arm = pair["tuned"]
    cases = [Case(id=str(i), prompt=text, expected="refund") for i, text in enumerate(PROMPTS)]
    with muted():
        found = {a.key: a for a in local_engine.complete_requests(arm, ask(arm, cases, "answer"))}
    for case in cases:
        before = arm.tokenizer(case.prompt)["input_ids"]
        whole = arm.tokenizer(f"{case.prompt} refund")["input_ids"]
        ids = torch.tensor([whole])
        with arm.active() as model, torch.inference_mode(), muted():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        logprobs = torch.log_softmax(logits[-len(whole) :], dim=-1)
        values = [float(logprobs[i - 1, whole[i]]) for i in range(len(before), len(whole))]
        mean = sum(values) / len(values)
        assert found[case.id].completion.answer_logprob == pytest.approx(mean, abs=1e-4)
