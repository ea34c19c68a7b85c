"""A task of Inspect in a suite: what its samples become, and what is not played twice."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.played_suites import PolicyArm, call, look_up
from tests.scripted_inspect import write_scripted_inspect
from tunegate.harness.contracts.model import Request
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.episodes import EpisodeEnd
from tunegate.harness.records.errors import BackendError, SuiteError
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.run.prepare import prepare
from tunegate.harness.suite import load_suite

TOML = """\
name = "desk"
cases = "cases.jsonl"
[episode]
inspect = "desk_task.py@desk"
python = "./python-with-inspect"
reward = "told"
[generation]
temperature = 0.7
samples = 2
[[metrics]]
use = "episode_pass"
[[metrics]]
use = "episode_turns"
[[metrics]]
use = "tool_errors"
[[metrics]]
use = "episode_reward"
name = "brevity"
stat = "brevity"
[[gates]]
metric = "episode_pass"
gain = 0.1
"""
ORDERS = ("A1", "B2", "X3")


def write_suite(folder: Path, *, toml: str = TOML, orders: Sequence[str] = ORDERS) -> Path:
    """Write a suite over the scripted task, and return its folder."""
    folder.mkdir(exist_ok=True)
    write_scripted_inspect(folder)
    (folder / "suite.toml").write_text(toml)
    (folder / "desk_task.py").write_text("task = 'desk'\n")
    rows = [
        {"id": f"desk/{name}", "prompt": f"Where is {name}?", "row": {"sample": name}}
        for name in orders
    ]
    (folder / "cases.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def stumble(request: Request) -> str:
    """Call without an order, and then as `look_up` does."""
    talk = request.case.input_messages()
    if len(talk) == 1:
        return call("find", day="1")
    return (
        call("find", order=str(talk[0]["content"])[-3:-1]) if len(talk) == 3 else look_up(request)
    )


def arms() -> dict[str, PolicyArm]:
    """Return one that looks orders up, and one that calls wrongly before."""
    return {"base": PolicyArm("base", look_up), "tuned": PolicyArm("tuned", stumble)}


def play(
    folder: Path, asked: dict[str, PolicyArm], store: Path | None = None, logs: Path | None = None
) -> tuple[dict[tuple[str, str, int], StoredAnswer], list[ScoreRow]]:
    """Play a suite; return its answers by case, arm and sample, and its scores."""
    with prepare([load_suite(folder)], asked, store) as run:  # type: ignore[arg-type]  # arms
        run.answer(io.StringIO(), logs=logs)
        cells = list(run.answers())
        scores = list(run.score(cells))
    return {(c.cell.case, c.cell.arm, c.cell.sample): c for c in cells}, scores


def test_samples_of_a_task_are_episodes(tmp_path: Path) -> None:
    """Turns, calls, their errors and the chosen score are the log's; a crash has no score."""
    cells, scores = play(write_suite(tmp_path / "desk"), arms())

    base, tuned = (cells["desk/A1", arm, 0].completion for arm in ("base", "tuned"))
    assert base is not None
    assert base.episode is not None
    assert tuned is not None
    assert tuned.episode is not None
    assert [turn.calls[0].result for turn in base.episode.turns[:-1]] == ["lost"]
    assert [(c.arguments, c.error) for c in tuned.episode.calls] == [
        ({"day": "1"}, True),
        ({"order": "A1"}, False),
    ]
    assert (base.episode.reward, base.episode.end) == (1.0, EpisodeEnd.ANSWERED)
    assert base.text == base.episode.turns[-1].text
    assert base.output_tokens == sum(len(t.split()) for t in (call("find", order="A1"), base.text))
    values = {(row.metric, row.case, row.arm): row.value for row in scores}
    assert values["episode_turns", "desk/B2", "tuned"] == 3
    assert values["tool_errors", "desk/B2", "tuned"] == 0.5
    assert values["brevity", "desk/A1", "base"] == pytest.approx(1 / 5)  # "It is lost (seed)."
    for arm in ("base", "tuned"):
        assert cells["desk/X3", arm, 1].error == "Inspect: OSError('the sandbox crashed')"
        assert values["episode_pass", "desk/X3", arm] is None


def test_samples_of_one_task_differ(tmp_path: Path) -> None:
    asked = arms()
    cells, _ = play(write_suite(tmp_path / "desk"), asked)

    texts = [cells["desk/A1", "base", sample].completion for sample in (0, 1)]
    assert texts[0] is not None
    assert texts[1] is not None
    assert texts[0].text != texts[1].text
    first = {
        name: {(r.case.input_messages()[0]["content"], r.seed) for r in arm.asked if not _later(r)}
        for name, arm in asked.items()
    }
    assert first["base"] == first["tuned"]


def _later(request: Request) -> bool:
    return len(request.case.input_messages()) > 1


def test_answered_samples_are_not_played_again(tmp_path: Path) -> None:
    folder, store = write_suite(tmp_path / "desk"), tmp_path / "store.sqlite"
    first, second = arms(), arms()
    play(folder, first, store)
    play(folder, second, store, tmp_path / "logs")

    assert [len(arm.asked) for arm in first.values()] == [10, 16]  # X3 ends at its call
    assert [len(arm.asked) for arm in second.values()] == [0, 0]
    words = json.loads((tmp_path / "logs" / "desk-base-1" / "words.json").read_text())
    assert words[words.index("--sample-id") + 1] == "X3"


