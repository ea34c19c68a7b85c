"""The example of a shop's answers: four ways of training on it, and a suite of other questions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunegate.harness.suite import load_suite
from tunegate.trainers import dpo, final_gate, peft_adapters, sft
from tunegate.trainers.arguments import parse_arguments
from tunegate.trainers.datasets import load_rows
from tunegate.trainers.job import TrainingMethod
from tunegate.trainers.train import method_parser

FOLDER = Path(__file__).parents[2] / "examples" / "shop_answers"


@pytest.mark.parametrize(
    ("name", "method", "kind"),
    [
        ("sft", sft.METHOD, "lora"),
        ("qlora", sft.METHOD, "qlora"),
        ("prompt_tuning", sft.METHOD, "prompt"),
        ("dpo", dpo.METHOD, "lora"),
    ],
)
def test_each_configuration_trains_on_forty_rows_and_finds_its_suite(
    name: str, method: TrainingMethod, kind: str
) -> None:
    config = parse_arguments(
        method_parser(method), ["--config", str(FOLDER / f"{name}.yaml"), "--gate"]
    )
    peft_adapters.settle_peft_options(config, method.kinds)
    rows = load_rows(config.data.train_files, method.rows, seed=0).rows

    final_gate.check_suites(config.data.eval_suite, wanted=config.data.gate)
    assert kind == peft_adapters.peft_kind(config)
    assert [str(FOLDER / "suite")] == config.data.eval_suite
    assert 40 == len(rows)
    asked = {case.prompt for case in load_suite(FOLDER / "suite").cases}
    assert 60 == len(asked)
    assert not asked & {row["prompt"][0]["content"] for row in rows}
