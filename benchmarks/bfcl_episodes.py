"""The Berkeley leaderboard's multi-turn tasks as episodes: `python -m benchmarks.bfcl_episodes
PYTHON`.

PYTHON is that of an environment with the leaderboard's package (`benchmarks.bfcl_agreement` says
how it is made). 20 of its 200 tasks are played by policies that were made from the right calls, all
of them at once; the environment's reward is compared with that of the leaderboard's checker on
the same calls, which that package computes in its own process.
"""

from __future__ import annotations

import ast
import io
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.models.scripted import scripted
from tunegate.harness.pipeline.steps import prepare
from tunegate.harness.records.cases import Completion
from tunegate.harness.suite import load_suite

TASKS = 20
SUITE = """
name = "bfcl"
cases = "tasks.jsonl"
[episode]
environment = "benchmarks._bfcl_environment:ApiTasks"
max_turns = 60
max_tokens = 100000
[[metrics]]
use = "episode_pass"
"""
Step = list[dict[str, Any]]
"""Calls that are written together, each with its name and arguments."""
Plan = list[list[Step]]
"""For each message of the user, the model's steps."""


def right_plan(answer: Sequence[Sequence[str]], environment: type) -> Plan:
    """Return the right calls, one for each step, with every argument by its name."""
    return [[[read_call(call, environment)] for call in turn] for turn in answer]


