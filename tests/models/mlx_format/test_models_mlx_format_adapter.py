"""MLX adapters open as PEFT adapters of the same base, and compute what MLX computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import Tiny
from tunegate.harness.models._model_folder import resolve_folder
from tunegate.harness.models.mlx_format.adapter import is_mlx_adapter, peft_folder
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import ModelError, NotComparable

RECORDED = Path(__file__).parent / "recorded" / "mlx.safetensors"
LAYER = "model.layers.1.self_attn.q_proj"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEGATE_CACHE", str(tmp_path / "cache"))


def write_adapter(folder: Path, tensors: dict[str, Any], **config: Any) -> Path:
    """Write an adapter as `mlx_lm.lora` does."""
    from safetensors.torch import save_file

    folder.mkdir()
    save_file(tensors, folder / "adapters.safetensors", metadata={"format": "mlx"})
    parameters = {"rank": 4, "scale": 20.0, "dropout": 0.0}
    known = {"fine_tune_type": "lora", "num_layers": 1, "lora_parameters": parameters}
    (folder / "adapter_config.json").write_text(json.dumps({**known, **config}))
    return folder


def matrices(rows: int, columns: int) -> dict[str, Any]:
    """Return the LoRA of a layer of this shape: lora_a is [columns, 4], lora_b [4, rows]."""
    import torch

    random = torch.Generator().manual_seed(5)
    return {
        f"{LAYER}.lora_a": torch.randn(columns, 4, generator=random) / 8,
        f"{LAYER}.lora_b": torch.randn(4, rows, generator=random) / 8,
    }


def opened(tiny: Tiny, adapter: Path) -> Any:
    return open_arms({"base": str(tiny.base()), "tuned": str(adapter)})["tuned"]


def layer_of(tiny: Tiny) -> Any:
    base = open_arms({"base": str(tiny.base()), "tuned": str(tiny.base())})["base"]
    return base.loaded.torch_model.get_submodule(LAYER)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["LoRALinear", "DoRALinear"])
def test_a_layer_with_an_mlx_adapter_computes_what_mlx_recorded(
    tiny: Tiny, tmp_path: Path, kind: str
) -> None:
    import torch
    from peft import LoraConfig, PeftModel
    from safetensors.torch import load_file

    recorded = {
        key.removeprefix(f"{kind}."): value
        for key, value in load_file(RECORDED).items()
        if key.startswith(kind)
    }
    tensors = {
        f"{LAYER}.{part}": recorded[part] for part in ("lora_a", "lora_b", "m") if part in recorded
    }
    mlx = write_adapter(
        tmp_path / "adapter", tensors, fine_tune_type="dora" if "m" in recorded else "lora"
    )
    model = torch.nn.Sequential()
    model.add_module("model", torch.nn.Module())
    model.model.layers = torch.nn.ModuleList([torch.nn.Module(), torch.nn.Module()])
    model.model.layers[1].self_attn = torch.nn.Module()
    linear = torch.nn.Linear(32, 24, bias=False)
    linear.weight.data = recorded["weight"]
    model.model.layers[1].self_attn.q_proj = linear
    config = LoraConfig.from_pretrained(str(peft_folder(mlx)))
    config.task_type = None
    peft = PeftModel.from_pretrained(model, str(peft_folder(mlx)), config=config)
    with torch.inference_mode():
        y = peft.get_submodule(f"base_model.model.{LAYER}")(recorded["x"])
    assert torch.allclose(y, recorded["y"], rtol=0, atol=1e-5)


def test_the_layers_output_moves_by_the_scale_and_the_product(tiny: Tiny, tmp_path: Path) -> None:
    import torch

    rows, columns = layer_of(tiny).weight.shape
    tensors = matrices(rows, columns)
    arm = opened(tiny, write_adapter(tmp_path / "adapter", tensors))
    x = torch.randn(3, columns, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode(), arm.active() as model:
        module = model.get_base_model().get_submodule(LAYER)
        moved = module(x) - module.base_layer(x)
    wanted = 20.0 * (x @ tensors[f"{LAYER}.lora_a"]) @ tensors[f"{LAYER}.lora_b"]
    assert torch.allclose(moved, wanted, rtol=1e-5, atol=1e-5)
    assert arm.identity["adapter_config"]["target_modules"] == [LAYER]


def test_the_base_is_the_model_that_the_adapter_names(tiny: Tiny, tmp_path: Path) -> None:
    adapter = write_adapter(
        tmp_path / "adapter", matrices(*layer_of(tiny).weight.shape), model=str(tiny.base())
    )
    arms = open_arms({"tuned": str(adapter)})
    assert arms["base"].identity["spec"] == str(tiny.base())


def test_equal_tensors_are_one_adapter_wherever_they_lie(tiny: Tiny, tmp_path: Path) -> None:
    tensors = matrices(*layer_of(tiny).weight.shape)
    same = [opened(tiny, write_adapter(tmp_path / name, tensors)) for name in ("a", "b")]
    stronger = {"rank": 4, "scale": 80.0, "dropout": 0.0}
    other = opened(tiny, write_adapter(tmp_path / "c", tensors, lora_parameters=stronger))
    assert same[0].fingerprint == same[1].fingerprint != other.fingerprint


def test_an_adapter_of_another_base_is_not_comparable(tiny: Tiny, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", matrices(48, 48))
    with pytest.raises(NotComparable, match="it has another base"):
        opened(tiny, adapter)


def test_a_folder_of_peft_is_none_of_mlx(tiny: Tiny) -> None:
    assert not is_mlx_adapter(tiny.adapter())


@pytest.mark.parametrize(
    ("tensors", "config", "message"),
    [
        ({}, {"fine_tune_type": "full"}, "no adapter; mlx_lm.fuse makes a model of it"),
        ({}, {"fine_tune_type": "ia3"}, "neither 'lora' nor 'dora'"),
        ({}, {"lora_parameters": {"rank": 4}}, "needs a rank and a scale"),
        ({}, {"lora_parameters": {"rank": 8, "scale": 1}}, "has rank 4, and .* says 8"),
        ({}, {"fine_tune_type": "dora"}, f"{LAYER}.m is missing"),
        ({f"{LAYER}.m": (32,)}, {}, f"{LAYER}.m does not belong to lora"),
        ({f"{LAYER}.weight": (32, 32)}, {}, "is not part of a LoRA"),
        ({"model.layers.0.mlp.switch_mlp.up_proj.lora_a": (2, 4, 8)}, {}, "a LoRA of experts"),
        ({"model.embed_tokens.lora_a": (320, 4)}, {}, "a LoRA of embeddings"),
    ],
)
def test_what_peft_would_compute_otherwise_is_refused_in_one_line(
    tmp_path: Path, tensors: dict[str, Any], config: dict[str, Any], message: str
) -> None:
    import torch

    made = {name: torch.zeros(shape) for name, shape in tensors.items()}
    adapter = write_adapter(tmp_path / "adapter", {**matrices(32, 32), **made}, **config)
    with pytest.raises(ModelError, match=message) as caught:
        resolve_folder(str(adapter))
    assert "\n" not in str(caught.value)
