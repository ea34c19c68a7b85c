"""The decision tree: every branch, what is missing, and the command that comes next."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from tunegate.trainers import advise
from tunegate.trainers.advise import (
    TrainingSituation,
    advice_steps,
    decision_tree,
    is_decided,
    missing_data,
    step_commands,
)

READY: dict[str, Any] = {
    "base": "fails",
    "prompted": True,
    "lacks": "behaviour",
    "weights": True,
    "many_tasks": False,
    "verifier": False,
    "reward_model": False,
}
"""A need for behaviour that prompts did not meet, on a machine of one's own."""

TABLE: list[tuple[dict[str, Any], dict[str, int], list[str]]] = [
    ({"base": "passes"}, {"completions": 900}, ["nothing"]),
    ({"prompt_suffices": True}, {"completions": 900}, ["use_prompt"]),
    ({"base": "unknown", "prompted": False}, {"completions": 900}, ["prompt"]),
    ({"prompted": False}, {"completions": 900}, ["prompt"]),
    ({"lacks": "knowledge"}, {"completions": 900}, ["rag"]),
    ({"lacks": "both"}, {"completions": 50}, ["rag_and_training", "lora"]),
    ({"lacks": "both"}, {}, ["rag_and_training", "collect"]),
    ({"weights": False}, {"completions": 50}, ["vendor"]),
    ({"weights": False}, {"completions": 49}, ["collect"]),
    ({}, {"completions": 50}, ["lora"]),
    ({"fits": False}, {"completions": 50}, ["qlora"]),
    ({"many_tasks": True}, {"completions": 50}, ["prompt_tuning"]),
    ({"verifier": True}, {"prompts": 200}, ["grpo"]),
    ({"verifier": True}, {"completions": 200}, ["lora", "grpo"]),
    ({"verifier": True}, {"completions": 100, "prompts": 99}, ["lora"]),
    ({"verifier": True, "succeeds": False}, {"prompts": 200}, ["not_yet_grpo", "collect"]),
    ({"verifier": True, "succeeds": False}, {"completions": 200}, ["lora", "not_yet_grpo"]),
    ({"verifier": True}, {"preferences": 500}, ["collect"]),
    ({"reward_model": True}, {"preferences": 500}, ["rloo"]),
    ({"reward_model": True}, {"completions": 50, "preferences": 500}, ["lora", "rloo"]),
    ({}, {"preferences": 500}, ["dpo"]),
    ({}, {"completions": 50, "preferences": 500}, ["lora", "dpo"]),
    ({}, {"labelled": 500}, ["kto"]),
    ({}, {"completions": 49, "preferences": 499, "labelled": 499}, ["collect"]),
    ({}, {}, ["collect"]),
]


def situation(changes: dict[str, Any], rows: dict[str, int]) -> TrainingSituation:
    """A situation that is ready for training but for some changes."""
    return TrainingSituation(**{**READY, **changes}, rows=rows)


@pytest.mark.parametrize(("changes", "rows", "names"), TABLE)
def test_the_tree(changes: dict[str, Any], rows: dict[str, int], names: list[str]) -> None:
    """Each situation leads to its steps, in the order in which they are taken."""
    assert names == [rule.name for rule in advice_steps(situation(changes, rows))]


def test_the_table_reaches_every_rule() -> None:
    assert {rule.name for rule in decision_tree()[1]} == {
        name for _, _, names in TABLE for name in names
    }


@pytest.mark.parametrize("rule", decision_tree()[1], ids=lambda rule: rule.name)
def test_every_rule_says_why_and_where_that_is_written(rule: advise.AdviceRule) -> None:
    known = {field.name for field in fields(TrainingSituation)} | set(advise.COUNTS)

    assert rule.advice
    assert rule.reason
    assert rule.sources
    assert all(source.startswith("https://") for source in rule.sources)
    assert set(rule.when) <= known


def test_questions_fill_the_situation() -> None:
    asked = {question.about for question in decision_tree()[0]}

    assert asked == set(READY) - {"base"}
    assert asked <= {name for rule in decision_tree()[1] for name in rule.when}


@pytest.mark.parametrize(
    ("verifier", "pairs", "asked"), [(False, 1, True), (True, 1, False), (False, 0, False)]
)
def test_a_reward_model_is_asked_about_where_there_are_pairs(
    verifier: bool, pairs: int, asked: bool
) -> None:
    question = next(q for q in decision_tree()[0] if q.about == "reward_model")

    assert asked is question.matters(
        TrainingSituation(verifier=verifier, rows={"preferences": pairs})
    )
    assert not question.matters(TrainingSituation(verifier=False, reward_model=True))


def test_what_is_missing_is_counted() -> None:
    found = missing_data(situation({}, {"completions": 49, "preferences": 120}))

    assert any(
        text.startswith("lora: 49 of 50 rows with `prompt` and `completion`, or `messages`")
        for text in found
    )
    assert "dpo: 120 of 500 rows with `prompt`, `chosen` and `rejected`" in found
    assert not [text for text in found if text.startswith(("qlora", "grpo", "rloo", "vendor"))]


def test_nothing_is_missing_where_training_is_not_advised() -> None:
    assert missing_data(situation({"base": "passes"}, {})) == ()


@pytest.mark.parametrize(
    ("changes", "over"),
    [({"base": "passes"}, True), ({"prompted": False}, True), ({"lacks": "both"}, False)],
)
def test_it_is_known_when_no_answer_could_change_the_advice(
    changes: dict[str, Any], over: bool
) -> None:
    """Then nothing more is asked; what is not known yet holds for no rule."""
    assert over is is_decided(TrainingSituation(**changes))


def test_the_next_command_is_ready_to_be_run() -> None:
    files = {"completions": ("my rows.jsonl", "b.jsonl"), "preferences": ("pairs.jsonl",)}
    (rule,) = advice_steps(TrainingSituation(**READY, rows={"completions": 50}, files=files))

    found = list(
        step_commands(rule, TrainingSituation(files=files), base="/b", suite="s", reward="m")
    )

    train, gate = found
    assert train.startswith("tunegate train sft --model_name_or_path /b --train_files 'my rows")
    assert train.endswith("rows.jsonl' b.jsonl --use_peft --output_dir adapters/lora")
    assert "tunegate gate s --base /b --tuned adapters/lora" == gate


def test_a_vendor_is_told_its_own_name_of_the_model() -> None:
    """`litellm:` is ours; the result is a name and no folder, so no gate follows."""
    rule = next(rule for rule in decision_tree()[1] if rule.name == "vendor")

    found = list(
        step_commands(rule, TrainingSituation(), base="litellm:openai/m", suite="s", reward="m")
    )

    assert 1 == len(found)
    assert found[0].startswith("tunegate train vendor --model_name_or_path openai/m --train_files")


@pytest.mark.parametrize("prompted", ["", "--prompted=shots.jsonl"])
def test_a_fine_tune_is_compared_with_the_prompt_that_suffices(prompted: str) -> None:
    rule = next(rule for rule in decision_tree()[1] if rule.name == "use_prompt")
    names = {"base": "b", "suite": "s", "reward": "m", "prompted": prompted}

    (found,) = step_commands(rule, TrainingSituation(), **names)

    assert found == f"tunegate gate s --base b --tuned ADAPTER {prompted}".strip()


def test_a_method_that_is_not_installed_has_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = next(rule for rule in decision_tree()[1] if rule.name == "dpo")
    monkeypatch.setattr(advise, "TRAINERS", "tunegate.trainers.artifacts")

    assert list(step_commands(rule, TrainingSituation(), base="b", suite="s", reward="m")) == []
