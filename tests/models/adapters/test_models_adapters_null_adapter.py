"""Null adapters: one too small to matter, and one of a trained adapter's own shape and size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.base_families.families import FAMILIES, save_family
from tests.tiny_models import muted
from tunegate.harness.checks import liveness
from tunegate.harness.models._model_folder import adapter_config
from tunegate.harness.models.adapters.null_adapter import (
    ALPHA,
    RANK,
    SPREAD,
    make_null_adapter,
    null_adapter_problem,
    product_norm,
    randomise_adapter,
)
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import UsageError


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "phi3"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_is_alive_and_small(tiny: Any, tmp_path: Path, architecture: str, dtype: str) -> None:
    """Logits move, in bfloat16 too, and in float32 by far less than a tenth."""
    base = tiny.base(architecture)
    make_null_adapter(base, tmp_path / "null")
    arms = open_arms({"base": str(base), "tuned": str(tmp_path / "null")}, dtype=dtype)
    proof = liveness.check_liveness(arms)["tuned"]

    assert proof["status"] == "proven"
    assert 0 < proof["largest_logit_change"] < (0.1 if dtype == "float32" else 2)


FEW = {"Mistral3+", "Llama4+", "Mamba"}
"""A class without a text class of its own, one within another, and layers that PEFT refuses."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    [pytest.param(f, marks=() if f in FEW else pytest.mark.long) for f in FAMILIES],
)
def test_every_family_has_one(tmp_path: Path, family: str) -> None:
    """It is made without the weights, fits its base, acts, and leaves base as it is.

    Random weights differ in how much they amplify: Qwen3.5 of seed 0 by 0.5, of others by 0.03.
    """
    save_family(family, tmp_path / "base", seed=1)
    with muted():
        make_null_adapter(tmp_path / "base", tmp_path / "null")
        arms = open_arms({"base": str(tmp_path / "base"), "tuned": str(tmp_path / "null")})
        proof = liveness.check_liveness(arms)["tuned"]
    assert 0 < proof["largest_logit_change"] < 0.1


def test_it_has_the_shape_of_a_usual_lora(tiny: Any, tmp_path: Path) -> None:
    """Rank 8 on all seven linear layers of both blocks; only lora_B is tiny."""
    from safetensors.torch import load_file

    make_null_adapter(tiny.base(), tmp_path / "null")
    tensors = load_file(tmp_path / "null" / "adapter_model.safetensors")
    config = adapter_config(tmp_path / "null")

    first = {name: t for name, t in tensors.items() if "lora_A" in name}
    second = {name: t for name, t in tensors.items() if "lora_B" in name}
    assert len(first) == len(second) == 7 * 2
    assert {t.shape[0] for t in first.values()} == {t.shape[1] for t in second.values()} == {RANK}
    assert all(0.5 * SPREAD < float(t.std()) < 2 * SPREAD for t in second.values())
    assert all(float(t.std()) > 0.05 for t in first.values())
    assert (config["r"], config["lora_alpha"]) == (RANK, ALPHA)
    assert len({name.rpartition(".")[2] for name in config["target_modules"]}) == 7


def test_it_is_the_same_each_time(tiny: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_null_adapter(tiny.base(), tmp_path / name)

    one, two = ((tmp_path / n / "adapter_model.safetensors").read_bytes() for n in ("one", "two"))
    assert one == two


def test_an_adapter_is_no_base(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is an adapter; give the model it was trained on"):
        make_null_adapter(tiny.adapter(), tmp_path / "null")


def _updates(arm: Any) -> dict[str, tuple[Any, Any]]:
    """Return lora_A and lora_B of every module of an arm."""
    tensors = dict(arm.loaded.torch_model.named_parameters())
    return {
        name: (tensor.detach().clone(), tensors[name.replace("lora_A", "lora_B")].detach().clone())
        for name, tensor in tensors.items()
        if "lora_A" in name
    }


def test_the_norm_of_a_product_by_hand() -> None:
    """lora_B·lora_A of one column and one row: (1, 2)·(3, 4) is 3, 4, 6, 8, whose norm is √125."""
    import torch

    first, second = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0], [2.0]])

    assert product_norm(first, second) == pytest.approx(125**0.5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_randomised_adapter_keeps_the_norm_of_every_module(tiny: Any, architecture: str) -> None:
    arm = tiny.pair(architecture)["tuned"]
    before = _updates(arm)
    with randomise_adapter(arm, 0):
        within = _updates(arm)

    assert len(before) > 0
    for name, (first, second) in before.items():
        one, other = second @ first, within[name][1] @ within[name][0]
        along = float((one * other).sum() / (one.norm() * other.norm()))
        assert float(other.norm()) == pytest.approx(float(one.norm()), rel=1e-4)
        assert abs(along) < 0.5


def test_the_trained_weights_come_back(tiny: Any) -> None:
    """Bit for bit, after an error too; each seed draws its own adapter, and the same each time."""
    arm = tiny.pair()["tuned"]
    ids = arm.probe_ids()
    before = arm.probe(ids)
    seen = []
    for seed in (0, 1, 0):
        with randomise_adapter(arm, seed):
            seen.append(arm.probe(ids))
    with pytest.raises(KeyError), randomise_adapter(arm, 2):
        raise KeyError

    assert bool((arm.probe(ids) == before).all())
    assert bool((seen[0] == seen[2]).all())
    assert not bool((seen[0] == seen[1]).all())
    assert not bool((seen[0] == before).all())


def test_where_there_is_no_null(tiny: Any, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny.base())
    config = LoraConfig(r=2, target_modules=["q_proj"], use_dora=True)
    with muted():
        get_peft_model(model, config).save_pretrained(tmp_path / "dora")
    arms: dict[str, Any] = dict(
        open_arms({"base": str(tiny.base()), "tuned": str(tmp_path / "dora")})
    )

    assert null_adapter_problem(tiny.pair()["tuned"]) is None
    assert "tuned is a whole model" in str(null_adapter_problem(arms["base"]))
    assert "this adapter has lora_magnitude_vector" in str(null_adapter_problem(arms["tuned"]))
