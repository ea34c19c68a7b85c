"""What `tunegate demo` trains and gates, without training anything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tunegate.harness import suite as suites
from tunegate.harness.cli import demo
from tunegate.harness.cli.demo import copy_suites, number_format
from tunegate.harness.decision.planning.look_schedule import schedule_looks
from tunegate.harness.records.errors import BackendError

ROOT = Path(__file__).parents[2]


def test_the_tickets_are_one_of_each_template(tmp_path: Path) -> None:
    """125 of the 250 bundled tickets, no two written from one sentence, and so no clusters."""
    lines = (ROOT / "suites/support_json/cases.jsonl").read_text(encoding="utf-8").splitlines()
    cluster = {case["id"]: case["cluster"] for case in map(json.loads, lines)}

    suite = suites.load_suite(copy_suites(tmp_path / "suites") / "tickets")

    assert len(suite.cases) == 125
    assert len({cluster[case.id] for case in suite.cases}) == len(set(cluster.values())) == 125
    assert {case.cluster for case in suite.cases} == {None}


def test_tickets_are_asked_as_in_the_bundled_suite(tmp_path: Path) -> None:
    """The training rows have that suite's instruction, so another one would measure nothing."""
    tickets = suites.load_suite(copy_suites(tmp_path / "suites") / "tickets")
    bundled = suites.load_suite(ROOT / "suites" / "support_json")

    assert tickets.generation == bundled.generation


def test_production_asks_some_bundled_prompts_and_ends_early(tmp_path: Path) -> None:
    """160 of 400, twenty of each kind, asked alike; the demo's gates allow more looks."""
    copied = suites.load_suite(copy_suites(tmp_path / "suites") / "production")
    bundled = suites.load_suite(ROOT / "suites" / "production")

    assert {case.prompt for case in copied.cases} < {case.prompt for case in bundled.cases}
    kinds = Counter(case.tags[0] for case in copied.cases)
    assert (len(kinds), set(kinds.values())) == (8, {20})
    assert copied.generation == bundled.generation
    assert {gate.metric for gate in copied.gates} < {gate.metric for gate in bundled.gates}
    looks = [schedule_looks(suite, seed=0) for suite in (bundled, copied)]
    assert [found and found.sizes for found in looks] == [
        (100, 200, 300, 400),
        (32, 64, 96, 128, 160),
    ]


def test_knowledge_is_a_third_of_the_questions_of_each_subject(tmp_path: Path) -> None:
    """175 of the 504 bundled questions, 12 or 13 of the 36 of every subject."""
    copied = suites.load_suite(copy_suites(tmp_path / "suites") / "general_knowledge")
    bundled = suites.load_suite(ROOT / "suites" / "general_knowledge")

    assert len(copied.cases) == 175
    assert [(g.metric, g.margin) for g in copied.gates] == [("choice_probability", 0.03)]
    assert {case.id for case in copied.cases} < {case.id for case in bundled.cases}
    subjects = Counter(tag for case in copied.cases for tag in case.tags)
    assert (len(subjects), set(subjects.values())) == (14, {12, 13})


def test_every_second_reply_is_judged(tmp_path: Path) -> None:
    """14 of 28, asked alike."""
    copied = suites.load_suite(copy_suites(tmp_path / "suites") / "judge")
    whole = suites.load_suite(ROOT / "trainers/demo/judge")

    assert len(copied.cases) == 14
    assert {case.id for case in copied.cases} < {case.id for case in whole.cases}
    assert copied.generation == whole.generation


def test_all_suites_load_from_the_copy_twice(tmp_path: Path) -> None:
    """A second demo finds the same suites, so that no answer is asked for again."""
    first = {p.parent.name: suites.load_suite(p.parent).hash for p in _copied(tmp_path)}
    second = {p.parent.name: suites.load_suite(p.parent).hash for p in _copied(tmp_path)}

    assert first == second
    assert set(first) == {"tickets", "general_knowledge", "production", "judge"}


