"""The example of PPO: its files are what its script writes, and the suite asks unseen things."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite
from tunegate.harness.contracts import environment
from tunegate.harness.records.answers import Completion
from tunegate.trainers import peft_adapters, ppo, reward
from tunegate.trainers.arguments import parse_arguments
from tunegate.trainers.datasets import load_rows
from tunegate.trainers.job import TrainingMethod
from tunegate.trainers.train import method_parser

EXAMPLE = Path(__file__).parents[2] / "examples" / "ppo-labels"


def test_the_script_writes_what_is_committed() -> None:
    script = runpy.run_path(str(EXAMPLE / "make.py"))

    written = {name: script["written"](rows()) for name, rows in script["FILES"].items()}

    assert {name: (EXAMPLE / name).read_text(encoding="utf-8") for name in written} == written


@pytest.mark.parametrize(("method", "rows"), [(reward.METHOD, 32), (ppo.METHOD, 16)])
def test_each_configuration_reads_its_rows(method: TrainingMethod, rows: int) -> None:
    if method is ppo.METHOD and not environment.has_feature("ppo"):
        pytest.skip("this TRL has no PPO trainer")
    config = parse_arguments(
        method_parser(method), ["--config", str(EXAMPLE / f"{method.name}.yaml")]
    )
    peft_adapters.settle_peft_options(config, method.kinds)

    assert "lora" == peft_adapters.peft_kind(config)
    assert rows == len(load_rows(config.data.train_files, method.rows, seed=0).rows)


def test_the_suite_asks_what_no_row_holds() -> None:
    asked = {_thing(case.messages) for case in suite.load_suite(EXAMPLE / "suite").cases}
    rows = [*_rows("pairs.jsonl"), *_rows("prompts.jsonl")]

    assert 60 == len(asked)
    assert not asked & {_thing(row["prompt"]) for row in rows}


@pytest.mark.parametrize(
    ("text", "right"),
    [("TULIP", 1.0), ("A RED TULIP.", 1.0), ("Tulip", 0.0), ("tulip", 0.0), ("7", 0.0), ("", 0.0)],
)
def test_the_suite_takes_capitals_alone(text: str, right: float) -> None:
    loaded = suite.load_suite(EXAMPLE / "suite")
    case = loaded.cases[0]
    (metric,) = (metric for metric in loaded.metrics if metric.name == "regex")

    assert right == metric(case, Completion(text=text)).value


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (EXAMPLE / name).read_text("utf-8").splitlines()]


def _thing(messages: Any) -> str:
    return str(messages[-1]["content"])
