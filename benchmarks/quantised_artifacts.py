"""Quantised artifacts in vLLM by ship-check: `python -m benchmarks.quantised_artifacts`.

A merged model is written in each format that vLLM reads, rounded to the nearest value, and served
by vLLM; `ship-check` compares its answers with the adapter's. What vLLM for this machine refuses is
printed as ship-check prints it. Each format is a line of `formats.jsonl` in `--folder`; one that is
there is not run again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks._prompts import prompts_suite
from benchmarks._served_adapters import merge_adapter, train_adapter
from tunegate.harness.cli.ship_check import ArtifactComparison, ExistingArtifact, _outcome
from tunegate.harness.models.demo_model import existing_demo_model

GROUP = 64
"""Weights that share a scale in the formats of 4 bits."""
_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
Tensors = dict[str, Any]
Quantise = Callable[[str, Any], Tensors]


def main() -> int:
    """Run the formats that have no result yet, and print all."""
    options = _options()
    base = options.base or existing_demo_model()
    if base is None:
        raise SystemExit("the demo's model is not in the cache: tunegate demo")
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    adapter = options.tuned or train_adapter(base, folder / "own")
    merged = merge_adapter(base, adapter, folder / "merged-float32", dtype="float32")
    suite_folder = folder / "suite"
    suite_folder.mkdir(exist_ok=True)
    suite = prompts_suite(suite_folder, options.prompts, options.new_tokens)
    results = folder / "formats.jsonl"
    done = results.read_text(encoding="utf-8").splitlines() if results.is_file() else []
    found = {row["format"]: row for row in map(json.loads, done)}
    for name in options.formats.split(","):
        if name in found:
            continue
        model = write_format(name, merged, folder / name)
        run = ArtifactComparison([suite], str(base), str(adapter), folder / "store.sqlite")
        found[name] = {"format": name, **_checked(run, f"vllm:{model}?{FORMATS[name]}", folder)}
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found[name]) + "\n")
    for row in found.values():
        print(f"{row['format']:<16} {row['size'] / 1e6:6.1f} MB  {row['seconds']:5.0f} s")
        print("  " + "\n  ".join(row["lines"]))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="default: the demo's model")
    parser.add_argument("--tuned", type=Path, help="an adapter; default: one of a few steps")
    parser.add_argument("--folder", type=Path, default=Path("quantised_artifacts"))
    parser.add_argument("--formats", default=",".join(FORMATS), help="with commas")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=24)
    return parser.parse_args()


def _checked(run: ArtifactComparison, spec: str, folder: Path) -> dict[str, Any]:
    """Compare an artifact as ship-check does, and return what it prints."""
    artifact = ExistingArtifact(spec)
    printed, clock = io.StringIO(), time.monotonic()
    with contextlib.redirect_stdout(printed):
        outcome = _outcome(run, artifact, (Path(run.base), Path(run.adapter)), folder)
    lines = [line.strip() for line in printed.getvalue().splitlines()[2:] if line.strip()]
    print("\n".join(lines), flush=True)
    seconds = round(time.monotonic() - clock)
    return {"size": outcome.size, "seconds": seconds, "lines": lines}


FORMATS: Mapping[str, str] = {
    "bfloat16": "dtype=bfloat16",
    "float16": "dtype=float16",
    "int8-w8a8": "dtype=bfloat16",
    "int4-w4a16": "dtype=bfloat16",
    "gptq": "dtype=bfloat16",
    "awq": "dtype=bfloat16",
    "fp8": "dtype=bfloat16",
    "bitsandbytes": "dtype=bfloat16",
}
"""Format → options of its spec."""


def write_format(name: str, merged: Path, out: Path) -> Path:
    """Write a merged model in a format, if it is not there yet."""
    if out.is_dir():
        return out
    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    if name in ("bfloat16", "float16"):
        _write_float(merged, unfinished, name)
    elif name == "bitsandbytes":
        from tunegate.trainers.artifacts.four_bit import _quantise

        shutil.copytree(merged, unfinished)
        (unfinished / "model.safetensors").unlink()
        _quantise(merged, unfinished)
    else:
        quantise, config = QUANTISERS[name]
        _write_quantised(merged, unfinished, quantise, config)
    unfinished.rename(out)
    return out


def _write_float(merged: Path, out: Path, dtype: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(merged, out)
    tensors = load_file(merged / "model.safetensors")
    rounded = {name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()}
    save_file(rounded, out / "model.safetensors", metadata={"format": "pt"})
    _set(out, dtype=dtype)


def _write_quantised(
    merged: Path, out: Path, quantise: Quantise, config: Mapping[str, Any]
) -> None:
    """Round the matrices of the layers; embeddings and norms stay in 16 bits."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(merged, out)
    tensors: Tensors = {}
    for name, tensor in load_file(merged / "model.safetensors").items():
        if tensor.ndim == 2 and "proj" in name:
            tensors |= quantise(name.removesuffix(".weight"), tensor)
        else:
            tensors[name] = tensor.to(torch.bfloat16)
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(whole, out / "model.safetensors", metadata={"format": "pt"})
    _set(out, dtype="bfloat16", quantization_config=dict(config))