def read_call(text: str, environment: type) -> dict[str, Any]:
    """Return name and arguments of a call in Python."""
    import inspect

    node = ast.parse(text, mode="eval").body
    assert isinstance(node, ast.Call), text
    assert isinstance(node.func, ast.Name), text
    method = getattr(environment, node.func.id)
    names = [name for name in inspect.signature(method).parameters if name != "self"]
    given = dict(zip(names, map(ast.literal_eval, node.args), strict=False))
    given |= {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
    return {"name": node.func.id, "arguments": given}


def together(plan: Plan, rng: random.Random) -> Plan:
    """Write all calls of a turn in one step."""
    return [[[call for step in turn for call in step]] if turn else [] for turn in plan]


def without_one(plan: Plan, rng: random.Random) -> Plan:
    """Leave one call out."""
    turn, step = rng.choice([(t, s) for t, steps in enumerate(plan) for s in range(len(steps))])
    return [
        [one for s, one in enumerate(steps) if (t, s) != (turn, step)]
        for t, steps in enumerate(plan)
    ]


def wrong_argument(plan: Plan, rng: random.Random) -> Plan:
    """Change the first argument of one call."""
    changed: Plan = json.loads(json.dumps(plan))
    calls = [call for turn in changed for step in turn for call in step if call["arguments"]]
    if calls:
        call = rng.choice(calls)
        name = next(iter(call["arguments"]))
        value = call["arguments"][name]
        call["arguments"][name] = f"{value}x" if isinstance(value, str) else 41
    return changed


def one_twice(plan: Plan, rng: random.Random) -> Plan:
    """Make one call a second time at once."""
    turn, step = rng.choice([(t, s) for t, steps in enumerate(plan) for s in range(len(steps))])
    return [
        [again for s, one in enumerate(steps) for again in [one] * (1 + ((t, s) == (turn, step)))]
        for t, steps in enumerate(plan)
    ]


POLICIES: Mapping[str, Callable[[Plan, random.Random], Plan]] = {
    "right, a call a step": lambda plan, rng: plan,
    "right, a turn a step": together,
    "one call left out": without_one,
    "one argument wrong": wrong_argument,
    "one call made twice": one_twice,
    "silent": lambda plan, rng: [[] for _ in plan],
    "last message not answered": lambda plan, rng: [*plan[:-1], []],
}


def written_turns(plan: Plan) -> list[str]:
    """Return what a policy writes, turn by turn."""
    said = []
    for steps in plan:
        for step in steps:
            lines = [f"<tool_call>{json.dumps(call)}</tool_call>" for call in step]
            said.append("\n".join(lines))
        said.append("Done.")
    return said


def made_calls(done: Completion) -> list[list[list[str]]]:
    """Return an episode's calls as the leaderboard writes them."""
    assert done.episode is not None
    turns: list[list[list[str]]] = [[]]
    for turn in done.episode.turns:
        if not turn.calls:
            turns.append([])
            continue
        step = []
        for call in turn.calls:
            shown = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
            step.append(f"{call.name}({shown})")
        turns[-1].append(step)
    return turns[:-1]


def read_tasks(data: Path) -> list[tuple[dict[str, Any], list[list[str]]]]:
    """Return every tenth task with its right calls."""
    (file,) = data.glob("BFCL_v*_multi_turn_base.json")
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    answers = (data / "possible_answer" / file.name).read_text().splitlines()
    right = {row["id"]: row["ground_truth"] for row in map(json.loads, answers)}
    chosen = entries[:: len(entries) // TASKS][:TASKS]
    return [(entry, right[entry["id"]]) for entry in chosen]


def play_policies(
    folder: Path, tasks: Sequence[tuple[dict[str, Any], list[list[str]]]]
) -> dict[str, Completion]:
    """Play every policy on every task; return case id → its episode."""
    from benchmarks._bfcl_environment import ApiTasks

    rows, turns = [], {}
    for entry, answer in tasks:
        for policy, change in POLICIES.items():
            name = f"{entry['id']}/{policy}"
            plan = change(right_plan(answer, ApiTasks), random.Random(name))
            turns[name] = written_turns(plan)
            row = {"entry": json.dumps(entry), "answer": json.dumps(answer)}
            asked = entry["question"][0][0]["content"]
            rows.append({"id": name, "prompt": asked, "row": row})
    (folder / "suite.toml").write_text(SUITE)
    (folder / "tasks.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "policies.json").write_text(json.dumps({"turns": turns}))
    arm = scripted(str(folder / "policies.json"))
    with prepare([load_suite(folder)], {"base": arm, "tuned": arm}, None) as run:
        run.answer(io.StringIO(), arms={"tuned": arm})
        cells = [cell for cell in run.cells() if cell.cell.arm == "tuned"]
    lost = [f"{cell.cell.case}: {cell.error}" for cell in cells if cell.completion is None]
    assert not lost, lost[:3]
    return {cell.cell.case: cell.completion for cell in cells if cell.completion}


def main(arguments: Sequence[str]) -> None:
    """Print how often reward and verdict agree, by policy, and each disagreement."""
    (python,) = arguments
    found = subprocess.run(
        [python, "-c", "import bfcl_eval; print(bfcl_eval.__path__[0])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    package = Path(found.stdout.strip())
    sys.path.append(str(package.parent))
    tasks = read_tasks(package / "data")
    with tempfile.TemporaryDirectory() as folder:
        played = play_policies(Path(folder), tasks)
    asked = []
    for entry, answer in tasks:
        for number, policy in enumerate(POLICIES):
            turns = made_calls(played[f"{entry['id']}/{policy}"])
            asked.append({"name": f"p{number}", "entry": entry, "answer": answer, "turns": turns})
    peer = Path(__file__).with_name("_bfcl_episode_peer.py")
    lines = "".join(f"{json.dumps(one)}\n" for one in asked)
    said = subprocess.run([python, peer], input=lines, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    verdicts = map(json.loads, said.stdout.splitlines())
    counts: Counter[tuple[str, bool, bool]] = Counter()
    places = [(entry["id"], policy) for entry, _ in tasks for policy in POLICIES]
    for (task, policy), verdict in zip(places, verdicts, strict=True):
        record = played[f"{task}/{policy}"].episode
        assert record is not None
        ours, theirs = record.reward == 1.0, bool(verdict["valid"])
        counts[policy, ours, theirs] += 1
        if ours != theirs:
            print(f"{task}, {policy}: reward {record.reward:g}, theirs {verdict}")
    for policy in POLICIES:
        both, neither = counts[policy, True, True], counts[policy, False, False]
        rest = len(tasks) - both - neither
        print(f"{policy:28} both valid {both:2}, both not {neither:2}, different {rest}")


if __name__ == "__main__":
    main(sys.argv[1:])
