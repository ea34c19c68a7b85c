"""Arms on a model in memory: what they are, what makes them base, what is kept of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tiny_models import Tiny, make_tokenizer, muted
from tunegate.harness.checks import liveness
from tunegate.harness.models.live import adapter_of, base_apart, live_arm, live_model, live_whole
from tunegate.harness.models.transformers import last_logits
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import NotComparable
from tunegate.harness.records.generation import GenerationSettings


def _model(tiny: Tiny, architecture: str = "llama", **lora: Any) -> Any:
    """A tiny model in memory with a fresh adapter, which changes nothing yet."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_pretrained(tiny.base(architecture))
    with muted():
        return get_peft_model(plain, LoraConfig(r=2, target_modules="all-linear", **lora)).eval()


def _train(model: Any) -> None:
    """Move the last of the adapter's second matrices."""
    import torch

    weights = [p for name, p in model.named_parameters() if "lora_B" in name]
    torch.nn.init.constant_(weights[-1], 0.5)


def test_the_adapter_that_alone_is_trained(tiny: Tiny) -> None:
    """None if biases of base are trained as well, or without an adapter."""
    assert "default" == adapter_of(_model(tiny))
    assert adapter_of(_model(tiny, "gpt2", bias="all", fan_in_fan_out=True)) is None
    assert adapter_of(_model(tiny).get_base_model()) is None


def test_tuned_is_another_arm_after_every_step(tiny: Tiny) -> None:
    """One weight moves, and so does tuned's fingerprint; base's does not."""
    model = _model(tiny)
    loaded = live_model(model, make_tokenizer(), adapter="default")
    before = live_arm(loaded, "default")
    first = before.fingerprint

    _train(model)

    assert first != live_arm(loaded, "default").fingerprint
    assert first != live_arm(loaded, None).fingerprint
    again = live_model(model, make_tokenizer(), adapter="default")
    assert live_arm(loaded, None).fingerprint == live_arm(again, None).fingerprint


def test_liveness_is_proven_as_for_saved_adapters(tiny: Tiny) -> None:
    """An adapter that has learned nothing is refused; one that has is alive, and off it is base."""
    model = _model(tiny)
    loaded = live_model(model, make_tokenizer(), adapter="default")
    arms = {"base": live_arm(loaded, None), "tuned": live_arm(loaded, "default")}
    with pytest.raises(NotComparable, match="lora_B is all zeros"):
        liveness.check_liveness(arms)

    _train(model)

    proof = liveness.check_liveness({"base": arms["base"], "tuned": live_arm(loaded, "default")})
    assert "exactly" == proof["tuned"]["switching_off_restores_base"]


def test_what_the_trainer_cut_its_batches_to_is_no_part_of_the_tokenizer(tiny: Tiny) -> None:
    tokenizer = make_tokenizer()
    plain = live_model(_model(tiny), tokenizer, adapter="default")
    tokenizer.backend_tokenizer.enable_truncation(3)

    cut = live_model(_model(tiny), tokenizer, adapter="default")

    assert live_arm(plain, None).fingerprint == live_arm(cut, None).fingerprint
    assert 5 == len(cut.tokenizer("a b c d e", add_special_tokens=False)["input_ids"][:5])
    assert tokenizer.backend_tokenizer.truncation is not None


def test_a_whole_model_keeps_its_adapter_on(tiny: Tiny) -> None:
    model = _model(tiny, "gpt2", bias="all", fan_in_fan_out=True)
    _train(model)
    loaded = live_model(model, make_tokenizer(), adapter=None)
    tuned, off = live_whole(loaded), live_arm(loaded, None)
    ids = tuned.probe_ids()

    assert bool((tuned.probe(ids) == last_logits(model, ids)).all())
    with muted():  # PEFT says that this is not base
        assert not bool((tuned.probe(ids) == off.probe(ids)).all())


def test_base_apart_is_given_back_and_still_known(tiny: Tiny) -> None:
    live = live_model(_model(tiny).get_base_model(), make_tokenizer(), adapter=None)
    arm = base_apart(tiny.base(), live)
    probes, fingerprint = arm.probe(arm.probe_ids()), arm.fingerprint
    prompt = arm.prompt(Case(id="c", prompt="Hi"), GenerationSettings())

    arm.release()

    assert arm.loaded.torch_model is None
    assert fingerprint == arm.fingerprint
    assert bool((probes == arm.probe(arm.probe_ids())).all())
    assert prompt == arm.prompt(Case(id="c", prompt="Hi"), GenerationSettings())
