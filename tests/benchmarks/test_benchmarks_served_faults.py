"""The benchmark of serving faults: its commands, its adapters, and what it counts as right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import _served_adapters as adapters
from benchmarks import served_faults
from tests.fake_vllm import make_environment
from tests.tiny_models import tiny

__all__ = ["tiny"]


def test_a_server_is_started_as_the_trial_says(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEGATE_VLLM", str(make_environment(tmp_path / "env")))
    served = served_faults.TrialServer(
        tiny.base(),
        [],
        {"tuned": tiny.adapter()},
        names=["base", "other"],
        modules=["q_proj"],
        tokenizer=tmp_path,
    )
    words = " ".join(served.command("bfloat16", 8001))

    assert "--served-model-name base other --dtype bfloat16" in words
    assert words.endswith(
        f"--lora-target-modules q_proj --max-model-len 1024 --tokenizer {tmp_path}"
    )


def test_altered_adapters_differ_as_named(tiny: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    def tensors(folder: Path) -> dict[str, Any]:
        found: dict[str, Any] = load_file(folder / "adapter_model.safetensors")
        return found

    own = tiny.adapter()
    scaled = adapters.alter_adapter(own, tmp_path / "k", adapters.times(2.0, "k_proj"))
    alpha = adapters.alter_adapter(own, tmp_path / "a", lora_alpha=99)
    prefix = adapters.alter_adapter(own, tmp_path / "p", adapters.renamed)

    changed = [n for n, t in tensors(own).items() if not (tensors(scaled)[n] == t).all()]
    assert changed == [n for n in tensors(own) if "k_proj" in n and "lora_B" in n]
    assert json.loads((alpha / "adapter_config.json").read_text())["lora_alpha"] == 99
    assert all(".language_model.layers." in name for name in tensors(prefix))


def test_results_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each is read again; the table counts the right ones by kind."""
    message = "tuned: what is served is not what is in /a: the adapter is scaled by 2; r = 1"
    row = {"dtype": "float32", "name": "alpha", "processor_s": 3.0, "kind": "fault"}
    rows = [
        {**row, "right": True, "message": message},
        {**row, "right": False, "message": "", "status": "proven", "r": 0.1},
    ]
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    served_faults.print_table(served_faults.read_results(path))

    told = capsys.readouterr().out
    assert "fault: 1 of 2 as they should be" in told
    assert "3.0 s  the adapter is scaled by 2" in told
    assert "WRONG proven, r = 0.1" in told
