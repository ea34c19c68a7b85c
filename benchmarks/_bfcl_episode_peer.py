"""The Berkeley leaderboard's own verdict on calls of several turns, asked line by line.

`benchmarks.bfcl_episodes` runs this file with the Python of an environment that has `bfcl-eval`; it
imports nothing of tunegate. Each line of the input is {"name": …, "entry": …, "answer": …, "turns":
[[[call, …], …], …]}: for each message of the user the model's steps, each with its calls. Each is
answered with one line.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

ROOM = "bfcl_eval.eval_checker.multi_turn_eval"


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        print(json.dumps(_verdict(json.loads(line))), flush=True)


def _verdict(asked: dict[str, Any]) -> dict[str, Any]:
    checker = importlib.import_module(f"{ROOM}.multi_turn_checker")
    turns, answer, entry = asked["turns"], asked["answer"], asked["entry"]
    if len(turns) != len(answer):  # as eval_runner.py: the model was stopped before the end
        return {"valid": False, "error": "force_terminated"}
    # Instances are module globals by model and task: a name for each policy keeps them apart.
    found = checker.multi_turn_checker(turns, answer, entry, "multi_turn_base", asked["name"])
    return {"valid": found["valid"], "error": found.get("error_type", "")}


if __name__ == "__main__":
    main()
