"""The null adapter: a usual LoRA by its shape, alive, and so small that nothing depends on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.checks import liveness
from harness.errors import UsageError
from harness.models._files import adapter_config
from harness.models.null_adapter import ALPHA, RANK, SPREAD, make_null_adapter
from harness.models.pair import open_arms


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "phi3"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_is_alive_and_small(tiny: Any, tmp_path: Path, architecture: str, dtype: str) -> None:
    """Logits move, in bfloat16 too, and in float32 by far less than a tenth."""
    base = tiny.base(architecture)
    make_null_adapter(base, tmp_path / "null")
    arms = open_arms({"base": str(base), "tuned": str(tmp_path / "null")}, dtype=dtype)
    proof = liveness.check(arms)["tuned"]

    assert proof["status"] == "proven"
    assert 0 < proof["largest_logit_change"] < (0.1 if dtype == "float32" else 2)


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
    """Two of one base have the same bytes, and so the same cells in the store."""
    for name in ("one", "two"):
        make_null_adapter(tiny.base(), tmp_path / name)

    one, two = ((tmp_path / n / "adapter_model.safetensors").read_bytes() for n in ("one", "two"))
    assert one == two


def test_an_adapter_is_no_base(tiny: Any, tmp_path: Path) -> None:
    """An adapter as base is refused with what to give instead."""
    with pytest.raises(UsageError, match="is an adapter; give the model it was trained on"):
        make_null_adapter(tiny.adapter(), tmp_path / "null")
