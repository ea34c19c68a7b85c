"""kill -9 on the real model: nothing finished is lost, the resumed verdict is the same bytes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

CASES = 12
SUITE = """
name = "kills"
cases = "cases.jsonl"

[generation]
max_new_tokens = 12

[[metrics]]
use = "truncated"
[[metrics]]
use = "answer_logprob"

[[gates]]
metric = "answer_logprob"
tolerance = 0.5
[[gates]]
metric = "truncated"
ceiling = 0.9
"""


@pytest.fixture(name="base", scope="module")
def _base() -> Path:
    from tunegate.harness.models.demo_model import make_demo_model

    return make_demo_model()


@pytest.fixture(name="adapter", scope="module")
def _adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a live LoRA adapter of the base: small random weights, no training."""
    script = f"""
import torch, warnings
warnings.simplefilter("ignore")
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained({str(base)!r}, dtype=torch.float32)
model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
for name, weight in model.named_parameters():
    if "lora_B" in name:
        torch.nn.init.normal_(weight, std=0.02)
model.save_pretrained("OUT")
"""
    folder = tmp_path_factory.mktemp("adapter")
    subprocess.run([sys.executable, "-c", script.replace("OUT", str(folder))], check=True)
    return folder


def _project(folder: Path) -> Path:
    suite = folder / "kills"
    suite.mkdir(parents=True)
    (suite / "suite.toml").write_text(SUITE, encoding="utf-8")
    rows = [
        {
            "id": f"k{i}",
            "prompt": f"Name {2 + i % 4} things that begin with {chr(97 + i % 26)}.",
            "expected": "Here are some of them: apple, bread and cheese.",
        }
        for i in range(CASES)
    ]
    (suite / "cases.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    return folder


def _start(project: Path, base: Path, adapter: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tunegate.harness.cli",
            "gate",
            "kills",
            "--base",
            str(base),
            "--tuned",
            str(adapter),
            "--run-dir",
            "run",
        ],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ),
    )


def _stored(project: Path) -> int:
    path = project / ".tunegate" / "store.sqlite"
    if not path.is_file():
        return 0
    try:
        with sqlite3.connect(path, timeout=5) as db:
            return int(db.execute("SELECT COUNT(*) FROM cells WHERE status='ok'").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.slow
def test_three_kills_lose_nothing_and_change_nothing(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    """Three SIGKILLs in mid-run cost no stored answer, and the verdict is byte-identical."""
    clean, killed = _project(tmp_path / "clean"), _project(tmp_path / "killed")
    assert _start(clean, base, adapter).wait() in (0, 1, 10)
    expected = (clean / "run" / "verdict.json").read_bytes()

    stored = 0
    for wanted in (3, 16, 30):
        process = _start(killed, base, adapter)
        while process.poll() is None and _stored(killed) < wanted:
            time.sleep(0.05)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert _stored(killed) >= max(stored, wanted)
        stored = _stored(killed)
        assert not (killed / "run" / "verdict.json").exists()
    resumed = subprocess.run(
        [sys.executable, "-m", "tunegate.harness.cli", "resume", "run"], cwd=killed, check=False
    )

    assert resumed.returncode in (0, 1, 10)
    assert (killed / "run" / "verdict.json").read_bytes() == expected
