"""Does an advised training fit? Its variants, and what is said of them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.errors import BackendError
from tunegate.trainers.estimate import fit, memory
from tunegate.trainers.estimate.fit import TrainingMachine, fit_sentences, memory_variants
from tunegate.trainers.estimate.memory import TrainingSetting


@pytest.fixture(name="base")
def _base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a folder with a configuration; a process takes 1 MB beside its tensors."""
    from tests.tiny_models import make_config

    make_config("llama").save_pretrained(tmp_path)
    monkeypatch.setattr(memory, "process_bytes", lambda: 10**6)
    return str(tmp_path)


def test_variants_give_up_the_cheapest_first() -> None:
    found = dict(memory_variants(TrainingSetting("lora", 16, 1024, 8)))

    assert list(found.values()) == [
        TrainingSetting("lora", 16, 1024, 1),
        TrainingSetting("lora", 16, 1024, 1, "bfloat16"),
        TrainingSetting("qlora", 16, 1024, 1),
        TrainingSetting("qlora", 16, 1024, 1, "bfloat16"),
        TrainingSetting("qlora", 16, 256, 1, "bfloat16"),
    ]
    few = "--per_device_train_batch_size 1 --gradient_accumulation_steps 8"
    assert next(iter(found)) == few
    assert list(found)[-1] == f"{few} --peft qlora --dtype bfloat16 --max_length 256"


def test_grpo_writes_shorter_answers() -> None:
    """Its rows are prompt and answer; TRL's flag is about the answer."""
    *_, (flags, setting) = memory_variants(
        TrainingSetting("lora", 16, 512, 8, trainer="grpo", written=256)
    )

    assert flags.endswith(" --max_completion_length 64")
    assert (setting.length, setting.written) == (128, 64)


def test_the_first_that_fits_is_named(base: str) -> None:
    """With room for one row a step but not for eight, that is the variant; process included."""
    model = memory.model_shape(memory.load_configuration(base))
    one = memory.step_memory(model, TrainingSetting("lora", 16, 256, 1)).total + 10**6

    found = list(
        fit_sentences(base, "sft", method="lora", machine=TrainingMachine(one, "it", gpu=False))
    )
    less = list(
        fit_sentences(base, "sft", method="lora", machine=TrainingMachine(one - 1, "it", gpu=False))
    )
    gpu = list(
        fit_sentences(
            base, "sft", method="lora", machine=TrainingMachine(one - 10**6, "it", gpu=True)
        )
    )

    assert "it has 0.0 GB: does not fit" in found[0]
    flags = "--per_device_train_batch_size 1 --gradient_accumulation_steps 8"
    assert found[1].startswith(f"cheapest variant that fits: {flags} (")
    assert less[1].startswith(f"cheapest variant that fits: {flags} --")
    assert gpu[1].startswith(f"cheapest variant that fits: {flags} (")


@pytest.mark.parametrize("trainer", ["dpo", "kto", "grpo"])
def test_every_trainer_has_its_line(base: str, trainer: str) -> None:
    machine = TrainingMachine(10**12, "it", gpu=False)

    assert len(list(fit_sentences(base, trainer, method="lora", machine=machine))) == 1
    assert list(fit_sentences(base, "rloo", method="lora", machine=machine)) == []


def test_sizes_are_those_of_trl() -> None:
    """What is taken for a training that says nothing is what TRL would do then."""
    import trl
    from packaging.version import Version
    from trl import DPOConfig, GRPOConfig, KTOConfig, ModelConfig, SFTConfig

    def default(kind: Any, name: str) -> Any:
        return next(field.default for field in fields(kind) if field.name == name)

    assert default(ModelConfig, "lora_r") == fit.RANK
    for kind in (SFTConfig, DPOConfig, KTOConfig):
        assert default(kind, "max_length") == fit.TOKENS
        assert default(kind, "per_device_train_batch_size") == fit.ROWS
    written = default(GRPOConfig, "max_completion_length")
    assert written == (256 if Version(trl.__version__) < Version("1.10") else fit.WRITTEN)


def test_what_cannot_be_told_is_said(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> int:
        raise BackendError("no room to measure")

    monkeypatch.setattr(memory, "process_bytes", fails)

    assert list(
        fit_sentences(base, "sft", method="lora", machine=TrainingMachine(1, "it", gpu=False))
    ) == ["memory: unknown (no room to measure)"]
