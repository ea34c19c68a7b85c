"""Folders that MLX quantised are unpacked to what MLX unpacks them to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import Tiny
from tunegate.harness.models.mlx_format.quantized import dequantize
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import ModelError

RECORDED = Path(__file__).parent / "recorded" / "mlx.safetensors"
GROUP = 16


def quantise(weight: Any, bits: int) -> tuple[Any, Any, Any]:
    """Return packed words, scales and biases of [rows, columns], each value within half a step."""
    import numpy as np
    import torch

    groups = weight.view(len(weight), -1, GROUP)
    biases = groups.amin(-1)
    scales = (groups.amax(-1) - biases) / ((1 << bits) - 1)
    q = ((groups - biases[..., None]) / scales[..., None]).round().to(torch.uint8)
    digits = q.view(len(weight), -1, 1).numpy() >> np.arange(bits) & 1
    words = np.packbits(digits.reshape(len(weight), -1), axis=-1, bitorder="little")
    return torch.from_numpy(words.view(np.uint32).copy()), scales.half(), biases.half()


@pytest.fixture(name="quantised")
def _quantised(tiny: Tiny, copied: Callable[..., Path]) -> Callable[..., Path]:
    """A tiny Llama, its matrices in 4 bits and its last layer's query matrix in 8."""

    def make(**settings: Any) -> Path:
        from safetensors.torch import load_file, save_file

        own = "model.layers.1.self_attn.q_proj"
        known = {"group_size": GROUP, "bits": 4, "mode": "affine", own: {"bits": 8}, **settings}
        folder = copied(tiny.base(), quantization=known, quantization_config=known)
        tensors = load_file(folder / "model.safetensors")
        for name in [name for name, tensor in tensors.items() if tensor.ndim == 2]:
            module = name.removesuffix(".weight")
            parts = quantise(tensors[name], 8 if module == own else 4)
            keys = (name, f"{module}.scales", f"{module}.biases")
            tensors |= dict(zip(keys, parts, strict=True))
        save_file(tensors, folder / "model.safetensors", metadata={"format": "mlx"})
        return folder

    return make


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_a_matrix_is_unpacked_to_the_bits_of_mlx(bits: int) -> None:
    import torch
    from safetensors.torch import load_file

    recorded = load_file(RECORDED)
    weight, scales, biases, plain = (
        recorded[f"{bits}.{name}"] for name in ("weight", "scales", "biases", "plain")
    )
    assert torch.equal(dequantize(weight, scales, biases, bits, torch.float32), plain)


def test_a_quantised_folder_opens_with_weights_within_half_a_step(
    tiny: Tiny, quantised: Callable[..., Path]
) -> None:
    folder = quantised()
    arms: dict[str, Any] = dict(open_arms({"base": str(tiny.base()), "tuned": str(folder)}))
    plain, rounded = (arms[name].loaded.torch_model.state_dict() for name in ("base", "tuned"))
    assert plain.keys() == rounded.keys()
    worst = {name: float((plain[name] - rounded[name]).abs().max()) for name in plain}
    spread = {name: float(value.max() - value.min()) for name, value in plain.items()}
    for name, error in worst.items():
        steps = 255 if "layers.1.self_attn.q_proj" in name else 15
        most = spread[name] / steps / 2 if plain[name].ndim == 2 else 0
        assert error <= most * 1.1  # scales and biases are stored in float16
    assert arms["tuned"].identity["stored"] == "4-bit (MLX)"
    assert arms["tuned"].identity["dtype"] == "float32"
    assert arms["tuned"].stop_ids == arms["base"].stop_ids


def test_a_quantised_folder_lacks_nothing_of_base(
    tiny: Tiny, quantised: Callable[..., Path]
) -> None:
    from tunegate.harness.checks.export_losses import find_export_losses

    losses = find_export_losses({"base": str(tiny.base()), "tuned": str(quantised())})
    assert [loss.sentence for of in losses.values() for loss in of] == []


def test_another_mode_is_refused_with_the_spec_that_computes_it(
    quantised: Callable[..., Path],
) -> None:
    folder = quantised(mode="mxfp4")
    with pytest.raises(ModelError, match=f"'mxfp4', and only 'affine' .* mlx:{folder}"):
        open_arms({"base": str(folder), "tuned": str(folder)})


def test_tensors_in_another_form_than_transformers_are_named(
    quantised: Callable[..., Path],
) -> None:
    from safetensors.torch import load_file, save_file

    folder = quantised()
    tensors = load_file(folder / "model.safetensors")
    moved = tensors.pop("model.norm.weight")
    save_file({**tensors, "model.final.weight": moved}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"stores model\.norm\.weight in another form"):
        open_arms({"base": str(folder), "tuned": str(folder)})
