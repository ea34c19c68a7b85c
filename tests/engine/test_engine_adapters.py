"""Every kind of adapter on every architecture: answers and likelihoods of whole forwards."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import ARCHITECTURES, muted
from tests.whole_forwards import greedy, logprob
from tunegate.harness.checks import liveness
from tunegate.harness.engine.inference import local_engine
from tunegate.harness.engine.inference.fallbacks import one_by_one
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.cases import Case

PROMPTS = ("the parcel is late", "a refund", "the capital of Spain is Madrid and Paris is")
VIRTUAL = ("prompt", "prefix", "p_tuning")
KINDS = ("dora", "rslora", "ia3", *VIRTUAL)
ATTENTION = {"gpt2": ["c_attn"], "phi3": ["qkv_proj"]}
FEEDFORWARD = {"gpt2": ["mlp.c_fc"], "phi3": ["down_proj"]}
"""Where the modules of an architecture have other names than Llama's."""
Ask = Callable[..., list[Any]]


def _config(kind: str, architecture: str) -> Any:
    import peft

    virtual = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 4}
    if kind == "prompt":
        return peft.PromptTuningConfig(**virtual)
    if kind == "prefix":
        return peft.PrefixTuningConfig(**virtual)
    if kind == "p_tuning":
        return peft.PromptEncoderConfig(**virtual, encoder_hidden_size=16)
    columns = {"fan_in_fan_out": True} if architecture == "gpt2" else {}
    if kind == "ia3":
        feedforward = FEEDFORWARD.get(architecture, ["down_proj"])
        modules = [*ATTENTION.get(architecture, ["k_proj"]), *feedforward]
        return peft.IA3Config(target_modules=modules, feedforward_modules=feedforward, **columns)
    flags = {"use_dora": kind == "dora", "use_rslora": kind == "rslora"}
    return peft.LoraConfig(r=4, target_modules="all-linear", **flags, **columns)


_SOME = {"target_modules": ["q_proj", "down_proj"]}
_SQUARE = {"target_modules": ["q_proj", "o_proj"]}
"""Modules with as many inputs as outputs, which some kinds need."""
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora with trained biases of its own": ("LoraConfig", {**_SOME, "lora_bias": True}),
    "qalora": ("LoraConfig", {**_SOME, "use_qalora": True, "qalora_group_size": 16}),
    "adalora": ("AdaLoraConfig", {**_SOME, "total_step": 10, "tinit": 1, "tfinal": 1}),
    "loha": ("LoHaConfig", {**_SOME, "r": 4}),
    "lokr": ("LoKrConfig", {**_SOME, "r": 4}),
    "oft": ("OFTConfig", {**_SOME, "oft_block_size": 4}),
    "boft": ("BOFTConfig", {**_SOME, "boft_block_size": 4}),
    "vera": ("VeraConfig", {**_SQUARE, "r": 4}),
    "vera without its projections": ("VeraConfig", {**_SQUARE, "r": 4, "save_projection": False}),
    "randlora": ("RandLoraConfig", {**_SOME, "r": 4}),
    "vblora": ("VBLoRAConfig", {**_SQUARE, "r": 4, "vector_length": 4, "num_vectors": 30}),
    "hra": ("HRAConfig", {**_SOME, "r": 4}),
    "fourierft": ("FourierFTConfig", {**_SOME, "n_frequency": 50}),
    "waveft": ("WaveFTConfig", {**_SOME, "n_frequency": 50}),
    "miss": ("MissConfig", {**_SOME, "r": 4}),
    "road": ("RoadConfig", {**_SOME, "group_size": 8}),
    "shira": ("ShiraConfig", {**_SOME, "r": 4}),
    "c3a": ("C3AConfig", {**_SQUARE, "block_size": 8}),
    "delora": ("DeloraConfig", {**_SOME, "r": 4}),
    "gralora": ("GraloraConfig", {**_SOME, "r": 4, "gralora_k": 2}),
    "layer norms": ("LNTuningConfig", {}),
    "tokens": (
        "TrainableTokensConfig",
        {"token_indices": [5, 77], "target_modules": ["embed_tokens"]},
    ),
    "osf": ("OSFConfig", _SOME),
}
"""Kind → class and fields of PEFT's configuration."""
SHORT = ("vera", "miss", "loha")