def test_the_everyday_rows_are_the_first_of_production() -> None:
    """160 of 280, twenty of each of the eight kinds; no row is a new one."""
    rows = (ROOT / "trainers/demo/everyday.jsonl").read_text(encoding="utf-8").splitlines()
    bundled = (ROOT / "suites/production/train.jsonl").read_text(encoding="utf-8").splitlines()

    assert rows == bundled[:160]


@pytest.mark.parametrize("embedded", [True, False])
def test_another_model_trains_all_its_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: bool
) -> None:
    """The good candidate's layers are counted in the embedded model's 30; others have their own."""
    asked: list[str] = []
    monkeypatch.setattr(demo, "_run", lambda *args, what: asked.extend(args))
    (tmp_path / "good").mkdir()

    demo._train("good", "base", tmp_path / "good", 0, embedded=embedded)

    assert ("--lora_target_modules" in asked) == (not embedded)
    assert embedded or asked[-1] == "all-linear"


def _copied(folder: Path) -> list[Path]:
    return sorted(copy_suites(folder / "suites").glob("*/suite.toml"))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx2 avx512f avx512_bf16 fma", "bfloat16"),
        ("avx2 amx_bf16", "bfloat16"),
        ("avx2 avx512f avx512_vnni fma", "float32"),
    ],
)
def test_bfloat16_where_the_processor_multiplies_it(
    tmp_path: Path, flags: str, expected: str
) -> None:
    """Elsewhere each product would be emulated."""
    listed = tmp_path / "cpuinfo"
    listed.write_text(f"model name\t: x\nflags\t\t: {flags}\n", encoding="utf-8")

    assert number_format(listed) == expected
    assert number_format(tmp_path / "none") == "float32"


def test_a_command_gives_its_exit_code_and_ignores_files_where_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('theirs')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert demo._run_tunegate(["--version"]) == 0
    assert capfd.readouterr().out.startswith("tunegate ")
    with pytest.raises(BackendError, match=r"^judging x ended with exit code 2; completed steps"):
        demo._run("gate", "nowhere", what="judging x")
    assert len(capfd.readouterr().err.splitlines()) == 1


COMMAND = """#!{python}
import os, pathlib, signal, time

place = pathlib.Path({place!r})
def store(*_):
    time.sleep(0.2)
    (place / "stored").touch()
    os._exit(130)
signal.signal(signal.SIGINT, store)
(place / "began").write_text(str(os.getpid()))
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals to a process group")
@pytest.mark.parametrize("terminal", [True, False])
def test_an_interrupt_ends_the_command(tmp_path: Path, terminal: bool) -> None:
    """At a terminal the command gets it as well and stores its work; otherwise it is killed."""
    command = tmp_path / "python"
    command.write_text(COMMAND.format(python=sys.executable, place=str(tmp_path)), encoding="utf-8")
    command.chmod(0o755)
    code = (
        "import sys; from tunegate.harness.cli import demo;"
        f"sys.executable = {str(command)!r}; demo._run_tunegate(['train'])"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True
    )
    began = tmp_path / "began"
    ends = time.monotonic() + 60
    while not began.exists() or not began.read_text(encoding="utf-8"):
        assert time.monotonic() < ends
        time.sleep(0.02)
    (os.killpg if terminal else os.kill)(caller.pid, signal.SIGINT)
    caller.wait(timeout=30)

    assert caller.returncode == -signal.SIGINT
    stored = tmp_path / "stored"
    while terminal and not stored.exists():
        assert time.monotonic() < ends
        time.sleep(0.02)
    assert stored.exists() == terminal
    with pytest.raises(ProcessLookupError):  # noqa: PT012
        while time.monotonic() < ends:  # the kernel may still be ending it
            os.kill(int(began.read_text(encoding="utf-8")), 0)
            time.sleep(0.02)


@pytest.mark.parametrize("known", [True, False])
def test_a_calibration_of_other_libraries_is_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    monkeypatch.setattr(demo, "is_calibrated", lambda *_: known)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    assert ("--calibration" in demo._judge(tmp_path, "base", embedded=True)) == known
    assert "--calibration" not in demo._judge(tmp_path, "other", embedded=False)
