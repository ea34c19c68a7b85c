"""The example of GRPO with verifiers: its files are what its generator writes, and fit together."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite
from tunegate.harness.metrics.json_schema import json_schema
from tunegate.harness.metrics.tool_calls import tool_calls
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

EXAMPLE = Path(__file__).parents[2] / "examples" / "grpo-tool-calls"


def lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_generator_writes_what_is_committed() -> None:
    before = {path: path.read_bytes() for path in EXAMPLE.rglob("*.jsonl")}

    runpy.run_path(str(EXAMPLE / "make.py"), run_name="__main__")

    assert 2 == len(before)
    assert before == {path: path.read_bytes() for path in before}


def test_prompts_and_cases_share_no_request_and_no_room() -> None:
    prompts, cases = lines(EXAMPLE / "prompts.jsonl"), lines(EXAMPLE / "house" / "cases.jsonl")
    trained = {row["expected_calls"][0]["arguments"]["room"][0] for row in prompts}
    gated = {row["expected_calls"][0]["arguments"]["room"][0] for row in cases}

    assert not trained & gated
    assert not {row["cluster"] for row in prompts} & {row["cluster"] for row in cases}


def test_expected_answers_earn_every_reward() -> None:
    schema = EXAMPLE / "house" / "call.schema.json"
    rows = [*lines(EXAMPLE / "prompts.jsonl"), *lines(EXAMPLE / "house" / "cases.jsonl")]
    for row in {row["expected"]: row for row in rows}.values():
        case = Case(id="x", prompt="x", expected_calls=tuple(row["expected_calls"]))
        answer = Completion(text=row["expected"])
        assert (
            1.0 == tool_calls(case, answer).value == json_schema(case, answer, schema=schema).value
        )


def test_the_configuration_is_one_that_trains() -> None:
    """The YAML parses with TRL's parser, and its rewards accept its rows; the suite loads."""
    pytest.importorskip("trl")
    from tunegate.trainers import datasets, prompt_rows, verifiable_rewards
    from tunegate.trainers.arguments import parse_arguments
    from tunegate.trainers.grpo import METHOD
    from tunegate.trainers.train import method_parser

    config = parse_arguments(
        method_parser(METHOD),
        ["--config", str(EXAMPLE / "grpo.yaml")],
        options_class=METHOD.options,
    )
    rows = datasets.load_rows(config.data.train_files, datasets.PROMPTS, seed=0)
    used = verifiable_rewards.load_rewards(config.own.rewards, folder=EXAMPLE, where="rewards")
    verifiable_rewards.check_rewards(
        used, [row.case for row in prompt_rows.load_prompts(rows)], where="rewards"
    )

    gated = suite.load_suite(EXAMPLE / "house")
    assert {metric.name for metric in gated.metrics} == {reward.name for reward in used}
    assert config.training.max_completion_length == gated.generation.max_new_tokens
