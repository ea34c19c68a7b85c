"""Attempts at an undeserved SHIP: `python -m benchmarks.attacks undeserved_ship`.

Tuned has lost 46 of 60 answers, asks one question 60 times, or was trained on the cases, and each
attack tampers with one thing. It is survived if no command ends with 0, or if the rules that the
user wrote allow a SHIP and the output says what was lost.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.attacks.attempt import AttackAttempt, Outcome, last_word
from benchmarks.attacks.project import (
    OWN,
    RIGHT,
    SUITE,
    AttackedProject,
    N,
    answer,
    edit_json,
    edit_lines,
    question,
)

Change = Callable[[AttackedProject], None]
GATES = "floor = 0.5\ntolerance = 0.1"
WORSE = "worse than base, as far as the gates allow"


def attempts() -> Iterator[AttackAttempt]:
    """Yield two controls and the attacks; what the rules allow must be told."""
    yield AttackAttempt("control: a good fine-tune ships", partial(_control, True, 0))
    yield AttackAttempt("control: a bad one is blocked", partial(_control, False, 1))
    for family, attacks in (
        ("pytest", _pytest()), ("suite", _suites()), ("metric", _metrics()),
        ("answers", _answers()), ("stored run", _stored()), ("training data", _leaks()),
        ("episodes", _episodes()), ("thoughts", _thoughts()), ("results", _results()),
        ("plugins", _plugins()),
    ):  # fmt: skip
        for name, change, *notes in attacks:
            yield AttackAttempt(f"{family}: {name}", partial(_attempt, change, *notes))


def _control(right: bool, code: int) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        project = AttackedProject(Path(folder))
        project.begin()
        project.answers("tuned", [answer("tuned", i, right=right) for i in range(N)])
        exit_code = project.gate().returncode
        return exit_code == code, f"exit {exit_code}"


def _attempt(change: Change, note: str = "") -> Outcome:
    """Carry an attack out; return whether it was survived, and what happened."""
    with tempfile.TemporaryDirectory() as folder:
        project = AttackedProject(Path(folder))
        project.begin()
        change(project)
        done = project.gate()
        outcome = last_word(done.stdout + done.stderr)
        if done.returncode == 0:
            return bool(note) and note in done.stdout, f"exit 0: {outcome}"
        if project.then is None:
            return True, f"exit {done.returncode}: {outcome}"
        project.then(project)
        for command in project.commands:
            done = project.tunegate(*command)
            if done.returncode == 0:
                return False, f"tunegate {' '.join(command)}: exit 0"
        return True, f"tunegate {project.commands[-1][0]}: exit {done.returncode}"


Attacks = Iterator[tuple[Any, ...]]
"""(name, change, what a SHIP that the rules allow must say) of each attack."""


def _file(name: str, text: str) -> Change:
    def write(project: AttackedProject) -> None:
        project.write(name, text)

    return write


def _words(*words: str) -> Change:
    return lambda project: project.words.extend(words)


def _environ(name: str, value: str) -> Change:
    return lambda project: project.environment.update({name: value})


def _pytest() -> Attacks:
    ini = "[pytest]\naddopts = "
    for options in ("--co -q", "-k absent", "--ignore-glob=*.toml"):
        yield f"addopts = {options}", _file("pytest.ini", f"{ini}{options}\n")
    for words in ("--collect-only", "--setup-only", "--version", "-k absent", "-p no:tunegate"):
        yield f"gate … -- {words}", _words("--", *words.split())
    for name, value in (
        ("PYTEST_ADDOPTS", "--co"), ("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1"),
        ("PYTHONOPTIMIZE", "2"), ("LC_ALL", "C"),
    ):  # fmt: skip
        yield f"{name}={value}", _environ(name, value)
    yield "--max-cases 12, the cases that tuned has right", _words("--max-cases=12")
    items = "def pytest_collection_modifyitems(items):\n    "
    for name, code in {
        "removes the gates that fail": items + "items[:] = items[:1]\n",
        "ends the session with 0": "import pytest\ndef pytest_collection_finish(session):\n"
        "    pytest.exit('enough', returncode=0)\n",
        "rewrites the exit status": "import pytest\n@pytest.hookimpl(trylast=True)\n"
        "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n",
        "reports failures as passed": "import pytest\n@pytest.hookimpl(wrapper=True)\n"
        "def pytest_runtest_makereport(item, call):\n    report = yield\n"
        "    report.outcome = 'passed'\n    return report\n",
    }.items():  # fmt: skip
        yield f"conftest.py {name}", _file("conftest.py", code)


def _suites() -> Attacks:
    for gates, *notes in (
        ("floor = 0",), ("ceiling = 1",), ("tolerance = 1",), (f"{GATES}\nconfidence = 0.01",),
        (f'{GATES}\ntag = "absent"',), ("tolerance = 0.95", WORSE), ('tolerance = "99%"', WORSE),
        ("floor = 0.1", "96.7 → 20.0 %"), ("gain = -0.95", "fell 76.7 points"),
    ):  # fmt: skip
        toml = SUITE.replace(GATES, gates)
        yield gates.replace("\n", ", "), _file("suites/orders/suite.toml", toml), *notes
    yield "no gates", _file("suites/orders/suite.toml", SUITE.partition("[[gates]]")[0])
    yield "sealed = true", _file("suites/orders/suite.toml", "sealed = true\n" + SUITE)
    spellings: dict[str, Callable[[int], str]] = {
        "under 60 ids": lambda i: "Which shelf?",
        "in capitals": lambda i: ("Which shelf", "WHICH shelf")[i % 2] + "?" * (i % 5),
        "behind 60 numbers": lambda i: f"Question {i}: Which shelf is it?",
        "with invisible characters": lambda i: "Which" + "\u2060" * i + " shelf",
        "in two alphabets": lambda i: "Which shelf".replace("h", "hһ"[i % 2]),
    }
    for name, spell in spellings.items():
        yield f"one prompt {name}", partial(_one_prompt, spell)
    yield "no cases", lambda project: project.cases([])


def _one_prompt(spell: Callable[[int], str], project: AttackedProject) -> None:
    """Ask one question N times, which base has wrong and tuned right."""
    project.cases([{**question(i), "prompt": spell(i), "expected": "shelf 1"} for i in range(N)])
    project.answers("base", [answer("base", i, right=False) for i in range(N)])
    project.answers("tuned", [{"id": f"q{i:02}", "completion": "shelf 1"} for i in range(N)])


def _metrics() -> Attacks:
    fails = "completion.text != case.expected"
    head = "import math, pathlib, random, itertools\nn = itertools.count()\n"
    body = "    return float(completion.text == case.expected)\n"
    for name, code, *notes in (
        ("raises where tuned is wrong", f"    if {fails}: raise ValueError\n{body}"),
        ("returns NaN where tuned is wrong", f"    if {fails}: return math.nan\n{body}"),
        ("improves with its calls", "    return float(next(n) > 20)\n"),
        ("draws at random", "    return random.random()\n"),
        ("calls pytest.exit", "    import pytest; pytest.exit('x', returncode=0)\n"),
        ("writes verdict.json itself", "    pathlib.Path('run/verdict.json')"
         ".write_text('{\"verdict\": \"SHIP\"}')\n" + body),
        ("is constant", "    return 1.0\n", "cannot separate them"),
    ):  # fmt: skip
        whole = f"{head}def score(case, completion):\n{code}"
        yield f"a metric that {name}", partial(_own_metric, whole), *notes


def _own_metric(code: str, project: AttackedProject) -> None:
    project.own_metric(code, OWN)


def _answers() -> Attacks:
    twice = [row for i in range(N) for row in (answer("tuned", i), answer("tuned", i, right=True))]
    for name, rows in {
        "wrong answers are left out": [answer("tuned", i) for i in range(RIGHT["tuned"])],
        "no answers at all": [],
        "a second, right answer behind each": twice,
        "answers of other cases": [{"id": f"z{i}", "completion": "shelf"} for i in range(N)],
    }.items():
        yield name, partial(_say, "tuned", rows)
    for arm in ("base", "incumbent"):
        says: dict[str, Callable[[int], str]] = {
            "empty": lambda i: "",
            "one error message": lambda i: "rate limit exceeded",
        }
        for name, say in says.items():
            yield f"tuned is good, and the {arm}'s answers are {name}", partial(_broken, arm, say)


def _say(arm: str, rows: Any, project: AttackedProject) -> None:
    project.answers(arm, rows)


def _broken(arm: str, say: Callable[[int], str], project: AttackedProject) -> None:
    """Have tuned right but once, and an arm answer so."""
    project.answers("tuned", [answer("tuned", i, right=i < N - 1) for i in range(N)])
    project.answers(arm, [{"id": f"q{i:02}", "completion": say(i)} for i in range(N)])
    if arm == "incumbent":
        project.words = ["--incumbent=replay:incumbent.jsonl"]


def _stored() -> Attacks:
    def ship(verdict: Any) -> None:
        verdict.update(verdict="SHIP", sentence="no worse: both gates hold")
        for suite in verdict["suites"]:
            suite.update(verdict="SHIP")
            for gate in suite["gates"]:
                gate.update(status="pass", reason=None, tuned=0.97, delta=0.0)

    def floor(manifest: Any) -> None:
        manifest["suites"][0]["gates"][0].update(margin=0.01)

    def right(row: Any) -> None:
        row["completion"]["text"] = f"shelf {int(row['cell']['case'][1:])}"

    named = ("--suite", "suites")
    commands = (("report", "run"), ("promote", "run"), ("compare", "run", "run"))
    believers = tuple((*words, *named) for words in commands)
    changes: dict[str, Change] = {
        "verdict.json says SHIP": lambda p: edit_json(p.run / "verdict.json", ship),
        "manifest.json has a lower floor": lambda p: edit_json(p.run / "manifest.json", floor),
        "scores.jsonl has better scores": lambda p: edit_lines(
            p.run / "scores.jsonl", lambda row: row.update(value=1.0)
        ),
        "cells.jsonl has right answers": lambda p: edit_lines(p.run / "cells.jsonl", right),
        "cases.jsonl has other expected answers": lambda p: edit_lines(
            p.run / "cases.jsonl", lambda row: row["case"].update(expected="no idea")
        ),
    }
    for name, change in changes.items():
        yield name, partial(_after, change, believers)
    resume = (("resume", "run", "suites"),)
    lower = SUITE.replace(GATES, "floor = 0.1")
    yield (
        "a lower floor before resume",
        partial(_after, _file("suites/orders/suite.toml", lower), resume),
    )
    yield (
        "fewer cases before resume",
        partial(_after, lambda project: project.cases([question(i) for i in range(12)]), resume),
    )


def _after(change: Change, commands: Any, project: AttackedProject) -> None:
    project.then, project.commands = change, commands


def _leaks() -> Attacks:
    def leak(dress: Callable[[str], str], project: AttackedProject) -> None:
        project.answers("tuned", [answer("tuned", i, right=True) for i in range(N)])
        rows = [
            {"prompt": dress(case["prompt"]), "completion": case["expected"]}
            for case in map(question, range(N))
        ]
        project.write_lines("train.jsonl", rows)
        project.words = ["--training-data=train.jsonl"]

    yield "trained on the cases", partial(leak, lambda text: text)
    yield "… in lookalikes", partial(leak, lambda text: text.replace("a", "а").replace("c", "с"))
    yield "… between other words", partial(leak, lambda text: f"Tell me quickly: {text} Cheers!")


DESK = '''import itertools, math, sys, time
n = itertools.count()
class Desk:
    def reset(self, shelf, **row):
        self.wanted, self.put = shelf, None
    def shelve(self, shelf: str) -> str:
        """Put the article on a shelf."""
        self.put = shelf
        return "done"
    def get_reward(self) -> float:
        wrong = self.put != self.wanted
REWARD        return float(not wrong)
'''
EPISODES = """name = "orders"
cases = "cases.jsonl"
episode = { environment = "desk.py:Desk", tool_timeout_s = 2 }

