"""`tunegate doctor --aa SUITE`: base against itself and a null adapter; neither may ship."""

from __future__ import annotations

import itertools
import json
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.played_suites import TOML, call, write_desk
from tunegate.harness.cli import app
from tunegate.harness.contracts.model import Request
from tunegate.harness.models.scripted import ScriptedArm
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.errors import TunegateError

GOAL = "gain = 0.1"
GUARD = "tolerance = 0.1"
MODEL_SUITE = """\
name = "tiny"
cases = "cases.jsonl"
[generation]
template = "none"
max_new_tokens = 5
[[metrics]]
use = "exact_match"
[[metrics]]
use = "answer_logprob"
[[gates]]
metric = "exact_match"
gain = 0.1
"""


def _doctor(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments], catch_exceptions=False)


def _second_asking(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let scripted models answer `text` to every question that is put a second time."""
    complete, asked = ScriptedArm.complete, set[str]()

    def moody(self: ScriptedArm, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        for answer, request in zip(complete(self, requests), requests, strict=True):
            again = request.case.id in asked
            asked.add(request.case.id)
            known = answer.completion
            yield (
                replace(answer, completion=known.model_copy(update={"text": text}))
                if again and known
                else answer
            )

    monkeypatch.setattr(ScriptedArm, "complete", moody)


def test_a_model_that_answers_alike_does_not_ship(project: Any) -> None:
    """Every case is asked twice, the noise floor is 0, a suite with a goal does not ship."""
    project.suite(gates=GOAL)
    result = _doctor("--aa", "suites/demo", "--base", project.model("base", 30))

    assert result.exit_code == 0
    assert "base against itself: UNDECIDED" in result.stdout
    assert "exact_match  base 0.3, difference +0 [-0.03, +0.03] at 90 %" in result.stdout
    assert "noise floor: 0 % flipped (0 of 100 cases)" in result.stdout
    assert result.stdout.splitlines()[-1] == "it does not ship: as it should be"
    assert "with early stopping: ends at look 3 of 3, after 100 of 100 cases" in result.stdout
    assert len(project.stored()) == 200
    verdict = project.verdict(project.path / ".tunegate/aa/demo/itself")
    assert verdict["liveness"]["tuned"]["status"] == "identical"


def test_recorded_answers_get_no_null_adapter(project: Any) -> None:
    project.suite(gates=GOAL)
    result = _doctor("--aa", "suites/demo", "--base", project.model("base", 30))

    assert "only a model loaded in this process can have one" in result.stdout
    assert "base against a null adapter" not in result.stdout


def test_a_goal_reached_by_noise_fails(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base that is right whenever it is asked again would ship: exit 1, and the gate is named."""
    project.suite(gates=GOAL)
    _second_asking(monkeypatch, "yes")
    result = _doctor("--aa", "suites/demo", "--base", project.model("base", 30))

    assert result.exit_code == 1
    assert "base against itself: SHIP" in result.stdout
    assert "noise floor: 70 % flipped (70 of 100 cases)" in result.stdout
    assert "FAIL: a difference was claimed between equal arms: exact_match" in result.stdout


def test_a_regression_by_noise_fails(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    project.suite(gates=GUARD)
    _second_asking(monkeypatch, "no")
    result = _doctor("--aa", "suites/demo", "--base", project.model("base", 30))

    assert result.exit_code == 1
    assert "base against itself: BLOCK" in result.stdout
    assert "FAIL" in result.stdout


def test_statistics_that_prove_everything_fail(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunegate.harness.gates._difference.is_proven", lambda *given: True)
    project.suite(gates=GOAL)

    assert _doctor("--aa", "suites/demo", "--base", project.model("base", 30)).exit_code == 1


def test_a_broken_floor_is_no_failure_and_hides_none(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A level says nothing of differences; a goal reached beside a broken floor is still found."""
    project.suite(gates="floor = 0.9\ngain = 0.1")
    base = project.model("base", 30)
    fine = _doctor("--aa", "suites/demo", "--base", base)
    _second_asking(monkeypatch, "no")
    project.suite("worse", gates="floor = 0.9\ngain = 0.1")
    worse = _doctor("--aa", "suites/worse", "--base", base)
    monkeypatch.setattr("tunegate.harness.gates._difference.is_proven", lambda *given: True)
    project.suite("reached", gates="floor = 0.9\ngain = 0.1")
    reached = _doctor("--aa", "suites/reached", "--base", base)

    assert fine.exit_code == 0
    assert "base against itself: BLOCK" in fine.stdout
    assert "a floor is about the level, not the difference" in fine.stdout
    assert worse.exit_code == reached.exit_code == 1


def test_without_a_goal_shipping_is_right(project: Any) -> None:
    project.suite(gates=GUARD)
    result = _doctor("--aa", "suites/demo", "--base", project.model("base", 30))

    assert result.exit_code == 0
    assert "base against itself: SHIP" in result.stdout
    assert 'SHIP means "no worse"' in result.stdout.splitlines()[-1]


@pytest.fixture
def model_check(
    tiny: Any, suite_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Return a function that checks a suite of so many cases with a tiny model in float32."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(cases: int) -> Result:
        words = itertools.cycle(("refund", "parcel", "late", "Paris", "customer", "capital"))
        rows = [
            {"id": f"c{i}", "prompt": f"the {word} is {i}", "expected": word}
            for i, word in zip(range(cases), words, strict=False)
        ]
        suite_folder(MODEL_SUITE, rows, "tiny")
        return _doctor("--aa", "tiny", "--base", str(tiny.base()), "--dtype", "float32")

    return run


def _attempts() -> list[int]:
    """Return how often each stored answer of the current folder was made."""
    with closing(sqlite3.connect(".tunegate/store.sqlite")) as db:
        return [row[0] for row in db.execute("SELECT attempts FROM cells WHERE status = 'ok'")]


def test_a_model_against_itself_and_a_null_adapter(model_check: Callable[..., Result]) -> None:
    """In float32 base does not differ from itself at all; a null adapter acts and does not ship."""
    result = model_check(24)

    itself, null = result.stdout.split("base against a null adapter")
    assert result.exit_code == 0, result.output
    assert "difference +0 [" in itself
    assert "noise floor: mean |difference| 0 over 24 cases" in itself
    assert "noise floor: mean |difference| 0 over" not in null
    assert result.stdout.splitlines()[-1] == "neither ships: as it should be"
    verdict = json.loads(Path(".tunegate/aa/tiny/null/verdict.json").read_text(encoding="utf-8"))
    assert verdict["liveness"]["tuned"]["status"] == "proven"
    assert verdict["arms"]["tuned"]["spec"] == "null adapter"
    # base, base again and null on 24 cases, each generated and weighed; base but once.
    assert _attempts() == [1] * 3 * 2 * 24


def test_a_second_check_asks_nothing_again(model_check: Callable[..., Result]) -> None:
    """The null adapter is the same each time, so that its answers are found in the store."""
    model_check(3)
    result = model_check(3)

    assert _attempts() == [1] * 3 * 2 * 3
    assert result.stderr.count("(12 are stored already)") == 2


def test_only_the_first_cases(project: Any) -> None:
    """Few cases are judged as they stand: a cap at UNDECIDED would hide what is looked for."""
    project.suite(gates=GUARD)
    given = ("--base", project.model("base", 30), "--max-cases", "40")
    result = _doctor("--aa", "suites/demo", *given)

    assert "0 of 40 cases" in result.stdout
    assert "base against itself: SHIP" in result.stdout
    assert "note" not in result.stdout


def test_a_suite_that_nothing_can_pass_is_noted(project: Any) -> None:
    """Where even a flawless fine-tune stays undecided, not shipping shows little."""
    project.suite(gates=GUARD)
    given = ("--base", project.model("base", 30), "--max-cases", "5")
    result = _doctor("--aa", "suites/demo", *given)

    assert result.exit_code == 0
    assert "note: nothing could ship here: " in result.stdout
    assert "tolerance=0.1 on 'exact_match' cannot be proven with 5 cases" in result.stdout


def test_an_aa_run_is_no_attempt(project: Any) -> None:
    project.suite(gates="gain = 0.1")
    base = project.model("base", 30)
    _doctor("--aa", "suites/demo", "--base", base)
    project.gate(f"--gate-base={base}", f"--gate-tuned={project.model('tuned', 95)}")

    assert set(project.verdict()["attempts"].values()) == {1}


def test_the_gate_still_refuses_identical_weights(project: Any) -> None:
    project.suite(gates=GOAL)
    base = project.model("base", 30)
    _doctor("--aa", "suites/demo", "--base", base)
    result = project.gate(f"--gate-base={base}", f"--gate-tuned={base}")

    assert result.ret == 12


def test_answers_that_cannot_be_had_are_no_pass(project: Any) -> None:
    """Too much unscored ends in 13: nothing was shown."""
    project.suite(gates=GOAL)
    base = project.model("base", 30, fail={f"c{i:03}": "refused" for i in range(20)})
    result = _doctor("--aa", "suites/demo", "--base", base)

    assert result.exit_code == 13
    assert "could not be checked: " in result.stdout
    assert "as it should be" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--aa", "nowhere", "--base", "scripted:x"], "nowhere: no such suite"),
        (["--aa", "suites", "--base", "scripted:x"], "suites: holds 2 suites; name one of them"),
        (["--aa", "suites/a"], "the embedded one is not fetched yet; `tunegate demo` fetches it"),
        (["--aa", "suites/a", "--base", "x/", "--dtype", "fp32"], "unknown number format 'fp32'"),
        (["--base", "x"], "--base, --dtype and --max-cases only work with --aa SUITE"),
    ],
)
def test_a_mistake_is_one_sentence(
    project: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    """What is wrong and what would be right; nothing is opened."""
    monkeypatch.setenv("TUNEGATE_CACHE", str(project.path / "cache"))
    project.suite("a")
    project.suite("b")
    with pytest.raises(TunegateError) as caught:
        _doctor(*arguments)

    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_ctrl_c_keeps_what_is_finished(project: Any) -> None:
    project.suite(gates=GOAL)
    given = ("doctor", "--aa", "suites/demo", "--base", project.model("base", 30, delay_s=0.02))
    process = project.start(*given)
    for _ in itertools.takewhile(lambda _: not project.stored(), range(3000)):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    kept = project.stored()

    assert process.returncode == 130, output
    assert "finished answers are stored: the same command continues from there" in output
    assert 0 < len(kept) < 200
    assert project.tunegate(*given).ret == 0
    assert project.stored().items() >= kept.items()


def test_the_folder_says_what_made_it(project: Any) -> None:
    """`tunegate report` reads an A/A run, and names no command of the gate that would repeat it."""
    project.suite(gates=GOAL)
    _doctor("--aa", "suites/demo", "--base", project.model("base", 30))
    result = CliRunner().invoke(app, ["report", ".tunegate/aa/demo/itself"])

    page = (project.path / ".tunegate/aa/demo/itself/report.html").read_text(encoding="utf-8")
    manifest = json.loads((project.path / ".tunegate/aa/demo/itself/manifest.json").read_text())
    assert result.exit_code == 0
    assert "# no command of `tunegate gate` made this run" in page
    assert manifest["command"] == []


def test_episodes_of_a_policy_against_itself_do_not_ship(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both play 20 tasks with the same policy, which solves them all: no gain is found."""
    monkeypatch.chdir(tmp_path)
    tasks = [{"id": f"t{n}", "prompt": f"{n}", "row": {"order": "A1"}} for n in range(20)]
    write_desk(tmp_path / "desk", tasks=tasks)
    said = [call("find", order="A1"), call("refund", order="A1"), "Paid."]
    script = {"turns": {str(task["id"]): said for task in tasks}}
    (tmp_path / "policy.json").write_text(json.dumps(script))
    result = _doctor("--aa", "desk", "--base", "scripted:policy.json")

    assert result.exit_code == 0
    assert "base against itself: UNDECIDED" in result.output
    assert "base 1," in result.output


TALK = """
class Desk:
    def reset(self):
        self.heard = 0

    def _next(self, answer):
        self.heard += len(answer)
        return None if self.heard > 60 else "And then?"

    def get_reward(self) -> float:
        return float(self.heard % 2)
"""


@pytest.mark.slow
def test_sampled_episodes_of_a_null_adapter_do_not_ship(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tasks = [{"id": f"t{n}", "prompt": f"Tell {n}.", "row": {}} for n in range(12)]
    settings = "[generation]\ntemperature = 1.0\nsamples = 2\nmax_new_tokens = 12\n[[metrics]]"
    write_desk(
        tmp_path / "desk", toml=TOML.replace("[[metrics]]", settings, 1), code=TALK, tasks=tasks
    )
    result = _doctor("--aa", "desk", "--base", str(tiny.base()))

    assert result.exit_code == 0
    assert "SHIP" not in result.output.replace("it does not ship", "")
    assert "null adapter" in result.output
