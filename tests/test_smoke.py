"""The smoke set of `make matrix`: what a user does on the first day, with a tiny model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import Tiny, muted
from tests.trainers.training_scripts import write_suite

pytestmark = [pytest.mark.slow, pytest.mark.long]  # `make matrix` runs it, `make test` does not
TUNEGATE = str(Path(sys.executable).with_name("tunegate"))
VERDICTS = {0: "SHIP", 1: "BLOCK", 10: "UNDECIDED", 11: "HOLD"}


@pytest.fixture(name="here", autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder with one suite."""
    monkeypatch.chdir(tmp_path)
    write_suite(tmp_path, gate="tolerance = 0.5", n=30)
    return tmp_path


def judged(words: list[str], run: Path) -> Iterator[tuple[str, Any]]:
    """Run a command in a process of its own; yield what verdict.json must agree with."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode in VERDICTS, done.stdout + done.stderr
    verdict = json.loads((run / "verdict.json").read_text(encoding="utf-8"))
    yield VERDICTS[done.returncode], verdict["verdict"]
    yield "proven", verdict["liveness"]["tuned"]["status"]


def test_the_command_line_gates_an_adapter(tiny: Tiny, here: Path) -> None:
    models = ["--base", str(tiny.base()), "--tuned", str(tiny.adapter())]

    for expected, found in judged(
        [TUNEGATE, "gate", "letters", *models, "--run-dir", "r"], here / "r"
    ):
        assert expected == found


def test_the_plugin_gates_an_adapter(tiny: Tiny, here: Path) -> None:
    """`pytest SUITE --gate-base … --gate-tuned …` says the same."""
    words = [sys.executable, "-m", "pytest", "letters", f"--gate-base={tiny.base()}"]
    words += [f"--gate-tuned={tiny.adapter()}", "--gate-run-dir=r", "-q"]

    for expected, found in judged(words, here / "r"):
        assert expected == found


def test_a_plain_script_of_trl_is_gated(tiny: Tiny, here: Path) -> None:
    pytest.importorskip("trl")
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    from tunegate import GateCallback

    rows = [{"prompt": f"letters {i}?", "completion": " no"} for i in range(8)]
    with muted():
        config = SFTConfig(
            output_dir="out",
            max_steps=2,
            save_steps=1,
            learning_rate=1e-2,
            per_device_train_batch_size=4,
            max_length=64,
            bf16=False,
            use_cpu=True,
            report_to="none",
        )
        trainer = SFTTrainer(
            str(tiny.base()),
            args=config,
            train_dataset=Dataset.from_list(rows),
            peft_config=LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[GateCallback("letters")],
        )
        trainer.train()
        trainer.save_model("adapter")

    record = json.loads(Path("out/gate_checkpoints.json").read_text(encoding="utf-8"))
    assert [(1, None), (2, None)] == [(one["step"], one["problem"]) for one in record["looks"]]
    words = [TUNEGATE, "gate", "letters", "--base", str(tiny.base()), "--tuned", "adapter"]
    for expected, found in judged([*words, "--run-dir", "r"], here / "r"):
        assert expected == found


def test_the_doctor_reports(here: Path) -> None:
    """What is installed, and whether it was tested together; nothing needed is missing."""
    done = subprocess.run([TUNEGATE, "doctor"], capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert any(line[5:].startswith("combination") for line in done.stdout.splitlines())
