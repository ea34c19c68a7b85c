"""Episodes as they are played: mistakes of the model, failures of the environment, resuming."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.played_suites import DESK, TOML, Policy, PolicyArm, call, solve, write_desk
from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.episodes.play import UNWRITTEN_S, EpisodePlayer, EpisodeTurnRequest, MoreTurns
from tunegate.harness.episodes.transcript import opening_case
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeEnd, EpisodeRecord, EpisodeSettings
from tunegate.harness.records.errors import BackendError
from tunegate.harness.run.prepare import prepare
from tunegate.harness.suite import load_suite


def played(
    folder: Path, policy: Policy = solve, *, store: Path | None = None
) -> tuple[list[StoredAnswer], PolicyArm]:
    """Play a suite with one policy for both arms; return tuned's cells and the arm."""
    arms = {"base": PolicyArm("base", policy), "tuned": PolicyArm("tuned", policy)}
    with prepare([load_suite(folder)], arms, store) as run:
        run.answer(io.StringIO())
        cells = [cell for cell in run.answers() if cell.cell.arm == "tuned"]
    return cells, arms["tuned"]


def record(folder: Path, policy: Policy = solve) -> EpisodeRecord:
    cells, _ = played(folder, policy)
    done = cells[0].completion
    assert done is not None, cells[0].error
    assert done.episode is not None
    return done.episode


def noted(file: Path) -> str:
    return f'        with open({str(file)!r}, "a") as file:\n            file.write("x")\n'


def test_a_task_is_solved_in_turns(tmp_path: Path) -> None:
    cells, arm = played(write_desk(tmp_path))
    done = cells[0].completion
    assert done is not None
    episode = done.episode
    assert episode is not None

    assert episode.reward == 1.0
    assert episode.end is EpisodeEnd.ANSWERED
    assert [one.result for one in episode.calls] == ["A1 is lost", "paid"]
    assert done.text == "It is paid back."
    assert done.output_tokens == sum(len(solve(request).split()) for request in arm.asked)
    assert done.latency_s is not None
    assert done.latency_s >= 1.5  # three turns of half a second
    roles = [message["role"] for message in arm.asked[-1].case.input_messages()]
    assert roles == ["user", "assistant", "tool", "assistant", "tool"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (call("pay", order="A1"), "{'error': 'Tool pay not found.'}"),
        (call("find"), "{'error': \"missing a required argument: 'order'\"}"),
        (call("find", order="A1", fast=True), "{'error': \"got an unexpected keyword argument"),
        (call("refund", order="A1"), "{'error': 'find it first'}"),
        (call("find", order="Z9"), "{'error': \"'Z9'\"}"),
        (call("find", order=["A1"]), "{'error': "),  # unhashable: the argument is not a text
        (call("reset", order="A1"), "{'error': 'Tool reset not found.'}"),
    ],
)
def test_mistakes_of_the_model_are_shown_to_it(tmp_path: Path, text: str, shown: str) -> None:
    found = record(write_desk(tmp_path), lambda r: [text, "sorry"][r.turn or 0])

    assert found.calls[0].error
    assert found.calls[0].result.startswith(shown)
    assert (found.end, found.reward) == (EpisodeEnd.ANSWERED, 0.0)


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "find", "arguments": {"order": </tool_call>',
        f"```\n{solve.__name__}\n```",
    ],
)
def test_a_call_that_no_program_reads_ends_the_episode(tmp_path: Path, text: str) -> None:
    """Broken JSON and a call in a code fence end it; the reward is that of the state."""
    if text.startswith("```"):
        text = '```json\n{"name": "find", "arguments": {"order": "A1"}}\n```'
    found = record(write_desk(tmp_path), lambda r: text)

    assert found.end is EpisodeEnd.UNREADABLE
    assert found.turns[0].problem
    assert found.reward == 0.0