def test_a_suites_settings_become_options_of_inspect(tmp_path: Path) -> None:
    toml = TOML.replace('reward = "told"', 'reward = "told"\noptions = {n = 2}\nflags = ["--x"]')
    folder = write_suite(tmp_path / "desk", toml=toml, orders=ORDERS[:2])
    play(folder, arms(), logs=tmp_path / "logs")

    made = tmp_path / "logs" / "desk-tuned-1"
    words = json.loads((made / "words.json").read_text())
    assert words[:4] == ["-m", "inspect_ai", "eval", "desk_task.py@desk"]
    assert words[-1] == "--x"
    told = dict(pairwise(words))
    assert told["--model"] == "openai-api/tunegate/tuned"
    assert (told["--epochs"], told["--temperature"], told["--sample-id"]) == ("2", "0.7", "A1,B2")
    assert json.loads(Path(told["--task-config"]).read_text()) == {"n": 2}


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("fails", "Inspect ended with exit code 1: Task named 'desk' not found."),
        ("ends", "status 'error' (the disk is full)"),
        ("killed", "Inspect ended with exit code 137: what Inspect prints"),
    ],
)
def test_a_task_that_fails_is_an_error_and_keeps_finished_samples(
    tmp_path: Path, file: str, part: str
) -> None:
    folder = write_suite(tmp_path / "desk")
    (folder / file).touch()
    with pytest.raises(BackendError) as caught:
        play(folder, arms(), tmp_path / "store.sqlite")
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)

    (folder / file).unlink()
    again = arms()
    play(folder, again, tmp_path / "store.sqlite")
    assert len(again["base"].asked) == {"fails": 10, "ends": 0, "killed": 0}[file]


def test_a_limit_of_the_task_ends_an_episode(tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "desk", orders=["A1"])
    (folder / "limits").touch()
    cells, _ = play(folder, arms())

    done = cells["desk/A1", "base", 0].completion
    assert done is not None
    assert done.episode is not None
    assert (done.episode.end, done.finish_reason) == (EpisodeEnd.LIMIT, "length")


def test_another_question_is_unscored(tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "desk", orders=["A1", "B2"])
    rows = (folder / "cases.jsonl").read_text()
    (folder / "cases.jsonl").write_text(rows.replace("Where is A1", "What is A1"))
    cells, _ = play(folder, arms())

    assert "Inspect asked 'Where is A1?', which is not in the case" in str(
        cells["desk/A1", "base", 0].error
    )
    assert cells["desk/B2", "base", 0].completion is not None


def test_the_key_of_an_episode_follows_the_tasks_code(tmp_path: Path) -> None:
    """An edit of the task, or of a module that it imports, changes it; other files do not."""
    folder = write_suite(tmp_path / "desk")
    (folder / "desk_task.py").write_text("import orders\n")
    (folder / "orders.py").write_text("A1 = 'lost'\n")

    def key() -> str:
        plan = load_suite(folder).episode
        assert plan is not None
        return plan.settings.sha256

    before = key()
    (folder / "notes.py").write_text("edited\n")
    assert key() == before
    (folder / "orders.py").write_text("A1 = 'found'\n")
    assert key() != before


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("desk_task.py@desk", "gone.py@desk", "no such file"),
        ("desk_task.py@desk", "desk_task.py", "write it as 'file.py@task' or 'package/task'"),
        ('reward = "told"', 'flags = ["--epochs", "3"]', "flags: --epochs follows from the suite"),
        ('reward = "told"', "max_turns = 3", "max_turns belongs to an environment"),
        ('inspect = "desk_task.py@desk"\n', "", "name the `environment`"),
    ],
)
def test_a_suite_with_a_mistake_is_refused(tmp_path: Path, old: str, new: str, part: str) -> None:
    folder = write_suite(tmp_path / "desk", toml=TOML.replace(old, new))
    with pytest.raises(SuiteError) as caught:
        load_suite(folder)
    (line,) = caught.value.problems
    assert line.startswith(f"{folder / 'suite.toml'}:")
    assert part in line


_KILLED = """\
    import sys
    from pathlib import Path
    from tests.serving.inspect_tasks.test_inspect_tasks_player import arms, play
    play(Path(sys.argv[1]), arms(), Path(sys.argv[2]), Path(sys.argv[3]))
"""


def test_a_killed_run_leaves_no_child_and_asks_nothing_twice(tmp_path: Path) -> None:
    """The program ends with the run that was killed; turns that it got are in the store."""
    folder, store, logs = write_suite(tmp_path / "desk"), tmp_path / "s.sqlite", tmp_path / "logs"
    (folder / "sleeps").touch()
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(_KILLED))
    root = Path(__file__).parents[3]
    words = [sys.executable, str(script), str(folder), str(store), str(logs)]
    child = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(root)})
    log = logs / "desk-base-1" / "1_desk.eval"
    _until(lambda: log.is_file() and log.stat().st_size > 0)
    time.sleep(0.5)
    child.send_signal(signal.SIGKILL)
    child.wait(30)
    _until(lambda: not _running(str(folder / "python-with-inspect")))

    (folder / "sleeps").unlink()
    asked = arms()
    play(folder, asked, store)
    assert len(asked["base"].asked) == 10 - 2  # the two turns of A1's first epoch are known


def _until(happened: Any) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def _running(program: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if program.encode() in path.read_bytes():
                return True
        except OSError:
            continue
    return False