[[metrics]]
use = "episode_pass"
name = "exact_match"

[[gates]]
metric = "exact_match"
tolerance = 0.1
"""


def _episodes() -> Attacks:
    for name, code, *notes in (
        ("raises where tuned is wrong", "if wrong: raise OSError('down')"),
        ("ends the process where tuned is wrong", "if wrong: sys.exit(0)"),
        ("never returns where tuned is wrong", "while wrong: time.sleep(1)"),
        ("pays NaN where tuned is wrong", "if wrong: return math.nan"),
        ("pays the episodes behind the first 60", "return float(next(n) >= 60)"),
        ("draws at random", "import random; return float(random.random() < 0.5)"),
        ("pays for silence", "return 1.0", "cannot separate them"),
    ):
        yield f"an environment that {name}", partial(play_desk, f"        {code}\n"), *notes


def play_desk(reward: str, project: AttackedProject) -> None:
    """Play episodes: base puts 58 of 60 articles on their shelf, tuned 12."""
    project.write("suites/orders/desk.py", DESK.replace("REWARD", reward))
    project.write("suites/orders/suite.toml", EPISODES)
    rows = [(f"q{i:02}", question(i)["prompt"], {"shelf": f"shelf {i}"}) for i in range(N)]
    project.cases([{"id": name, "prompt": prompt, "row": row} for name, prompt, row in rows])
    for arm, right in RIGHT.items():
        calls = ({"name": "shelve", "arguments": {"shelf": f"shelf {i}"}} for i in range(right))
        turns = {
            f"q{i:02}": [f"<tool_call>{json.dumps(call)}</tool_call>", "Done."]
            for i, call in enumerate(calls)
        }
        project.write(f"{arm}.json", json.dumps({"turns": turns, "default": "no idea"}))
        project.specs[arm] = f"scripted:{arm}.json"


def _thoughts() -> Attacks:
    def hidden(text: str, project: AttackedProject) -> None:
        rows = [answer("tuned", i) for i in range(N)]
        for i in range(RIGHT["tuned"], N):
            rows[i]["completion"] = text.format(f"shelf {i}")
        project.answers("tuned", rows)

    yield "the right answer in thoughts", partial(hidden, "<think>{}</think>no idea")
    yield "… in thoughts that do not end", partial(hidden, "<think>{}")
    yield "… behind a second closing tag", partial(hidden, "<think>x</think>no idea</think>{}")
    head, gates = SUITE.replace("floor = 0.5\n", "").split("[[metrics]]")
    tags = '[generation]\nthinking_tags = ["shelf", "behind"]\n'
    toml = f"{head}{tags}[[metrics]]{gates}"
    swallow = "tags that swallow the answers of both"
    yield swallow, _file("suites/orders/suite.toml", toml), "cannot separate them"


RESULTS = """name = "orders"