def test_the_calls_of_the_last_turn_are_not_run(tmp_path: Path) -> None:
    """As in TRL, where max_tool_calling_iterations = max_turns - 1 does the same."""
    toml = TOML.replace(
        'episode = "desk.py:Desk"', 'episode = {environment = "desk.py:Desk", max_turns = 2}'
    )
    found = record(write_desk(tmp_path, toml=toml))

    assert found.end is EpisodeEnd.LIMIT
    assert (len(found.turns), len(found.calls), found.reward) == (2, 1, 0.0)


def test_the_tokens_of_all_turns_are_limited(tmp_path: Path) -> None:
    toml = TOML.replace(
        'episode = "desk.py:Desk"', 'episode = {environment = "desk.py:Desk", max_tokens = 8}'
    )
    cells, arm = played(write_desk(tmp_path, toml=toml))
    first = len(solve(arm.asked[0]).split())

    assert [request.generation.max_new_tokens for request in arm.asked] == [8, 8 - first]
    assert cells[0].completion is not None
    assert cells[0].completion.finish_reason == "length"


FAILURES = {
    "OSError: disk": 'raise OSError("disk")',
    "MemoryError": "raise MemoryError",
    "EnvironmentFailed: no sandbox": (
        "import tunegate.harness.contracts.episode_environment as own; "
        'raise own.EnvironmentFailed("no sandbox")'
    ),
    "AttributeError": "return self.absent",
    "SystemExit": "raise SystemExit(0)",
    "which is closed to environments": "return input()",
}


@pytest.mark.parametrize(("reason", "line"), FAILURES.items())
def test_failures_of_the_environment_are_unscored(tmp_path: Path, reason: str, line: str) -> None:
    """They say nothing about the model: no zero, and the reason is kept; tried three times."""
    code = DESK.replace("        self.seen.add(order)", f"        {line}")
    tried = tmp_path / "tried"
    code = code.replace("        self.order, self", f"{noted(tried)}        self.order, self")
    cells, arm = played(write_desk(tmp_path / "s", code=code))

    assert cells[0].completion is None
    assert reason in (cells[0].error or "")
    assert len(tried.read_text()) == 2 * 3  # two arms
    assert len(arm.asked) == 1  # the stored turn is not asked again


@pytest.mark.parametrize(
    "reward", ["float('nan')", "float('inf')", "None", "'high'", "1 / 0", "10**400"]
)
def test_a_reward_that_is_no_number_is_unscored(tmp_path: Path, reward: str) -> None:
    code = DESK.replace("return float(self.paid == self.order)", f"return {reward}")
    cells, _ = played(write_desk(tmp_path, code=code))

    assert cells[0].completion is None
    assert "get_reward" in (cells[0].error or "")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("return 10**5000", "what the tool find returned cannot be written as text"),
        ("raise NoText", "the error of the tool find cannot be written as text"),
    ],
)
def test_a_result_or_error_that_has_no_text_is_unscored(
    tmp_path: Path, line: str, reason: str
) -> None:
    """Python writes no integer of more than 4,300 digits."""
    no_text = "class NoText(ValueError):\n    def __str__(self):\n        return self.absent\n"
    code = no_text + DESK.replace(
        "        self.seen.add(order)", f"        {line}\n        self.seen = {{order}}"
    )
    cells, _ = played(write_desk(tmp_path, code=code))

    assert cells[0].completion is None
    assert reason in (cells[0].error or "")


@pytest.mark.parametrize("stats", ["{'a': {(1, 2): 3}}", "{'a': self.ring}"])
def test_stats_that_json_cannot_hold_are_unscored(tmp_path: Path, stats: str) -> None:
    code = DESK.replace(
        "        return None\n",
        f"        self.ring = []; self.ring.append(self.ring); self._stats = lambda: {stats}\n",
    )
    cells, _ = played(write_desk(tmp_path, code=code))

    assert cells[0].completion is None
    assert "_stats returned no dictionary of plain" in (cells[0].error or "")


