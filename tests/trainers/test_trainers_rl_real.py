"""Training with rewards on the real model: it learns what is rewarded, and the gate takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import muted
from tunegate.harness.checks import liveness
from tunegate.harness.contracts import environment
from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score
from tunegate.trainers.train import run_method

THINGS = ("colour", "river", "bird", "fruit", "city", "metal", "dance", "planet")
HELD_OUT = ("country", "fish", "flower", "sport", "game", "language", "tool", "month")
SHOWN = (("tree", "OAK"), ("drink", "milk"))
"""Examples that leave open whether to answer in capitals, so that there is something to learn."""
HERE = "tests.trainers.test_trainers_rl_real"
SEEDS = pytest.mark.parametrize("seed", ["0", "1", "2"])


@metric(range=(0.0, 1.0))
def capitals(case: Case, completion: Completion) -> Score:
    """The share of capitals among the letters of the answer."""
    letters = [c for c in completion.text or "" if c.isalpha()]
    return Score.of(sum(c.isupper() for c in letters) / max(1, len(letters)))


def turns(thing: str) -> list[dict[str, str]]:
    """The conversation that asks for one thing."""
    found = []
    for shown, answer in SHOWN:
        found.append({"role": "user", "content": f"Name a {shown}."})
        found.append({"role": "assistant", "content": answer})
    return [*found, {"role": "user", "content": f"Name a {thing}."}]


@pytest.mark.slow
@pytest.mark.long  # three seeds: two minutes
@SEEDS
def test_grpo_teaches_what_the_metric_measures(seed: str, tmp_path: Path) -> None:
    from tunegate.harness.models.demo_model import make_demo_model
    from tunegate.harness.models.open_arms import open_arms
    from tunegate.trainers.grpo import METHOD
    from tunegate.trainers.train import run_method

    rows = [json.dumps({"prompt": turns(thing)}) for thing in THINGS]
    (tmp_path / "prompts.jsonl").write_text("\n".join(rows))
    lines: list[str] = []
    argv = ["--model_name_or_path", str(make_demo_model()), "--reward", f"{HERE}:capitals"]
    argv += ["--train_files", str(tmp_path / "prompts.jsonl"), "--output_dir", str(tmp_path / "o")]
    argv += ["--use_peft", "--lora_r", "8", "--lora_target_modules", "all-linear", "--seed", seed]
    argv += ["--lora_dropout", "0", "--attn_implementation", "eager", "--logging_steps", "1"]
    argv += ["--max_steps", "5", "--learning_rate", "1e-3", "--max_completion_length", "6"]
    argv += ["--per_device_train_batch_size", "8", "--num_generations", "8"]
    argv += ["--lr_scheduler_type", "constant"]
    argv += ["--save_strategy", "no"]

    assert 0 == run_method(METHOD, argv, say=lines.append), lines

    with muted():
        arms = open_arms({"base": str(make_demo_model()), "tuned": str(tmp_path / "o")})
    assert "proven" == liveness.check_liveness(arms)["tuned"]["status"]
    levels = {name: level(arm) for name, arm in arms.items()}
    assert levels["tuned"] > levels["base"] + 0.3, (levels, lines)


def level(arm: Any) -> float:
    """The metric's mean over one answer to each held-out prompt, decoded greedily."""
    from tunegate.harness.contracts.model import Request
    from tunegate.harness.engine.inference import local_engine
    from tunegate.harness.records.answers import Cell, CellKind
    from tunegate.harness.records.generation import GenerationSettings

    settings = GenerationSettings(max_new_tokens=6)
    cases = [Case(id=thing, messages=tuple(turns(thing))) for thing in HELD_OUT]
    asked = [
        Request(
            Cell(suite="s", case=case.id, arm="", kind=CellKind.GENERATE, key=case.id),
            case,
            arm.prompt(case, settings),
            settings,
            seed=0,
        )
        for case in cases
    ]
    scores = [
        capitals(cases[0], answer.completion)
        for answer in local_engine.complete_requests(arm, asked)
    ]
    return sum(score.value for score in scores) / len(scores)


WORDS = ("red green", "Nile Rhine", "robin crow", "apple plum", "Rome Oslo", "iron zinc")
WORDS += ("waltz tango", "Mars Venus")
"""Two answers to each of THINGS."""


@pytest.mark.slow
@pytest.mark.long  # three seeds: six minutes
@SEEDS
@pytest.mark.skipif(not environment.has_feature("ppo"), reason="this TRL has no PPO trainer")
def test_ppo_teaches_what_pairs_prefer(seed: str, tmp_path: Path) -> None:
    """A reward model of pairs, twelve updates: more capitals than base has, on unseen prompts.

    The pairs differ in nothing but capitals, and neither they nor the prompts hold what is asked.
    """
    from tunegate.harness.models.demo_model import make_demo_model
    from tunegate.harness.models.open_arms import open_arms
    from tunegate.trainers import ppo, reward

    pairs = [
        {
            "prompt": turns(thing),
            "chosen": [{"role": "assistant", "content": word.upper()}],
            "rejected": [{"role": "assistant", "content": word}],
        }
        for thing, words in zip(THINGS, WORDS, strict=True)
        for word in words.split()
    ]
    asked = [{"prompt": turns(thing)} for thing in THINGS]
    for name, rows in (("pairs", pairs), ("prompts", asked)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines: list[str] = []
    argv = ["--model_name_or_path", "embedded", "--save_strategy", "no", "--peft", "lora"]
    argv += ["--lora_r", "8", "--lora_target_modules", "all-linear", "--logging_steps", "1"]
    argv += ["--lora_dropout", "0", "--lr_scheduler_type", "constant", "--seed", seed]
    argv += ["--per_device_train_batch_size", "8", "--attn_implementation", "eager"]
    judge, tuned = tmp_path / "judge", tmp_path / "tuned"
    scoring = ["--train_files", str(tmp_path / "pairs.jsonl"), "--output_dir", str(judge)]
    scoring += ["--max_steps", "8", "--learning_rate", "1e-3"]
    policy = ["--train_files", str(tmp_path / "prompts.jsonl"), "--output_dir", str(tuned)]
    policy += ["--reward_model_path", str(judge), "--total_episodes", "96", "--kl_coef", "0.02"]
    policy += ["--response_length", "6", "--num_ppo_epochs", "2", "--learning_rate", "3e-4"]
    with muted():
        assert 0 == run_method(reward.METHOD, [*argv, *scoring], say=lines.append), lines
        assert 0 == run_method(ppo.METHOD, [*argv, *policy], say=lines.append), lines
        arms = open_arms({"base": str(make_demo_model()), "tuned": str(tuned)})

    assert "proven" == liveness.check_liveness(arms)["tuned"]["status"]
    assert 12 == sum("  score " in line and "  kl " in line for line in lines), lines
    levels = {name: level(arm) for name, arm in arms.items()}
    assert levels["tuned"] > levels["base"] + 0.3, (levels, lines)
