"""Suites of episodes: what is refused when they are loaded, each in one line with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.played_suites import DESK, TOML, write_desk
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.suite import load_suite


def problems(folder: Path) -> str:
    with pytest.raises(SuiteError) as caught:
        load_suite(folder)
    return "\n".join(caught.value.problems).replace(f"{folder}/", "")


def test_the_short_form_has_the_defaults(tmp_path: Path) -> None:
    """`episode = "desk.py:Desk"` is eight turns, and its tools are the cases' tools."""
    suite = load_suite(write_desk(tmp_path))
    assert suite.episode is not None

    assert suite.episode.settings.max_turns == 8
    assert [tool["function"]["name"] for tool in suite.cases[0].tools or ()] == ["find", "refund"]
    assert {used.needs for used in suite.metrics} == {CellKind.GENERATE}
    assert suite.record().episode == suite.episode.settings


FIND = DESK[DESK.index('        """Look an order up.') : DESK.index("        self.seen.add(order)")]
"""The docstring of a tool."""
CODE = {
    "it has no method 'reset'": DESK.replace("def reset", "def _begin"),
    "it has no method 'get_reward'": DESK.replace("def get_reward", "def _reward"),
    "find has no docstring": DESK.replace(FIND, ""),
    "does not describe 'order'": DESK.replace(FIND, FIND.replace("order:", "number:")),
    "order has no annotation": DESK.replace("def find(self, order: str)", "def find(self, order)"),
    "has no JSON form": DESK.replace("def find(self, order: str)", "def find(self, order: bytes)"),
    "it has no tools": DESK.replace("def find", "def _find").replace("def refund", "def _refund"),
    "defines no 'Desk'": DESK.replace("class Desk", "class Other"),
    "is not a class": "Desk = 1\n",
    "fails when imported (ZeroDivisionError": "1 / 0\n",
    "fails when imported (SyntaxError": "class Desk(\n",
    "fails when imported (SystemExit": "raise SystemExit(0)\n",
    "fails when imported (EOFError": f"name = input('name? ')\n{DESK}",
    "row: reset does not take 'wants'": DESK.replace(', wants: str = "refund"', "").replace(
        "self.order, self.wants, self.seen, self.paid = order, wants,",
        "self.order, self.seen, self.paid = order,",
    ),
    "row: reset needs 'day'": DESK.replace("order: str, wants", "order: str, day: str, wants"),
}


@pytest.mark.parametrize(("problem", "code"), CODE.items())
def test_classes_that_are_no_environment(tmp_path: Path, problem: str, code: str) -> None:
    tasks = [{"id": "t", "prompt": "?", "row": {"order": "A1", "wants": "refund"}}]
    found = problems(write_desk(tmp_path, code=code, tasks=tasks))

    assert problem in found
    assert "Traceback" not in found
    assert found.startswith(("suite.toml:3: ", "tasks.jsonl:1: "))


def test_what_a_file_prints_when_imported_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_suite(write_desk(tmp_path, code=f"print('hello')\n{DESK}"))

    assert "hello" not in capsys.readouterr().out


EPISODE = 'episode = "desk.py:Desk"'
TABLES = {
    "no such file": TOML.replace("desk.py:Desk", "desc.py:Desk"),
    "write it as 'file.py:Class'": TOML.replace("desk.py:Desk", "desk.py"),
    "cannot import 'desk_of_nobody'": TOML.replace("desk.py:Desk", "desk_of_nobody:Desk"),
    "is outside the suite's folder": TOML.replace("desk.py:Desk", "../../../etc/hosts.py:Desk"),
    "must be at least 1": TOML.replace(
        EPISODE, 'episode = {environment = "desk.py:Desk", max_turns = 0}'
    ),
    "did you mean 'max_turns'": TOML.replace(
        EPISODE, 'episode = {environment = "desk.py:Desk", max_turn = 3}'
    ),
    "must be above 0": TOML.replace(
        EPISODE, 'episode = {environment = "desk.py:Desk", tool_timeout_s = 0}'
    ),
    "unknown option 'colour'": TOML.replace(
        EPISODE, 'episode = {environment = "desk.py:Desk", options = {colour = 1}}'
    ),
    "template='none'": TOML.replace(
        "[[metrics]]", '[generation]\ntemplate = "none"\n[[metrics]]', 1
    ),
    "needs 4 samples of each case, not 1": TOML.replace(
        'use = "episode_pass"', 'use = "episode_pass"\nk = 4', 1
    ),
    "k=0 must be 1 or more": TOML.replace('use = "episode_pass"', 'use = "episode_pass"\nk = 0', 1),
    "needs latency": TOML + '[[metrics]]\nuse = "latency"\n',
    "scores episodes; add `episode": TOML.replace(EPISODE, ""),
}


@pytest.mark.parametrize(("problem", "toml"), TABLES.items())
def test_tables_that_contradict_the_suite(tmp_path: Path, problem: str, toml: str) -> None:
    folder = write_desk(tmp_path / "a" / "b", toml=toml)
    if "hosts.py" in toml:
        outside = (folder / "../../../etc/hosts.py").resolve()
        outside.parent.mkdir(exist_ok=True)
        outside.write_text(DESK)
    found = problems(folder)

    assert problem in found
    assert "suite.toml:" in found


def test_tools_of_a_task_are_refused(tmp_path: Path) -> None:
    task = {"id": "t", "prompt": "?", "tools": [{"name": "x"}], "row": {"order": "A1"}}

    assert "tasks.jsonl:1: tools: " in problems(write_desk(tmp_path, tasks=[task]))


def test_another_environment_is_another_suite(tmp_path: Path) -> None:
    helper = "ORDERS = {'A1': 'lost'}\n"
    code = f"from orders_of_test import ORDERS\n{DESK}"
    folder = write_desk(tmp_path, code=code)
    (folder / "orders_of_test.py").write_text(helper)
    first = load_suite(folder).hash
    (folder / "unused.py").write_text("x = 1")
    assert load_suite(folder).hash == first
    (folder / "orders_of_test.py").write_text(helper + "MORE = 1\n")
    second = load_suite(folder).hash
    (folder / "desk.py").write_text(code + "# a comment\n")

    assert len({first, second, load_suite(folder).hash}) == 3