[cases]
from = "results"
path = "../../base.jsonl"

[[metrics]]
use = "recorded"
name = "exact_match"
score = "score"
range = [0, 1]

[[gates]]
metric = "exact_match"
tolerance = 0.1
"""


def _results() -> Attacks:
    def row(arm: str, number: int, wrong: Any = 0) -> dict[str, Any]:
        right = number < RIGHT[arm]
        asked = question(number)["prompt"]
        return {"id": f"q{number:02}", "prompt": asked, "score": 1 if right else wrong}

    def record(rows: Any, words: list[str], project: AttackedProject) -> None:
        project.write("suites/orders/suite.toml", RESULTS)
        project.answers("base", [row("base", i) for i in range(N)])
        project.answers("tuned", rows)
        project.words = words
        project.specs = {arm: f"results:{arm}.jsonl?format=table" for arm in RIGHT}

    right = [row("tuned", i) for i in range(RIGHT["tuned"])]
    yield "tuned's wrong rows are left out", partial(record, right, [])
    yield "… by --cases shared", partial(record, right, ["--cases=shared"])
    for wrong in (None, "NaN", 1e9, "false"):
        rows = [row("tuned", i, wrong) for i in range(N)]
        yield f"tuned's wrong rows have the score {wrong}", partial(record, rows, [])
    yield "base's file under another name", partial(record, [row("base", i) for i in range(N)], [])


def _plugins() -> Attacks:
    head = "from tunegate.harness.gates.tolerance import tolerance\nclass Evil(type(tolerance)):\n"

    def install(group: str, entry: str, code: str, toml: str, project: AttackedProject) -> None:
        meta = "Metadata-Version: 2.1\nName: evil\nVersion: 1\n"
        project.write("site/evil-1.dist-info/METADATA", meta)
        project.write("site/evil-1.dist-info/entry_points.txt", f"[tunegate.{group}]\n{entry}\n")
        project.write("site/evil.py", code)
        project.environment["PYTHONPATH"] = str(project.folder / "site")
        project.write("suites/orders/suite.toml", toml)

    source = SUITE.replace('cases = "cases.jsonl"', '[cases]\nfrom = "evil"')
    for code in ("raise SystemExit(0)", "raise KeyboardInterrupt"):
        body = f"def evil(folder):\n    {code}\n    yield\n"
        yield f"a source: {code}", partial(install, "sources", "evil = evil:evil", body, source)
        body = f"    name = 'evil'\n    def decide(self, *a, **b):\n        {code}\nevil = Evil()\n"
        toml = SUITE.replace("tolerance", "evil")
        yield f"a gate: {code}", partial(install, "gates", "evil = evil:evil", head + body, toml)
        body = f"TITLE, ORDER = 'Evil', 1\ndef render(*a, **b):\n    {code}\n"
        yield f"a section: {code}", partial(install, "sections", "evil = evil", body, SUITE)
