"""The Berkeley leaderboard's eight multi-turn APIs as one environment.

Its classes are used as they are, and need `bfcl_eval` itself and mpmath. The rules of a
task's verdict are the leaderboard's: after each message of the user, the state of every API and the
results so far are compared with those of the right calls (`multi_turn_checker`).
"""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

ROOM = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code"
APIS = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}


def api_class(name: str) -> type:
    """Return one of the leaderboard's classes."""
    found: type = getattr(importlib.import_module(f"{ROOM}.{APIS[name]}"), name)
    return found


def open_apis(involved: Sequence[str], config: dict[str, Any]) -> dict[str, Any]:
    """Return an instance of each API of a task, in its initial state."""
    opened = {name: api_class(name)() for name in involved}
    for name, instance in opened.items():
        if name != "MathAPI":
            instance._load_scenario(copy.deepcopy(config.get(name, {})), long_context=False)
    return opened


def call_result(function: Callable[[], Any]) -> str:
    """Return what a call gives as text, an error included."""
    try:
        value = function()
    except Exception as error:  # whatever an API raises is what the model is shown
        return f"Error during execution: {error}"
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        try:
            return json.dumps(value)
        except TypeError:
            return str(value)
    return str(value)


class _TaskState:
    """A task in progress: the model's APIs, those of the right calls, and the verdict so far."""

    def reset(self, entry: str, answer: str) -> None:
        """Begin a task; both are JSON."""
        task = json.loads(entry)
        self._entry, self._answer = task, json.loads(answer)
        self._mine, self._right = (
            open_apis(task["involved_classes"], task["initial_config"]) for _ in range(2)
        )
        self._results: list[str] = []
        self._calls = self._turn = 0
        self._valid = True

    def _run(self, api: str, tool: str, args: Any, kwargs: Any) -> str:
        if api not in self._mine:
            raise ValueError(f"{tool} is not offered in this task")
        self._calls += 1
        self._results.append(call_result(lambda: getattr(self._mine[api], tool)(*args, **kwargs)))
        return self._results[-1]

    def _check_turn(self) -> None:
        """Judge what was done since the last message of the user."""
        due = self._answer[self._turn]
        scope = {
            name: getattr(instance, name)
            for instance in self._right.values()
            for name, _ in inspect.getmembers(instance, inspect.ismethod)
            if not name.startswith("_")
        }
        right = [call_result(partial(eval, call, {}, scope)) for call in due]
        same = all(
            vars(self._mine[name])[key] == value
            for name, instance in self._right.items()
            for key, value in vars(instance).items()
            if not key.startswith("_")
        )
        rest = list(self._results)
        there = all(result in rest and not rest.remove(result) for result in right)  # type: ignore[func-returns-value]
        if due and not (self._calls and same and there):
            self._valid = False
        self._calls, self._turn = 0, self._turn + 1

    def _next(self, answer: str) -> str | None:
        self._check_turn()
        if self._turn == len(self._answer):
            return None
        return str(self._entry["question"][self._turn][0]["content"])

    def get_reward(self) -> float:
        """Return 1 if every turn was right."""
        return float(self._valid and self._turn == len(self._answer))


def _tool(api: str, name: str, function: Any) -> Any:
    @functools.wraps(function)
    def call(self: _TaskState, *args: Any, **kwargs: Any) -> str:
        return self._run(api, name, args, kwargs)

    return call


ApiTasks = type(
    "ApiTasks",
    (_TaskState,),
    {
        "__module__": __name__,
        **{
            name: _tool(api, name, function)
            for api in APIS
            for name, function in inspect.getmembers(api_class(api), inspect.isfunction)
            if not name.startswith("_")
        },
    },
)
"""The environment: every public method of the eight classes is a tool."""
