"""`tunegate train classify`: heads, labels and what the gate opens afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tiny_models import Tiny, muted
from tunegate.harness.models.open_arms import open_arms
from tunegate.trainers import classify
from tunegate.trainers.datasets import CLASSES
from tunegate.trainers.row_files import InvalidRow
from tunegate.trainers.train import run_method
from tunegate.trainers.training_card import read_card

ROWS = [
    {"prompt": f"the {word}", "label": label}
    for word, label in (
        *(("parcel", "delivery"), ("refund", "refund"), ("late", "delivery")),
        *(("customer", "refund"), ("capital", "other"), ("Spain", "other")),
    )
]


@pytest.fixture(name="train")
def _train(tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]) -> Callable[..., list[str]]:
    """Train on the tiny Llama; returns the lines, the exit code as the last."""

    def train(rows: list[Any], out: str, *more: str) -> list[str]:
        lines: list[str] = []
        argv = ["--model_name_or_path", str(tiny.base()), "--output_dir", str(tmp_path / out)]
        argv += ["--train_files", str(write_rows(f"{out}.jsonl", rows)), "--max_steps", "2"]
        argv += ["--per_device_train_batch_size", "2", "--save_strategy", "no"]
        argv += ["--logging_steps", "1", "--learning_rate", "1e-2", *more]
        with muted():
            lines.append(str(run_method(classify.METHOD, argv, say=lines.append)))
        return lines

    return train


def opened(folder: Path) -> Any:
    rows = folder.parent / f"{folder.name}.jsonl"
    return open_arms({"base": f"majority:{rows}", "tuned": f"classifier:{folder}"})["tuned"]


def test_an_adapter_keeps_its_head_and_labels(
    train: Callable[..., list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    lines = train(ROWS, "out", "--peft", "lora")

    assert lines[-1] == "0", lines
    assert lines[-2].endswith(
        f"next: tunegate gate SUITES --base majority:{out}.jsonl --tuned classifier:{out}"
    )
    arm = opened(out)
    assert arm.labels == ("delivery", "other", "refund")
    assert arm.adapter_folder == out
    card = read_card(out)
    assert (card.method, card.rows, card.steps) == ("classify", 6, 2)
    assert card.hyperparameters["max_length"] == 512


def test_the_same_seed_gives_the_same_bytes(
    train: Callable[..., list[str]], tmp_path: Path
) -> None:
    for out in ("one", "two"):
        assert train(ROWS, out, "--peft", "lora", "--seed", "3")[-1] == "0"

    one, two = ((tmp_path / out / "adapter_model.safetensors") for out in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("labels", "problem", "names"),
    [
        ([["late"], ["late", "refund"], []], "multi_label_classification", ("late", "refund")),
        ([1, 2.5, 0], "regression", ()),
    ],
)
def test_a_whole_model_of_another_kind(
    labels: list[Any], problem: str, names: Any, train: Callable[..., list[str]], tmp_path: Path
) -> None:
    rows = [{"prompt": f"case {i}", "label": label} for i, label in enumerate(labels)]
    lines = train(rows, "out")
    config = json.loads((tmp_path / "out" / "config.json").read_bytes())
    specs = {"base": f"classifier:{tmp_path / 'out'}", "tuned": f"classifier:{tmp_path / 'out'}"}
    arm: Any = open_arms(specs)["tuned"]

    assert lines[-1] == "0", lines
    assert config["problem_type"] == problem
    assert arm.labels == names


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS, {"prompt": "x", "label": 3}], "a training takes one kind"),
        (ROWS[:1], "all rows have the same label 'delivery'"),
        ([{"prompt": "x"}], "no `label`"),
    ],
)
def test_rows_that_teach_no_head_are_refused(
    rows: list[Any], message: str, train: Callable[..., list[str]]
) -> None:
    lines = train(rows, "out", "--peft", "lora")

    assert lines[-1] == "2"
    assert any(message in line for line in lines), lines


def test_long_rows_are_cut_and_counted(train: Callable[..., list[str]]) -> None:
    lines = train([*ROWS, {"prompt": "late " * 300, "label": "other"}], "out", "--peft", "lora")

    assert "warning: 1 row cut off at max_length=256" in lines


@pytest.mark.parametrize("flag", ["--gate", "--gate_callback"])
def test_the_training_runs_no_gate(flag: str, train: Callable[..., list[str]]) -> None:
    lines = train(ROWS, "out", flag, "general_knowledge", "--eval-suite", "general_knowledge")

    assert lines[-1] == "2"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": [{"role": "user", "content": "x"}], "label": "a"}, "reads no messages"),
        ({"prompt": "x", "context": 3, "label": "a"}, "reads no messages"),
        ({"prompt": "x", "label": True}, "not True"),
        ({"prompt": "x", "label": ""}, "must be a text"),
        ({"prompt": "x", "label": ["a", 3]}, "must be a text"),
        ({"prompt": "x", "label": float("nan")}, "must be a text"),
    ],
)
def test_a_row_of_another_form_is_refused(row: Any, message: str) -> None:
    with pytest.raises(InvalidRow, match=message):
        CLASSES.row(row)


def test_a_pair_and_a_number_are_read() -> None:
    row = {"prompt": "a", "context": "b", "label": 2}

    assert CLASSES.row(row) == {"prompt": "a", "context": "b", "label": 2.0}


def test_an_adapter_is_no_base(tmp_path: Path) -> None:
    from tunegate.harness.records.errors import ModelError

    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    job: Any = SimpleNamespace(
        base=SimpleNamespace(folder=tmp_path, name="x"),
        config=SimpleNamespace(training=None),
        tokenizer=None,
    )
    with pytest.raises(ModelError, match="x: is an adapter"):
        classify._build(job)
