"""Model folders for Apple's MLX, made by mlx-lm itself, and computed by MLX in the comparison.

An adapter of mlx-lm is fused by `mlx_lm.fuse`; PEFT's is merged here and then converted.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from tunegate.harness.models.adapters.weight_files import read_json
from tunegate.harness.models.mlx import find_python
from tunegate.harness.models.mlx_format.adapter import ORIGINAL
from tunegate.harness.records.errors import ModelError, UsageError
from tunegate.harness.records.files import write_atomic
from tunegate.trainers.artifacts import DeploymentArtifact, save_merged


def make(base: Path, adapter: Path, out: Path) -> str:
    """Fuse the adapter and return the model spec."""
    python = _python()
    _fuse(python, base, adapter, out)
    return f"mlx:{out}"


def make_4bit(base: Path, adapter: Path, out: Path) -> str:
    """Fuse the adapter, round the result to 4 bits, and return the model spec."""
    python = _python()
    with tempfile.TemporaryDirectory(dir=out, prefix="whole-") as place:
        whole, made = Path(place) / "fused", Path(place) / "quantized"
        whole.mkdir()
        _fuse(python, base, adapter, whole)
        _run(python, "convert", "--hf-path", whole, "--mlx-path", made, "--quantize")
        for file in made.iterdir():
            file.rename(out / file.name)
    return f"mlx:{out}"


def _python() -> str:
    """Return MLX's Python; without one this artifact is left out, and the others are made."""
    try:
        return find_python()
    except UsageError as error:
        raise ModelError(str(error)) from error


def _fuse(python: str, base: Path, adapter: Path, out: Path) -> None:
    """Write base with the adapter into a folder."""
    if (adapter / ORIGINAL).is_dir():
        own = ("--adapter-path", adapter / ORIGINAL)
        _run(python, "fuse", "--model", base, *own, "--save-path", out)
    else:
        save_merged(base, adapter, out, dtype="float32")
    _state_rope(out / "config.json")


def _state_rope(path: Path) -> None:
    """Write the rotary base where mlx-lm reads it: most of its classes know no rope_parameters."""
    config = read_json(path)
    rope = config.get("rope_parameters") or {}
    if "rope_theta" in rope and "rope_theta" not in config:
        config["rope_theta"] = rope["rope_theta"]
        write_atomic(path, json.dumps(config, indent=2) + "\n")


def _run(python: str, program: str, *options: str | Path) -> None:
    """Run a program of mlx-lm."""
    command = [python, "-m", "mlx_lm", program, *map(str, options)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise ModelError(f"{python}: is not a Python that runs ({error})") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1].strip()
        raise ModelError(f"mlx_lm.{program}: failed: {last}")


ARTIFACTS = (
    DeploymentArtifact("mlx", "fused into the weights by mlx-lm, computed by MLX", make),
    DeploymentArtifact(
        "mlx_4bit", "fused into the weights, rounded to 4 bits in groups by mlx-lm", make_4bit
    ),
)