@pytest.mark.parametrize("line", ["return 'x' * 10_000_009", "raise KeyError('x' * 10_000_009)"])
def test_a_result_beyond_every_context_is_cut(tmp_path: Path, line: str) -> None:
    """The model may have asked for it, so that the episode counts; the text says that it is cut."""
    code = DESK.replace("        self.seen.add(order)", f"        {line}")
    cells, _ = played(write_desk(tmp_path, code=code))

    done = cells[0].completion
    assert done is not None, cells[0].error
    assert done.episode is not None
    (call,) = done.episode.turns[0].calls
    assert 10_000_000 < len(call.result) < 10_000_100
    assert call.result.endswith(" characters more")


def test_numbers_that_json_lacks_are_kept_in_stats(tmp_path: Path) -> None:
    """NaN and infinity of `_stats` do not end the run."""
    code = DESK + "\n    def _stats(self):\n        return {'a': float('nan'), 'b': 1.5}\n"
    cells, _ = played(write_desk(tmp_path, code=code))

    done = cells[0].completion
    assert done is not None, cells[0].error
    assert done.episode is not None
    assert done.episode.stats["b"] == 1.5


def test_a_slow_tool_ends_in_time_and_the_others_go_on(tmp_path: Path) -> None:
    """One of 20 tasks has a tool that never returns; the other 19 are played meanwhile."""
    code = DESK.replace(
        "        self.seen.add(order)",
        '        if self.wants == "hang":\n            while True:\n                pass\n'
        "        self.seen.add(order)",
    )
    tasks = [
        {"id": f"t{n}", "prompt": f"Pay {n}.", "row": {"order": "A1", "wants": "hang" * (n == 7)}}
        for n in range(20)
    ]
    toml = TOML.replace(
        'episode = "desk.py:Desk"',
        'episode = {environment = "desk.py:Desk", tool_timeout_s = 0.3}',
    )
    before = time.monotonic()
    cells, _ = played(write_desk(tmp_path, toml=toml, code=code, tasks=tasks))

    assert [cell.cell.case for cell in cells if cell.completion is None] == ["t7"]
    assert "tool_timeout_s" in str([cell.error for cell in cells if cell.error])
    assert time.monotonic() - before < 10


