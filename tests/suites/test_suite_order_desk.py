"""The bundled suite `order_desk`: the oracle passes, and no policy that looks at less does."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.played_suites import Policy, PolicyArm, call
from tunegate.harness.cli.suite import copy_suite
from tunegate.harness.contracts.model import Request
from tunegate.harness.episodes.null_policy import play_null_policy
from tunegate.harness.run.prepare import prepare
from tunegate.harness.suite import Suite, load_suite
from tunegate.suites.order_desk import make
from tunegate.suites.order_desk.desk import STATES, OrderDesk
from tunegate.trainers.datasets import COMPLETIONS, PROMPTS, load_rows

FOLDER = Path(__file__).parents[2] / "suites/order_desk"
ACTIONS = {"money": "refund", "goods": "resend"}


def row(request: Request) -> dict[str, str]:
    """Return the row of a task."""
    return dict(request.case.row or {})


def oracle(request: Request) -> str:
    """Look the order up, and do what is due."""
    desk = OrderDesk()
    desk.reset(**row(request))
    acts = [call(name, order=order) for name, order in desk._due]
    return [call("find", order=row(request)["order"]), *acts, "Done."][request.turn or 0]


def look_only(request: Request) -> str:
    """Look the order up and never act."""
    return [call("find", order=row(request)["order"]), "I see."][request.turn or 0]


def oblige(request: Request) -> str:
    """Look it up, and do whatever the customer wishes."""
    action = ACTIONS.get(row(request)["wish"])
    acts = [call(action, order=row(request)["order"])] if action else []
    return [call("find", order=row(request)["order"]), *acts, "Done."][request.turn or 0]


def act_blindly(request: Request) -> str:
    """Do what is due without looking."""
    desk = OrderDesk()
    desk.reset(**row(request))
    return [*(call(name, order=order) for name, order in desk._due), "Done."][request.turn or 0]


@pytest.mark.parametrize(
    ("policy", "passed", "harmed"),
    [(oracle, 96, 0), (look_only, 64, 0), (oblige, 64, 32), (act_blindly, 0, 0)],
)
def test_what_policies_earn(suite: Suite, policy: Policy, passed: int, harmed: int) -> None:
    """Money and goods are due in half of 64 tasks; to pay or send what is not due costs -1."""
    arms = {"base": PolicyArm("b", policy), "tuned": PolicyArm("t", policy)}
    with prepare([suite], arms, None) as run:
        run.answer(io.StringIO(), arms={"tuned": arms["tuned"]})
        cells = [cell for cell in run.answers() if cell.cell.arm == "tuned"]
        done = [cell.completion.episode for cell in cells if cell.completion]
    rewards = [episode.reward for episode in done if episode]

    assert len(rewards) == 96
    assert sum(reward == 1.0 for reward in rewards) == passed
    assert rewards.count(-1.0) == harmed


def test_a_model_that_says_nothing_earns_nothing(suite: Suite) -> None:
    assert suite.episode is not None
    played = play_null_policy(suite.name, suite.episode, suite.cases, suite.generation)

    assert played.failures == {}
    assert set(played.rewards.values()) == {0.0}
    assert len(played.rewards) == 96


def test_the_tasks_are_what_make_draws(suite: Suite) -> None:
    """The same seed gives the same lines, so that nobody edits one and forgets the other."""
    lines = [json.dumps(task, ensure_ascii=False) for task in make.draw_tasks()[0]]

    assert (FOLDER / "cases.jsonl").read_text().splitlines() == lines


def test_training_and_tasks_share_no_order_and_no_sentence(suite: Suite) -> None:
    orders = {task["row"]["order"] for task in make.draw_tasks()[1]}
    kinds = [(row["wish"], row["state"]) for case in suite.cases if (row := case.row)]

    assert not orders & {(case.row or {})["order"] for case in suite.cases}
    assert {text for texts in make.HELD_OUT.values() for text in texts}.isdisjoint(
        text for texts in make.TRAINING.values() for text in texts
    )
    assert {kinds.count(kind) for kind in kinds} == {8}
    assert len(set(kinds)) == 3 * len(STATES)


def test_paying_twice_is_not_due() -> None:
    desk = OrderDesk()
    desk.reset("K1", "lost", "money")
    desk.find("K1")
    assert desk.get_reward() == 0.2
    desk.refund("K1")
    assert desk.get_reward() == 1.0
    desk.refund("K1")
    assert desk.get_reward() == -1.0


def test_a_copy_has_its_environment(tmp_path: Path) -> None:
    """`suite new --like order_desk` copies the class with the tasks."""
    files = copy_suite("order_desk", tmp_path / "mine")

    assert "desk.py" in files
    assert "make.py" not in files
    assert load_suite(tmp_path / "mine").episode is not None


def test_the_examples_rows_are_what_the_suite_asks(suite: Suite) -> None:
    """Its rows can be trained on; each is a turn whose prompt begins as the suite's own do."""
    folder = FOLDER.parents[1] / "examples/order_desk"
    head = suite.cases[0].input_messages()[0]
    for name in ("train.jsonl", "obliging.jsonl"):
        rows = load_rows([str(folder / name)], COMPLETIONS, seed=0).rows
        assert all(row["prompt"][0] == head for row in rows)
        assert {turn["role"] for row in rows for turn in row["completion"]} == {"assistant"}
    tasks = load_rows([str(folder / "tasks.jsonl")], PROMPTS, seed=0).rows

    assert {row["row"]["order"] for row in tasks} == {
        task["row"]["order"] for task in make.draw_tasks()[1]
    }