def _set(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    config = {**json.loads(path.read_text(encoding="utf-8")), **keys}
    path.write_text(json.dumps(config), encoding="utf-8")


def int8(name: str, weight: Any) -> Tensors:
    """Return a matrix in 8 bits, with a scale for each row."""
    import torch

    scale = weight.abs().amax(dim=1, keepdim=True) / 127
    rounded = (weight / scale).round().clamp(-127, 127).to(torch.int8)
    return {f"{name}.weight": rounded, f"{name}.weight_scale": scale.to(torch.bfloat16)}


def fp8(name: str, weight: Any) -> Tensors:
    """Return a matrix in 8-bit floating point, with a scale for each row."""
    import torch

    scale = weight.abs().amax(dim=1, keepdim=True) / 448
    rounded = (weight / scale).to(torch.float8_e4m3fn)
    return {f"{name}.weight": rounded, f"{name}.weight_scale": scale.to(torch.bfloat16)}


def in_groups(weight: Any) -> tuple[Any, Any]:
    """Return a matrix [out, in] in numbers from 0 to 15 with 8 for zero, and its scales."""
    groups = weight.reshape(weight.shape[0], -1, GROUP)
    scale = groups.abs().amax(dim=2, keepdim=True) / 7
    numbers = (groups / scale).round().clamp(-8, 7) + 8
    return numbers.reshape(weight.shape).int(), scale.squeeze(2)


def pack(numbers: Any, order: tuple[int, ...] = tuple(range(8))) -> Any:
    """Return a matrix with eight numbers of 4 bits of a row in one of 32."""
    import torch

    rows = numbers.reshape(numbers.shape[0], -1, 8).to(torch.int64)
    packed = sum(rows[:, :, which] << (4 * place) for place, which in enumerate(order))
    assert isinstance(packed, torch.Tensor)
    return torch.where(packed >= 2**31, packed - 2**32, packed).to(torch.int32)


def int4(name: str, weight: Any) -> Tensors:
    """Return a matrix in 4 bits as compressed-tensors packs it."""
    import torch

    numbers, scale = in_groups(weight)
    return {
        f"{name}.weight_packed": pack(numbers),
        f"{name}.weight_scale": scale.to(torch.bfloat16),
        f"{name}.weight_shape": torch.tensor(list(weight.shape)),
    }


def gptq(name: str, weight: Any) -> Tensors:
    """Return a matrix in 4 bits as GPTQ packs it: along the inputs, zeros one lower."""
    import torch

    numbers, scale = in_groups(weight)
    zeros = torch.full((weight.shape[1] // GROUP, weight.shape[0]), 7)
    return {
        f"{name}.qweight": pack(numbers).t(),
        f"{name}.qzeros": pack(zeros),
        f"{name}.scales": scale.t().to(torch.float16),
        f"{name}.g_idx": torch.arange(weight.shape[1], dtype=torch.int32) // GROUP,
    }


def awq(name: str, weight: Any) -> Tensors:
    """Return a matrix in 4 bits as AWQ packs it: along the outputs, in an order of its own."""
    import torch

    numbers, scale = in_groups(weight)
    zeros = torch.full((weight.shape[1] // GROUP, weight.shape[0]), 8)
    return {
        f"{name}.qweight": pack(numbers.t(), _AWQ_ORDER),
        f"{name}.qzeros": pack(zeros, _AWQ_ORDER),
        f"{name}.scales": scale.t().to(torch.float16),
    }


def _compressed(form: str, weights: Mapping[str, Any], inputs: Any = None) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": group},
    }


def _numbers(bits: int, kind: str, strategy: str, **more: Any) -> dict[str, Any]:
    return {"num_bits": bits, "type": kind, "symmetric": True, "strategy": strategy, **more}


QUANTISERS: Mapping[str, tuple[Quantise, Mapping[str, Any]]] = {
    "int8-w8a8": (
        int8,
        _compressed(
            "int-quantized",
            _numbers(8, "int", "channel", dynamic=False),
            _numbers(8, "int", "token", dynamic=True),
        ),
    ),
    "fp8": (
        fp8,
        _compressed(
            "float-quantized",
            _numbers(8, "float", "channel", dynamic=False),
            _numbers(8, "float", "token", dynamic=True),
        ),
    ),
    "int4-w4a16": (
        int4,
        _compressed("pack-quantized", _numbers(4, "int", "group", group_size=GROUP, dynamic=False)),
    ),
    "gptq": (
        gptq,
        {
            "quant_method": "gptq",
            "bits": 4,
            "group_size": GROUP,
            "desc_act": False,
            "sym": True,
            "checkpoint_format": "gptq",
        },
    ),
    "awq": (
        awq,
        {
            "quant_method": "awq",
            "bits": 4,
            "group_size": GROUP,
            "zero_point": True,
            "version": "gemm",
        },
    ),
}


if __name__ == "__main__":
    raise SystemExit(main())