def test_what_an_environment_prints_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output belongs to tunegate; a warning on stderr quotes the first line."""
    code = DESK.replace(
        "        self.seen.add(order)", '        print("hello"); self.seen.add(order)'
    )
    assert record(write_desk(tmp_path, code=code)).reward == 1.0

    shown = capsys.readouterr()
    assert "hello" not in shown.out
    assert "'hello'" in shown.err
    assert sys.stdin is not None


def test_the_hooks_play_a_user_keep_numbers_and_close(tmp_path: Path) -> None:
    """`_next` replies, `_stats` is recorded, `_close` is called; they are not tools."""
    closed = tmp_path / "closed"
    code = (
        DESK
        + f"""
    def _next(self, answer):
        return "And A2?" if answer == "one" else None

    def _stats(self):
        return {{"seen": len(self.seen)}}

    def _close(self):
{noted(closed)}"""
    )
    folder = write_desk(tmp_path / "s", code=code)
    found = record(folder, lambda r: ["one", call("find", order="A2"), "two"][r.turn or 0])

    assert [turn.message for turn in found.turns] == ["And A2?", None, None]
    assert found.stats == {"seen": 1}
    assert [tool["function"]["name"] for tool in load_suite(folder).cases[0].tools or ()] == [
        "find",
        "refund",
    ]
    for _ in range(100):
        if closed.exists() and len(closed.read_text()) == 2:
            break
        time.sleep(0.01)
    assert closed.read_text() == "xx"


def test_reset_extends_the_prompt_and_gets_the_seed(tmp_path: Path) -> None:
    """What it returns is put behind the task; both arms get the same seed, samples different."""
    code = DESK.replace('wants: str = "refund")', 'wants: str = "refund", seed: int = 0)').replace(
        "return None", 'return f" Seed {seed}."'
    )
    toml = TOML.replace(
        "[[metrics]]", "[generation]\ntemperature = 0.5\nsamples = 2\n[[metrics]]", 1
    )
    arms = {name: PolicyArm(name, solve) for name in ("base", "tuned")}
    with prepare([load_suite(write_desk(tmp_path, toml=toml, code=code))], arms, None) as run:
        run.answer(io.StringIO())
        openings = {
            (cell.cell.arm, cell.cell.sample): cell.completion.episode.opening
            for cell in run.answers()
            if cell.completion and cell.completion.episode
        }
    first = {request.sample: request for request in arms["tuned"].asked if request.turn == 0}

    assert openings["base", 0] == openings["tuned", 0] != openings["tuned", 1]
    for sample, request in first.items():
        spoken = request.case.input_messages()[-1]["content"]
        assert spoken == f"Pay A1 back.{openings['tuned', sample]}"


def test_resuming_asks_no_turn_twice(tmp_path: Path) -> None:
    folder, store = write_desk(tmp_path / "s"), tmp_path / "store.sqlite"

    def broken(request: Request) -> str:
        if request.turn == 2:
            raise BackendError("the power failed")
        return solve(request)

    with pytest.raises(BackendError, match="power"):
        played(folder, broken, store=store)
    again, arm = played(folder, store=store)
    whole, _ = played(folder, store=tmp_path / "other.sqlite")

    assert [request.turn for request in arm.asked] == [0, 1, 2]  # base broke off, not tuned
    assert again[0].completion is not None
    assert whole[0].completion is not None
    once_more, idle = played(folder, store=store)
    assert idle.asked == []
    assert once_more[0].completion == again[0].completion


def test_a_tool_that_answers_differently_is_asked_again(tmp_path: Path) -> None:
    folder, store = write_desk(tmp_path / "s"), tmp_path / "store.sqlite"
    played(folder, store=store)
    (folder / "notes.py").write_text("x = 1\n")  # a file that the environment does not use
    _, same = played(folder, store=store)
    (folder / "desk.py").write_text(DESK.replace("is {self", "was {self"))
    _, edited = played(folder, store=store)

    assert same.asked == []
    assert [request.turn for request in edited.asked] == [1, 2]


@dataclass
class ListStore:
    """Keeps turns in a list."""

    kept: list[str] = field(default_factory=list)

    def completions(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Know nothing."""
        return {}

    def put(self, answer: StoredAnswer, *, replace: bool = False) -> None:
        """Keep its text."""
        assert answer.completion is not None
        self.kept.append(answer.completion.text or "")

    def together(self) -> AbstractContextManager[None]:
        """Do nothing more."""
        return nullcontext()


def test_turns_are_kept_and_begun_while_another_is_written(tmp_path: Path) -> None:
    tasks = [{"id": f"t{n}", "prompt": f"{n}", "row": {"order": "A1"}} for n in range(3)]
    suite = load_suite(write_desk(tmp_path, tasks=tasks))
    plan, arm, store = suite.episode, PolicyArm("a", solve), ListStore()
    assert plan is not None
    requests = []
    for case in suite.cases:
        cell = Cell(suite="desk", case=case.id, arm="a", kind=CellKind.GENERATE, key=case.id)
        own = dataclasses.replace(plan, root=case.id)
        requests.append(Request(cell, case, Prompt(""), suite.generation, 0, episode=own))
    seen: list[tuple[list[int | None], list[str]]] = []

    def ask(
        turns: Sequence[EpisodeTurnRequest], later: MoreTurns
    ) -> Generator[StoredAnswer, None, None]:
        (slow, _), *others = turns
        while others:
            yield from arm.complete([turn for turn, _ in others])
            time.sleep(UNWRITTEN_S)
            told = others[0][0].turn == 2
            others = list(later())
            while not told and len(others) < 2:  # the calls come back on threads
                others += later()
            seen.append(([turn.turn for turn, _ in others], list(store.kept)))
        yield from arm.complete([slow])

    answers = list(EpisodePlayer(arm, store, plan).play(requests, ask))

    find, refund, paid = (call("find", order="A1"), call("refund", order="A1"), "It is paid back.")
    assert seen == [
        ([1, 1], [find] * 2),
        ([2, 2], [find, find, refund, refund]),
        ([], [find, find, refund, refund, paid, paid]),
    ]
    assert {answer.key for answer in answers} == {"t0", "t1", "t2"}
    assert all(answer.completion for answer in answers)


