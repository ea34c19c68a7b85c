"""The gate in a user's own TRL script, with a real model and a bundled suite; in two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.short_models import ShortModel, short_model
from tests.tiny_models import muted
from tests.trainers.training_scripts import checkpointing_name, losses, weights, write_suite
from tunegate import GateCallback

__all__ = ["short_model"]

ROOT = Path(__file__).parents[2]


def _train(base: Path, out: Path, gate: GateCallback | None) -> Any:
    """A script of a user's: two steps of SFT with a LoRA that has dropout."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    set_seed(0)
    rows = Dataset.from_json(str(ROOT / "suites/support_json/train.jsonl"))
    config = SFTConfig(
        output_dir=str(out),
        max_steps=2,
        save_steps=1,
        save_only_model=True,
        logging_steps=1,
        learning_rate=2e-3,
        per_device_train_batch_size=1,
        max_length=160,
        bf16=False,
        use_cpu=True,
        **{checkpointing_name(): True},
        report_to="none",
        disable_tqdm=True,
    )
    lora = LoraConfig(r=8, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM")
    with muted():
        trainer = SFTTrainer(
            str(base),
            args=config,
            train_dataset=rows.select(range(4)),
            peft_config=lora,
        )
        if gate is not None:
            trainer.add_callback(gate)
        trainer.train()
    return trainer


@pytest.mark.slow
def test_trl_trains_the_same_with_and_without_it(
    short_model: ShortModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses and weights to the last bit; base gets no ticket right, as its suite's page says."""
    monkeypatch.chdir(tmp_path)
    base = short_model.base
    alone = _train(base, tmp_path / "alone", None)

    gate = GateCallback(ROOT / "suites/support_json", max_cases=1)
    gated = _train(base, tmp_path / "gated", gate)

    looks = [e for e in gated.state.log_history if "gate/support_json/json_schema/base" in e]
    assert [1, 2] == [look["step"] for look in looks]
    assert [0.0, 0.0] == [look["gate/support_json/json_schema/base"] for look in looks]
    assert losses(alone) == losses(gated)
    assert weights(alone) == weights(gated)


@pytest.mark.slow
@pytest.mark.long
def test_all_processes_end_and_choose_alike(tiny_base: Path, tmp_path: Path) -> None:
    """The first one looks; both stop at the look that proves forgetting, and keep the same one."""
    write_suite(tmp_path, gate="tolerance = 0.01", answer="~~~~", n=200)
    script = ROOT / "tests/trainers/two_processes.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]

    done = subprocess.run(
        [*command, str(script), str(tiny_base), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"process-{n}.json").read_text()) for n in range(2))
    assert [8, 4, str(tmp_path / "out/checkpoint-4")] == first
    assert first == second
    assert done.stderr.count("gate at step 8:") == 1
