"""Trainers of TRL that have no file here: found by name, and trained as TRL does."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import muted
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.training_card import FILE
from tunegate.trainers import trl_trainer
from tunegate.trainers.arguments import quiet_warnings
from tunegate.trainers.row_files import InvalidRow
from tunegate.trainers.training_card import TrainingRecord

PAIRS = [
    {"prompt": f"Question {i}?", "chosen": f" Answer {i}.", "rejected": " No idea."}
    for i in range(12)
]
LORA = ["--lora_r", "4", "--lora_alpha", "8", "--lora_target_modules", "all-linear"]


@pytest.fixture(name="train")
def _train(tiny_base: Path, write_rows: Callable[..., Path], tmp_path: Path) -> Any:
    """One training with small settings: the exit code and what was said."""

    def train(name: str, rows: list[Any], *more: str) -> tuple[int, list[str]]:
        lines: list[str] = []
        argv = ["--model_name_or_path", str(tiny_base), "--train_files", str(write_rows(rows=rows))]
        argv += ["--max_steps", "2", "--per_device_train_batch_size", "8", "--save_strategy", "no"]
        argv += ["--learning_rate", "1e-2", "--output_dir", str(tmp_path / "out")]
        argv += ["--peft", "lora", *LORA]
        return trl_trainer.run(name, [*argv, *more], say=lines.append), lines

    return train


@pytest.mark.slow
def test_orpo_trains_as_trl_itself(train: Any, tiny_base: Path, tmp_path: Path) -> None:
    """`train orpo` ends in the bytes of TRL's ORPOTrainer called by hand, with a record."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, set_seed
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    code, lines = train("orpo", PAIRS, "--beta", "0.2", "--float32_matmul_precision", "highest")

    rows = [*PAIRS]
    random.Random(42).shuffle(rows)  # as trainers/datasets.py mixes rows
    args = ORPOConfig(
        output_dir=str(tmp_path / "hand"),
        max_steps=2,
        per_device_train_batch_size=8,
        learning_rate=1e-2,
        beta=0.2,
        max_length=256,  # the tiny model's context
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=None,
        dataloader_pin_memory=False,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        model_init_kwargs={"dtype": "float32"},
    )
    lora = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.05, target_modules="all-linear")
    lora.task_type = "CAUSAL_LM"
    set_seed(42)
    with quiet_warnings(), muted():
        trainer = ORPOTrainer(
            model=str(tiny_base),
            args=args,
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(tiny_base),
            peft_config=lora,
        )
        trainer.train()
    trainer.save_model(str(tmp_path / "hand"))
    out = tmp_path / "out"
    assert 0 == code, lines
    ours, theirs = (f / "adapter_model.safetensors" for f in (out, tmp_path / "hand"))
    assert theirs.read_bytes() == ours.read_bytes()
    record = TrainingRecord.model_validate_json((out / FILE).read_bytes())
    assert ("orpo", 2, 0.2) == (record.method, record.steps, record.hyperparameters["beta"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cpo", "tpo", "sdft"])
def test_other_trainers_train(name: str, train: Any, tmp_path: Path) -> None:
    """What TRL has and no file here names is trained, with the columns that it reads."""
    if name not in trl_trainer.trainer_modules():
        pytest.skip(f"this TRL has no {name}")
    rows: list[Any] = [{**row, "reference": " Perhaps."} for row in PAIRS]
    if name == "sdft":
        rows = [{"prompt": row["prompt"], "privileged_context": "It is 4."} for row in PAIRS]

    code, lines = train(name, rows)

    assert 0 == code, lines
    record = TrainingRecord.model_validate_json((tmp_path / "out" / FILE).read_bytes())
    assert (name, 2) == (record.method, record.steps)


@pytest.mark.slow
def test_every_trainer_of_trl_is_built_or_refused_by_name() -> None:
    usable, refused = [], []
    for name in sorted(trl_trainer.trainer_modules()):
        try:
            trl_trainer.make_method(name)
        except UsageError as error:
            refused.append(str(error))
        else:
            usable.append(name)

    assert {"sft", "dpo", "grpo", "rloo", "reward", "orpo", "cpo", "tpo", "gkd"} <= set(usable)
    assert all(text.startswith("tunegate train ") and "TRL's " in text for text in refused)


def test_an_unknown_name_is_refused_before_trl_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(UsageError, match="unknown trainer 'xyz'; there are: sft, dpo, "):
        trl_trainer.run("xyz", [])


def test_the_names_that_are_offered_are_different(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL has trainers under the names of ours, such as sft; each name is offered once."""
    found = {name: f"trl.trainer.{name}_trainer" for name in ("sft", "orpo", "cpo")}
    monkeypatch.setattr(trl_trainer, "trainer_modules", lambda: found)

    with pytest.raises(UsageError) as caught:
        trl_trainer.run("xyz", [])

    offered = str(caught.value).partition("there are: ")[2].split(", ")
    assert ["cpo", "orpo"] == offered[-2:]
    assert sorted(set(offered)) == sorted(offered)


def test_the_first_row_decides_the_format() -> None:
    """Columns that TRL may read are kept; a row of another format is refused with what it lacks."""
    form = trl_trainer.rows_by_columns()
    row = {"prompt": "a", "chosen": "b", "rejected": "c", "reference": "d"}

    assert row == form.row(row)
    with pytest.raises(InvalidRow, match="no `chosen`"):
        form.row({"prompt": "a", "completion": "b"})
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert {
        "prompt": messages[:1],
        "completion": messages[1:],
    } == trl_trainer.rows_by_columns().row({"messages": messages})


@pytest.mark.slow
def test_a_teacher_is_asked_for(train: Any) -> None:
    code, lines = train("gkd", [json.loads(json.dumps({"prompt": "a", "completion": "b"}))] * 4)

    assert 2 == code
    assert "--teacher_model: missing" in lines[-1]


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["a", [{"role": "user", "content": "a"}]])
def test_a_student_learns_from_a_teacher(train: Any, tiny_base: Path, prompt: Any) -> None:
    """TRL's collator for gkd reads `messages`, which both forms of a row become."""
    completion = "b" if prompt == "a" else [{"role": "assistant", "content": "b"}]
    rows = [{"prompt": prompt, "completion": completion}] * 4

    code, lines = train("gkd", rows, "--teacher_model", str(tiny_base))

    assert code in (0, 13), lines  # the student's own weights as teacher may move nothing
    assert not any("messages" in line for line in lines)
