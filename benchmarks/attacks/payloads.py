"""The attacks, by what they tamper with; each changes the project before or after its gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

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


@dataclass(frozen=True)
class UndeservedShip:
    """One way to a SHIP that is not deserved."""

    family: str
    name: str
    change: Change
    told: str = ""
    """What a SHIP that the rules allow must say; empty where none is allowed."""


def attacks() -> Iterator[UndeservedShip]:
    """Yield all attacks."""
    for family, found in (
        ("pytest", _pytest()), ("environment", _environment()), ("suite", _suites()),
        ("metric", _metrics()), ("answers", _answers()), ("stored run", _stored()),
        ("training data", _leaks()),
    ):  # fmt: skip
        for name, change, *told in found:
            yield UndeservedShip(family, name, change, *told)


def _pytest() -> Iterator[Any]:
    ini = "[pytest]\naddopts = "
    for file, head in (
        ("pytest.ini", ini), ("tox.ini", ini), ("setup.cfg", "[tool:pytest]\naddopts = "),
    ):  # fmt: skip
        yield f"{file}: addopts = --co -q", partial(_file, file, head + "--co -q\n")
    toml = '[tool.pytest.ini_options]\naddopts = ["--setup-plan"]\n'
    yield "pyproject.toml: addopts = --setup-plan", partial(_file, "pyproject.toml", toml)
    yield "addopts = -k absent", partial(_file, "pytest.ini", ini + "-k absent\n")
    yield "addopts = --ignore-glob", partial(_file, "pytest.ini", ini + "--ignore-glob=*.toml\n")
    for words in (
        "--collect-only", "--setup-only", "--fixtures", "--markers", "--version", "--help",
        "-k absent", "--deselect suites/orders/suite.toml::exact_match", "-p no:tunegate",
    ):  # fmt: skip
        yield f"gate … -- {words}", partial(_words, "--", *words.split())
    hooks = {
        "skips every gate": "import pytest\ndef pytest_collection_modifyitems(items):\n"
        "    [item.add_marker(pytest.mark.skip) for item in items]\n",
        "removes every gate": "def pytest_collection_modifyitems(items):\n    items.clear()\n",
        "removes the gates that fail": "def pytest_collection_modifyitems(items):\n"
        "    items[:] = items[:1]\n",
        "marks gates as xfail": "import pytest\ndef pytest_collection_modifyitems(items):\n"
        "    [item.add_marker(pytest.mark.xfail) for item in items]\n",
        "ends the session with 0": "import pytest\ndef pytest_collection_finish(session):\n"
        "    pytest.exit('enough', returncode=0)\n",
        "runs no test": "def pytest_runtestloop(session):\n    return True\n",
        "rewrites the exit status": "import pytest\n@pytest.hookimpl(trylast=True)\n"
        "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n",
        "reports failures as passed": "import pytest\n@pytest.hookimpl(wrapper=True)\n"
        "def pytest_runtest_makereport(item, call):\n    report = yield\n"
        "    report.outcome = 'passed'\n    return report\n",
    }
    for name, code in hooks.items():
        yield f"conftest.py {name}", partial(_file, "conftest.py", code)


def _environment() -> Iterator[Any]:
    for name, value in (
        ("PYTEST_ADDOPTS", "--co"), ("PYTEST_ADDOPTS", "--deselect suites -x --lf"),
        ("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1"), ("PYTHONOPTIMIZE", "2"), ("LC_ALL", "C"),
    ):  # fmt: skip
        yield f"{name}={value}", partial(_environ, name, value)
    yield "--max-cases 12, the cases that tuned has right", partial(_words, "--max-cases=12")
    yield "--early-stop on", partial(_words, "--early-stop=on")


def _suites() -> Iterator[Any]:
    for name, toml, *told in (
        ("no gates", SUITE.partition("[[gates]]")[0]),
        ("floor = 0", SUITE.replace("floor = 0.5\ntolerance = 0.1", "floor = 0")),
        ("ceiling = 1", SUITE.replace("floor = 0.5\ntolerance = 0.1", "ceiling = 1")),
        ("tolerance = 1", SUITE.replace("floor = 0.5\ntolerance = 0.1", "tolerance = 1")),
        ("tolerance = 0.95", SUITE.replace("floor = 0.5\ntolerance = 0.1", "tolerance = 0.95"),
         "worse than base, as far as the gates allow"),
        ('tolerance = "99%"', SUITE.replace("floor = 0.5\ntolerance = 0.1", 'tolerance = "99%"'),
         "worse than base, as far as the gates allow"),
        ("floor = 0.1 alone", SUITE.replace("floor = 0.5\ntolerance = 0.1", "floor = 0.1"),
         "96.7 → 20.0 %"),
        ("a negative gain", SUITE.replace("floor = 0.5\ntolerance = 0.1", "gain = -0.95"),
         "fell 76.7 points"),
        ("confidence = 0.01", SUITE + "confidence = 0.01\n"),
        ("a gate on a tag that no case has", SUITE + 'tag = "absent"\n'),
        ("every gate advisory", SUITE.replace("exact_match", "length", 1).replace(
            '"exact_match"\nfloor = 0.5\ntolerance = 0.1', '"length"\ntolerance = 900')),
        ("sealed = true", "sealed = true\n" + SUITE),
    ):  # fmt: skip
        yield name, partial(_file, "suites/orders/suite.toml", toml), *told
    yield "an example answer as JSON schema", _example_schema
    yield "one prompt under 60 ids", partial(_one_prompt, lambda i: "Which shelf?")
    yield (
        "one prompt in 60 spellings",
        partial(
            _one_prompt,
            lambda i: ("Which shelf", "WHICH shelf")[i % 2] + "?" * (i % 5) + " " * (i % 3),
        ),
    )
    yield (
        "one prompt behind 60 numbers",
        partial(_one_prompt, lambda i: f"Question {i}: Which shelf is it?"),
    )
    yield (
        "one prompt with invisible characters",
        partial(
            _one_prompt, lambda i: "Which shelf"[: i % 11] + "\u2060" * i + "Which shelf"[i % 11 :]
        ),
    )
    yield (
        "one prompt in two alphabets",
        partial(
            _one_prompt,
            lambda i: "Which shelf".replace("h", "hһ"[i % 2]).replace("e", "eе"[i // 2 % 2]),
        ),
    )
    yield "two cases with one id", partial(_cases, lambda i: question(i % 30))
    yield "no cases", _no_cases


def _metrics() -> Iterator[Any]:
    fails = "completion.text != case.expected"
    head = (
        "import math, os, random, itertools\nn = itertools.count()\ndef score(case, completion):\n"
    )
    body = "    return float(completion.text == case.expected)\n"
    for name, code in {
        "raises where tuned is wrong": f"    if {fails}: raise ValueError\n{body}",
        "raises on two wrong answers": "    if case.id in ('q58', 'q59'): raise ValueError\n"
        "    return 1.0\n",
        "returns NaN where tuned is wrong": f"    if {fails}: return math.nan\n{body}",
        "returns infinity": f"    if {fails}: return math.inf\n{body}",
        "returns None": f"    if {fails}: return None\n{body}",
        "alternates with its calls": "    return float(next(n) % 2)\n",
        "improves with its calls": "    return float(next(n) > 20)\n",
        "draws at random": "    return random.random()\n",
        "calls sys.exit(0)": "    raise SystemExit(0)\n",
        "calls pytest.skip": "    import pytest; pytest.skip('later')\n",
        "calls pytest.exit(returncode=0)": "    import pytest; pytest.exit('x', returncode=0)\n",
        "raises KeyboardInterrupt": "    raise KeyboardInterrupt\n",
        "writes verdict.json itself": "    import pathlib\n"
        "    pathlib.Path('run/verdict.json').write_text('{\"verdict\": \"SHIP\"}')\n" + body,
    }.items():
        yield f"a metric that {name}", partial(_metric, head + code)
    yield (
        "a metric that is constant",
        partial(_metric, head + "    return 1.0\n"),
        "cannot separate them",
    )
    yield "sys.exit(0) at import", partial(_metric, "raise SystemExit(0)\n")


def _answers() -> Iterator[Any]:
    yield (
        "wrong answers are left out",
        partial(_rows, "tuned", [answer("tuned", i) for i in range(RIGHT["tuned"])]),
    )
    yield "the 3 wrong ones of 60 answers are left out", _leave_three_out
    yield (
        "base's right answers are left out",
        partial(_rows, "base", [answer("base", i) for i in range(RIGHT["base"], N)]),
    )
    yield "no answers at all", partial(_rows, "tuned", [])
    both = [row for i in range(N) for row in (answer("tuned", i), answer("tuned", i, right=True))]
    yield "a second, right answer behind each", partial(_rows, "tuned", both)
    yield (
        "empty answers",
        partial(_rows, "tuned", [{"id": f"q{i:02}", "completion": ""} for i in range(N)]),
    )
    yield (
        "answers of other cases",
        partial(_rows, "tuned", [{"id": f"z{i}", "completion": f"shelf {i}"} for i in range(N)]),
    )
    yield "no JSON in the file", partial(_file, "tuned.jsonl", "shelf\n" * N)
    twice = [
        f'{{"id": "q{i:02}", "completion": "no", "completion": "shelf {i}"}}' for i in range(N)
    ]
    yield "a second completion in each line", partial(_file, "tuned.jsonl", "\n".join(twice))
    samples = [{**answer("tuned", i, right=not s), "sample": s} for i in range(N) for s in range(5)]
    yield "the best of five samples first", partial(_rows, "tuned", samples)
    yield "the column of expected answers, in sentences", _key_as_answers
    yield "the recorded examples of init, in CI", _examples_in_ci
    for name, say in {
        "are empty": lambda i: "",
        "are empty in 36 of 60 cases": lambda i: "" if i < 36 else f"shelf {i}",
        "are one error message": lambda i: "rate limit exceeded",
        "are those of the next case": lambda i: f"shelf {(i + 1) % N}",
    }.items():
        yield f"tuned is good, and base's answers {name}", partial(_broken, "base", say)
    for name, say in {
        "are empty": lambda i: "",
        "are tuned's": lambda i: f"shelf {i}" if i < N - 1 else "no idea",
    }.items():
        yield f"the incumbent's answers {name}", partial(_broken, "incumbent", say)
    yield (
        "60 untagged cases next to a gate on a tag",
        _lost_untagged,
        "has no gate on cases without the tag a",
    )
    yield "a second suite called suite.toml.bak", _bak, "is not called suite.toml"


def _key_as_answers(project: AttackedProject) -> None:
    told = [f"Article {1000 + 7 * i} is on shelf {i} of the second hall." for i in range(N)]
    project.cases([{**question(i), "expected": told[i]} for i in range(N)])
    project.answers("tuned", [{"id": f"q{i:02}", "completion": told[i]} for i in range(N)])


def _examples_in_ci(project: AttackedProject) -> None:
    rows = [{**answer("tuned", i, right=True), "example": True} for i in range(N)]
    project.answers("tuned", rows)
    project.environment["CI"] = "true"


def _example_schema(project: AttackedProject) -> None:
    """Score by a schema that is an example answer, which every JSON satisfies."""
    project.write("suites/orders/suite.toml", SUITE.replace("exact_match", "json_schema").replace(
        'use = "json_schema"', 'use = "json_schema"\nschema = "answer.json"'))  # fmt: skip
    project.write("suites/orders/answer.json", '{"shelf": 3, "hall": "second"}')
    project.answers("tuned", [{"id": f"q{i:02}", "completion": "{}"} for i in range(N)])
    project.answers("base", [{"id": f"q{i:02}", "completion": '{"shelf": 1}'} for i in range(N)])


def _stored() -> Iterator[Any]:
    named = ("--suite", "suites")
    commands = (("report", "run"), ("promote", "run"), ("compare", "run", "run"))
    believers = tuple((*words, *named) for words in commands)
    for name, change in {
        "verdict.json says SHIP": _says_ship,
        "verdict.json says SHIP throughout": _says_ship_throughout,
        "verdict.json has another sentence": _another_sentence,
        "verdict.json loses its gates": _loses_gates,
        "verdict.json loses its suites": _loses_suites,
        "scores.jsonl has better scores": _better_scores,
        "manifest.json has a lower floor": _lower_floor,
        "manifest.json allows unscored cases": _allows_unscored,
        "cases.jsonl has other expected answers": _other_expected,
        "cells.jsonl has right answers": _right_cells,
    }.items():
        yield name, partial(_after, change, believers)
    for name, change in {
        "a lower floor before resume": _lower_suite_floor,
        "the suite is gone before resume": _remove_suite,
        "fewer cases before resume": _fewer_cases,
    }.items():
        yield name, partial(_after, change, (("resume", "run", "suites"),))


def _leaks() -> Iterator[Any]:
    yield "trained on the cases", partial(_leak, lambda text: text)
    yield "… with invisible characters", partial(_leak, lambda text: "\u200d".join(text))
    yield "… in lookalikes", partial(_leak, lambda text: text.replace("a", "а").replace("c", "с"))
    yield "… between other words", partial(_leak, lambda text: f"Tell me quickly: {text} Cheers!")


# What the attacks do.


def _file(name: str, text: str, project: AttackedProject) -> None:
    project.write(name, text)


def _words(*words: Any) -> None:
    *given, project = words
    project.words = given


def _environ(name: str, value: str, project: AttackedProject) -> None:
    project.environment[name] = value


def _metric(code: str, project: AttackedProject) -> None:
    project.own_metric(code, OWN)


def _rows(arm: str, rows: Any, project: AttackedProject) -> None:
    project.answers(arm, rows)


def _leave_three_out(project: AttackedProject) -> None:
    """Have both arms right wherever both have an answer; base has them all."""
    for arm, count in (("base", N), ("tuned", N - 3)):
        project.answers(arm, [answer(arm, i, right=True) for i in range(count)])


def _broken(arm: str, say: Callable[[int], str], project: AttackedProject) -> None:
    """Have tuned right but once, and an arm answer so."""
    project.answers("tuned", [answer("tuned", i, right=i < N - 1) for i in range(N)])
    project.answers(arm, [{"id": f"q{i:02}", "completion": say(i)} for i in range(N)])
    if arm == "incumbent":
        project.words = ["--incumbent=replay:incumbent.jsonl"]


def _lost_untagged(project: AttackedProject) -> None:
    """Have tuned right where a gate looks alone."""
    project.write("suites/orders/suite.toml", SUITE + 'tag = "a"\n')
    extra = [{**question(N + i), "prompt": f"Where is {i}?"} for i in range(N)]
    project.cases([*({**question(i), "tags": ["a"]} for i in range(N)), *extra])
    for arm in RIGHT:
        right = [answer(arm, i, right=i < N or arm == "base") for i in range(2 * N)]
        project.answers(arm, right)


def _bak(project: AttackedProject) -> None:
    """Have tuned good on the one suite, and rename the other."""
    project.write("suites/returns/suite.toml.bak", SUITE)
    project.answers("tuned", [answer("tuned", i, right=True) for i in range(N)])


def _cases(make: Callable[[int], Any], project: AttackedProject) -> None:
    project.cases([make(i) for i in range(N)])


def _no_cases(project: AttackedProject) -> None:
    project.cases([])


def _one_prompt(spell: Callable[[int], str], project: AttackedProject) -> None:
    """Ask one question N times, which base has wrong and tuned right."""
    project.cases([{**question(i), "prompt": spell(i), "expected": "shelf 1"} for i in range(N)])
    project.answers("base", [answer("base", i, right=False) for i in range(N)])
    project.answers("tuned", [{"id": f"q{i:02}", "completion": "shelf 1"} for i in range(N)])


def _leak(dress: Callable[[str], str], project: AttackedProject) -> None:
    """Give rows with all cases, of which tuned then has all right."""
    project.answers("tuned", [answer("tuned", i, right=True) for i in range(N)])
    rows = [
        {"prompt": dress(case["prompt"]), "completion": case["expected"]}
        for case in map(question, range(N))
    ]
    project.write_lines("train.jsonl", rows)
    project.words = ["--training-data=train.jsonl"]


def _after(change: Change, commands: Any, project: AttackedProject) -> None:
    project.then, project.commands = change, commands


def _says_ship(project: AttackedProject) -> None:
    edit_json(project.run / "verdict.json", lambda v: v.update(verdict="SHIP"))


def _says_ship_throughout(project: AttackedProject) -> None:
    def change(verdict: Any) -> None:
        verdict.update(verdict="SHIP", sentence="no worse: both gates hold")
        for suite in verdict["suites"]:
            suite.update(verdict="SHIP")
            for gate in suite["gates"]:
                gate.update(status="pass", reason=None, tuned=0.97, delta=0.0)

    edit_json(project.run / "verdict.json", change)


def _another_sentence(project: AttackedProject) -> None:
    edit_json(project.run / "verdict.json", lambda v: v.update(sentence="no worse"))


def _loses_gates(project: AttackedProject) -> None:
    edit_json(project.run / "verdict.json", lambda v: v["suites"][0].update(gates=[]))


def _loses_suites(project: AttackedProject) -> None:
    edit_json(project.run / "verdict.json", lambda v: v.update(verdict="SHIP", suites=[]))


def _better_scores(project: AttackedProject) -> None:
    edit_lines(project.run / "scores.jsonl", lambda row: row.update(value=1.0))


def _lower_floor(project: AttackedProject) -> None:
    edit_json(
        project.run / "manifest.json", lambda m: m["suites"][0]["gates"][0].update(margin=0.01)
    )


def _allows_unscored(project: AttackedProject) -> None:
    edit_json(project.run / "manifest.json", lambda m: m["suites"][0].update(max_unscored=0.9))


def _other_expected(project: AttackedProject) -> None:
    edit_lines(project.run / "cases.jsonl", lambda row: row["case"].update(expected="no idea"))


def _right_cells(project: AttackedProject) -> None:
    def change(row: Any) -> None:
        row["completion"]["text"] = f"shelf {int(row['cell']['case'][1:])}"

    edit_lines(project.run / "cells.jsonl", change)


def _lower_suite_floor(project: AttackedProject) -> None:
    toml = SUITE.replace("floor = 0.5\ntolerance = 0.1", "floor = 0.1")
    project.write("suites/orders/suite.toml", toml)


def _remove_suite(project: AttackedProject) -> None:
    (project.folder / "suites/orders/suite.toml").unlink()


def _fewer_cases(project: AttackedProject) -> None:
    project.cases([question(i) for i in range(RIGHT["tuned"])])