def test_an_environment_that_never_works_is_given_up(tmp_path: Path) -> None:
    code = DESK.replace("self.order, self", 'raise OSError("no docker"); self.order, self')
    tasks = [{"id": f"t{n}", "prompt": "?", "row": {"order": "A1"}} for n in range(30)]

    with pytest.raises(BackendError, match=r"no docker.*resume"):
        played(write_desk(tmp_path, code=code, tasks=tasks))


def test_tools_are_text_for_templates_that_know_none(tmp_path: Path) -> None:
    """With `tools = "system"` the system prompt describes them, and results are the user's."""
    toml = TOML.replace(
        'episode = "desk.py:Desk"', 'episode = {environment = "desk.py:Desk", tools = "system"}'
    )
    cells, arm = played(write_desk(tmp_path, toml=toml))
    messages = arm.asked[-1].case.input_messages()

    assert cells[0].completion is not None
    assert arm.asked[0].case.tools is None
    assert [message["role"] for message in messages] == [
        "system", "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip
    assert messages[0]["content"].endswith(
        "\nrefund(order: string): Pay an order back.\n  order: Number of the order."
    )
    assert messages[3]["content"] == "<tool_response>A1 is lost</tool_response>"


def test_a_tool_that_a_line_cannot_say_is_json() -> None:
    """Plain arguments are a line, optional ones with `?`; an enum keeps its schema."""
    text = {"type": "string", "description": "Name."}
    plain = {
        "type": "object",
        "properties": {"a": text, "b": {"type": "integer"}},
        "required": ["a"],
    }
    rich = {"type": "object", "properties": {"c": {"type": "string", "enum": ["x", "y"]}}}
    tools = [
        {"type": "function", "function": {"name": "one", "description": "D.", "parameters": plain}},
        {"type": "function", "function": {"name": "two", "parameters": rich}},
        {"type": "function", "function": {"name": "three"}},
    ]
    settings = EpisodeSettings(environment="", tools="system")
    shown = opening_case(Case(id="c", prompt="?"), settings, tools, None).input_messages()[0]

    assert shown["content"].splitlines()[-4:] == [
        "one(a: string, b?: integer): D.",
        "  a: Name.",
        json.dumps({"name": "two", "parameters": rich}),
        "three()",
    ]


@pytest.mark.parametrize(
    ("reward", "lines", "said"),
    [
        ("float(Desk.count % 2)", "", "paid [01] and then [01] for"),
        ("float(Desk.count % 4 < 2)", "", "paid [01] and then [01] for"),  # 1 0 | 0 1 | 1, 0
        ("Desk.count / 100", "", "for the same calls of"),
        ("float(self.paid == self.order)", "", None),
        ("float(Desk.count % 2)", "deterministic = false\n", None),
    ],
)
def test_an_environment_with_memory_is_an_error(
    tmp_path: Path, reward: str, lines: str, said: str | None
) -> None:
    """Episodes are repeated in reverse order and must be paid the same, unless chance decides.

    Played at once, two episodes end in any order; one of them is repeated by itself for that.
    """
    counted = DESK.replace('    orders = {"A1"', '    count = 0\n    orders = {"A1"')
    code = counted.replace(
        "        return float(self.paid == self.order)",
        f"        Desk.count += 1\n        return {reward}",
    )
    table = f'[episode]\nenvironment = "desk.py:Desk"\n{lines}[[metrics]]'
    toml = TOML.replace('episode = "desk.py:Desk"\n[[metrics]]', table)
    arms = {name: PolicyArm(name, solve) for name in ("base", "tuned")}

    with prepare([load_suite(write_desk(tmp_path, toml=toml, code=code))], arms, None) as run:
        run.answer(io.StringIO())
        if said is None:
            assert len(list(run.score(run.answers()))) == 2
        else:
            with pytest.raises(BackendError, match=said):
                list(run.score(run.answers()))
