"""`vllm:` specs: what vLLM does not serve is refused in one line, the rest becomes one command."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fake_vllm import make_environment
from tunegate.harness.contracts.model import PoolLimits, ServerHosting
from tunegate.harness.models import vllm
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.models.servers.vllm_command import (
    VllmInstallation,
    VllmServerPlan,
    VllmSettings,
    adapted_modules,
    find_installation,
)
from tunegate.harness.records.errors import ModelError, UsageError

CPU = VllmInstallation(Path("/env/bin/python"), "0.32.0", cpu=True)
GPU = VllmInstallation(Path("/env/bin/python"), "0.33.0", cpu=False)
Copy = Callable[..., Path]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?tpp=2", "unknown option 'tpp'; did you mean 'tp'"),
        ("?tp=0", "tp='0' is not a number of GPUs from 1 on"),
        ("?tp=two", "tp='two' is not a number of GPUs"),
        ("?gpu_memory=1.5", "gpu_memory='1.5' is not a share above 0, at most 1"),
        ("?dtype=int8", "dtype='int8' is not one of auto, float32, bfloat16, float16"),
        ("?max_len=", "max_len='' is not a number of tokens"),
        ("?mtp=0", "mtp='0' is not a number of tokens from 1 on"),
    ],
)
def test_an_option_that_is_none_is_refused(tiny: Any, query: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        vllm.parse_vllm_spec(f"vllm:{tiny.base()}{query}")

    assert str(caught.value).startswith(f"vllm:{tiny.base()}{query}: ")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "fully trained modules (modules_to_save)"),
        ({"bias": "lora_only"}, "trained biases"),
        ({"lora_bias": True}, "trained biases"),
        ({"init_lora_weights": "pissa"}, "pissa adapters, which change the base"),
        ({"init_lora_weights": "olora"}, "olora adapters, which change the base"),
        ({"r": 1024}, "ranks above 512 (it has 1024)"),
        ({"rank_pattern": {"q_proj": 640}}, "ranks above 512 (it has 640)"),
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING adapters"),
        ({"trainable_token_indices": [5]}, "trained token embeddings"),
        ({"layer_replication": [[0, 1]]}, "replicated layers"),
    ],
)
def test_an_adapter_that_vllm_does_not_serve_is_refused(
    tiny: Any, copied: Copy, settings: Mapping[str, Any], problem: str
) -> None:
    folder = copied(tiny.adapter(), file="adapter_config.json", **settings)

    with pytest.raises(ModelError) as caught:
        vllm.parse_vllm_spec(f"vllm:{folder}")

    assert f"vLLM does not serve {problem}; merge the adapter" in str(caught.value)


@pytest.mark.parametrize(
    ("rank", "least"), [(1, 1), (2, 8), (4, 8), (8, 8), (9, 16), (64, 64), (257, 320), (512, 512)]
)
def test_the_command_has_the_least_rank_that_vllm_takes(
    tiny: Any, copied: Copy, rank: int, least: int
) -> None:
    """`--max-lora-rank` takes few values, and a larger one costs memory and time."""
    folder = copied(tiny.adapter(), file="adapter_config.json", r=rank)
    command = VllmServerPlan("base", tiny.base(), {"tuned": folder}).command(
        CPU, VllmSettings(), 8001
    )

    assert command[command.index("--max-lora-rank") + 1] == str(least)


def test_the_command_names_the_modules_of_the_adapter(tiny: Any) -> None:
    """Those with weights in the file; a server that is given fewer drops the others in silence."""
    modules = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    command = VllmServerPlan("base", tiny.base(), {"tuned": tiny.adapter()}).command(
        CPU, VllmSettings(), 8001
    )

    assert adapted_modules(tiny.adapter()) == modules
    at = command.index("--lora-target-modules")
    assert command[at + 1 :] == modules
    assert f"tuned={tiny.adapter()}" in command
    assert command[command.index("--dtype") + 1] == "float32"
    assert "--tensor-parallel-size" not in command


def test_gpus_are_shared_by_the_servers_of_a_run(tiny: Any) -> None:
    """Two full models each take half of the share; `tp` spreads each over the GPUs."""
    settings = VllmSettings(tp=8, gpu_memory=0.8, max_len=4096)
    command = VllmServerPlan("tuned", tiny.base(), {}, share=0.5).command(GPU, settings, 8001)
    found = dict(itertools.pairwise(command))

    assert found["--gpu-memory-utilization"] == "0.400"
    assert found["--tensor-parallel-size"] == "8"
    assert found["--max-model-len"] == "4096"
    assert found["--dtype"] == "auto"
    assert found["--host"] == "127.0.0.1"
    assert "--enable-lora" not in command


def test_a_head_drafts_where_the_spec_says_so(tiny: Any) -> None:
    """What is drafted is in the statistics, which are off otherwise."""
    plan = VllmServerPlan("base", tiny.base(), {})
    plain = plan.command(CPU, VllmSettings(), 8001)
    drafting = plan.command(CPU, VllmSettings(mtp=2), 8001)

    config = drafting[drafting.index("--speculative-config") + 1]
    assert json.loads(config) == {"method": "mtp", "num_speculative_tokens": 2}
    assert "--disable-log-stats" not in drafting
    assert "--disable-log-stats" in plain
    assert "--speculative-config" not in plain


def test_arms_with_other_options_are_refused(tiny: Any) -> None:
    """Arms are compared: a number format of one alone would be a difference."""
    specs = {
        "base": f"vllm:{tiny.base()}?dtype=float32",
        "tuned": f"vllm:{tiny.adapter()}?dtype=bfloat16",
    }
    with pytest.raises(ModelError, match=r"dtype=bfloat16, and .* has float32; arms are compared"):
        vllm.open_together(specs, PoolLimits())


def test_an_adapter_takes_its_base_with_it(tiny: Any) -> None:
    tuned = f"vllm:{tiny.adapter()}"

    with pytest.raises(ModelError, match="is an adapter, and base is not a vllm: model"):
        open_arms({"base": str(tiny.base()), "tuned": tuned})
    with pytest.raises(UsageError, match="is an adapter; base must be vllm:, too"):
        vllm.vllm(str(tiny.adapter()))


def test_the_base_of_an_adapter_is_found(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, str] = {}

    def opened(specs: Mapping[str, str], *args: Any, **settings: Any) -> dict[str, Any]:
        asked.update(specs)
        return dict.fromkeys(specs)

    monkeypatch.setattr(vllm, "open_together", opened)
    open_arms({"base": None, "tuned": f"vllm:{tiny.adapter()}?max_len=64"})

    assert asked["base"] == f"vllm:{tiny.base()}"


def test_no_vllm_is_told_with_both_ways_to_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNEGATE_VLLM", raising=False)
    monkeypatch.setenv("TUNEGATE_CACHE", str(tmp_path))

    with pytest.raises(UsageError, match=r"`tunegate install vllm` .* TUNEGATE_VLLM"):
        find_installation()


def test_an_environment_is_asked_for_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable names a Python; without vLLM, or not there at all, it is refused by name."""
    python = make_environment(tmp_path / "env")
    monkeypatch.setenv("TUNEGATE_VLLM", str(python))
    found = find_installation()
    assert (found.python, found.version, found.cpu) == (python, "0.32.0", True)

    monkeypatch.setenv("TUNEGATE_VLLM", sys.executable)
    with pytest.raises(UsageError, match="has no vLLM; `tunegate install vllm`"):
        find_installation()
    monkeypatch.setenv("TUNEGATE_VLLM", "/nowhere/python")
    with pytest.raises(
        UsageError, match="TUNEGATE_VLLM=/nowhere/python: is not a Python that runs"
    ):
        find_installation()