@pytest.mark.parametrize(
    "kind", [one if one in SHORT else pytest.param(one, marks=pytest.mark.long) for one in OTHERS]
)
def test_other_kinds_of_peft(tiny: Any, ask: Ask, tmp_path: Path, kind: str) -> None:
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    name, fields = OTHERS[kind]
    if not hasattr(peft, name):
        pytest.skip(f"the installed PEFT has no {name}")
    base = tiny.base("llama")
    torch.manual_seed(5)
    with muted():
        config = getattr(peft, name)(task_type="CAUSAL_LM", **fields)
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        model.save_pretrained(tmp_path)
        arms: dict[str, Any] = open_arms({"base": str(base), "tuned": str(tmp_path)})
        assert liveness.check_liveness(arms)["tuned"]["status"] == "proven"
        _check(arms["tuned"], _plain(base, tmp_path), ask)


def _adapter(out: Path, base: Path, kind: str, architecture: str) -> Path:
    """Save an adapter of random weights."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(5)
    with muted():
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(base), _config(kind, architecture)
        )
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "ia3_" in name:
                torch.nn.init.normal_(parameter, std=0.3)
            elif "prompt_encoder" in name:
                torch.nn.init.normal_(parameter, std=1.0)
        model.save_pretrained(out)
    return out


def _plain(base: Path, adapter: Path) -> Any:
    """Load the fine-tune with Transformers and PEFT alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    return PeftModel.from_pretrained(model, adapter).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tuned_is_the_fine_tune_and_base_is_base(
    tiny: Any, ask: Ask, tmp_path: Path, architecture: str, kind: str
) -> None:
    base = tiny.base(architecture)
    adapter = _adapter(tmp_path / "adapter", base, kind, architecture)
    with muted():
        arms: dict[str, Any] = open_arms({"base": str(base), "tuned": str(adapter)})
        proof = liveness.check_liveness(arms)["tuned"]
        assert proof["switching_off_restores_base"] == "exactly"
        assert one_by_one(arms["tuned"]) == (kind in VIRTUAL)
        assert not one_by_one(arms["base"])
        model = _plain(base, adapter)
        _check(arms["tuned"], model, ask)
        plain = tiny.pair(architecture)["base"]
        cases = [Case(id=str(i), prompt=text) for i, text in enumerate(PROMPTS)]
        texts = [
            {
                a.key: a.completion.text
                for a in local_engine.complete_requests(arm, ask(arm, cases, max_new_tokens=8))
            }
            for arm in (arms["base"], plain)
        ]
        assert texts[0] == texts[1]


def _check(arm: Any, model: Any, ask: Ask) -> None:
    """Compare what is written, what is expected and what is read with whole forwards."""
    cases = [
        Case(id=str(i), prompt=text, expected="refund for the customer")
        for i, text in enumerate(PROMPTS)
    ]

    def completions(kind: str, **settings: Any) -> list[Any]:
        found = {
            a.key: a.completion
            for a in local_engine.complete_requests(arm, ask(arm, cases, kind, **settings))
        }
        return [found[case.id] for case in cases]

    prompts = [arm.tokenizer(text)["input_ids"] for text in PROMPTS]
    written = [greedy(model, ids, 8, arm.stop_ids) for ids in prompts]
    texts = [arm.tokenizer.decode(ids, skip_special_tokens=True) for ids in written]
    assert [c.text for c in completions("generate", max_new_tokens=8)] == texts
    wholes = [arm.tokenizer(f"{text} refund for the customer")["input_ids"] for text in PROMPTS]
    rests = [whole[len(ids) :] for ids, whole in zip(prompts, wholes, strict=True)]
    means = [logprob(model, i, rest) / len(rest) for i, rest in zip(prompts, rests, strict=True)]
    assert [c.answer_logprob for c in completions("answer")] == pytest.approx(means, abs=1e-4)
    bits = [
        -logprob(model, [arm.tokenizer.bos_token_id], ids) / math.log(2) / len(text.encode())
        for ids, text in zip(prompts, PROMPTS, strict=True)
    ]
    assert [c.bits_per_byte for c in completions("text")] == pytest.approx(bits, abs=1e-4)