MEMORY = (
    "(EngineCore pid=7) ERROR 11-28 12:00:00 [core.py:900] ValueError: To serve at least one "
    "request with the model's max seq len (8192), (2.25 GiB KV cache is needed, which is larger "
    "than the available KV cache memory (1.0 GiB). Based on the available memory"
)
PORT = "OSError: [Errno 98] error while attempting to bind on address: address already in use"
KILLED = (
    "RuntimeError: Engine core initialization failed. See root cause above. "
    "Failed core proc(s): {'EngineCore_DP0': -9}"
)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([MEMORY], r"max seq len \(8192\).*; its log: .*; write \?max_len=N into the spec"),
        (["ValueError: No available memory for the cache blocks."], "use a smaller model"),
        ([KILLED], "was killed while it started, as the system does when memory runs out"),
        (["ValueError: LoRA rank 64 is greater than 16"], "ValueError: LoRA rank 64 is greater"),
        ([PORT, PORT], "address already in use"),
        (["OSError: /m is not a model"], "vLLM for base ended while it started: OSError: /m is no"),
    ],
    ids=["context", "memory", "killed", "adapter", "port", "model"],
)
def test_a_start_that_fails_is_one_line(
    tiny: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: list[str],
    message: str,
) -> None:
    """vLLM's own words, its log, and what to do; as many starts as failed, and no process left."""
    python = make_environment(tmp_path / "env", say=lines)
    monkeypatch.setenv("TUNEGATE_VLLM", str(python))
    hosting = ServerHosting(tmp_path)

    with pytest.raises(ModelError, match=message) as caught:
        vllm.open_together({"base": f"vllm:{tiny.base()}"}, PoolLimits(), hosting=hosting)

    assert "\n" not in str(caught.value)
    assert str(tmp_path / "vllm-base.log") in str(caught.value)
    assert len((tmp_path / "env" / "starts").read_text().split()) == len(lines)


def test_an_untested_version_is_named_when_it_starts(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line that announces the start has the versions that were tested; the run goes on."""
    python = make_environment(tmp_path / "env", version="0.99.1", say=["ValueError: none"])
    monkeypatch.setenv("TUNEGATE_VLLM", str(python))
    lines: list[str] = []
    hosting = ServerHosting(tmp_path, lines.append)

    with pytest.raises(ModelError):
        vllm.open_together({"base": f"vllm:{tiny.base()}"}, PoolLimits(), hosting=hosting)

    assert lines[0].startswith(
        "starting vLLM 0.99.1 (tested are 0.32 and 0.33) on the CPU for base"
    )
