"""Hostile suites: `python -m benchmarks.attacks suites`.

Files that are built to hang a parser, to fill the memory, or to read what is outside of the
project. Each must be refused in time and in lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.attacks.attempt import AttackAttempt, command_attempt
from benchmarks.attacks.project import AttackedProject, edit_lines

HEAD = 'name = "orders"\n[[metrics]]\nuse = "exact_match"\n'
TWICE = 'name = "o"\ncases = "cases.jsonl"\n'
GATE = ("gate", "suites", "--base=replay:base.jsonl", "--tuned=replay:tuned.jsonl")
Change = Callable[[AttackedProject], None]


def attempts() -> Iterator[AttackAttempt]:
    """Yield the attacks."""
    for name, change in {**_texts(), **_places(), **_case_files(), **_newer()}.items():
        yield command_attempt(name, ("suite", "check", "suites/orders"), change)
    for name, change in _recorded().items():
        yield command_attempt(name, GATE, change)


def _suite(text: str) -> Change:
    def change(project: AttackedProject) -> None:
        project.write("suites/orders/suite.toml", text)

    return change


def _cases(text: str | bytes) -> Change:
    def change(project: AttackedProject) -> None:
        raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        (project.folder / "suites/orders/cases.jsonl").write_bytes(raw)

    return change


def _texts() -> Mapping[str, Change]:
    return {
        "a sparse suite.toml of 40 GB": _sparse("suites/orders/suite.toml"),
        "a number of 4 million digits": _suite(HEAD + "a = " + "9" * 4_000_000),
        "a name with escape sequences": _suite(HEAD.replace("orders", "\\u001b[2J\\u0007x/../y")),
    }


def _places() -> Mapping[str, Change]:
    return {
        "a CSV file above the project": _suite(_csv("./x/../../../../outside.csv")),
        "a CSV file behind a linked folder": _link,
        "cases from a device": _suite(HEAD.replace("\n", '\ncases = "/dev/zero"\n', 1)),
    }


def _case_files() -> Mapping[str, Change]:
    case = json.dumps({"id": "a", "prompt": "p", "expected": "x"})
    return {
        "a sparse case file of 40 GB": _sparse("suites/orders/cases.jsonl"),
        "a case file without an end of line, 60 MB": _cases("x" * 60_000_000),
        "an id that is a path": _cases(case.replace('"a"', '"../../../etc/passwd"') + "\n{"),
    }


def _newer() -> Mapping[str, Change]:
    """Return attacks by thoughts, templates, episodes and recorded answers."""
    resembles = 'name = "orders"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "resemblance"\n'
    secret = "../../../outside.csv"
    return {
        "template variables that are 200 deep": _generation(
            "chat_template_kwargs = { a = " + "{ b = " * 200 + "1" + " }" * 201
        ),
        "a chat template above the project": _generation(f'chat_template = "{secret}"'),
        "an environment that is a function of Python": _generation("", 'episode = "os:system"\n'),
        "recorded answers above the project": _suite(resembles + f'recorded = "{secret}"\n'),
        "a pipe as suite.toml": _pipe("suites/orders/suite.toml"),
    }


def _pipe(name: str) -> Change:
    def change(project: AttackedProject) -> None:
        path = project.folder / name
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    return change


def _recorded() -> Mapping[str, Change]:
    """Return attacks by the recorded answers of tuned."""
    return {
        "a pipe as answers": _pipe("tuned.jsonl"),
        "answers that took 1e308 seconds": _answers(latency_s=1e308),
        "answers of 10^400 tokens": _answers(output_tokens=10**400),
    }


def _answers(**keys: Any) -> Change:
    return lambda project: edit_lines(project.folder / "tuned.jsonl", lambda row: row.update(keys))


def _generation(line: str, head: str = "") -> Change:
    start = f'name = "orders"\ncases = "cases.jsonl"\n{head}[generation]\n{line}\n'
    return _suite(start + HEAD.partition("\n")[2])


def _sparse(name: str) -> Change:
    def change(project: AttackedProject) -> None:
        with (project.folder / name).open("wb") as file:
            file.truncate(40 * 10**9)

    return change


def _link(project: AttackedProject) -> None:
    place = project.folder / "suites/orders/inner"
    place.symlink_to(project.folder.parent, target_is_directory=True)
    project.write("suites/orders/suite.toml", _csv("inner/outside.csv"))


def _csv(file: str) -> str:
    return f'{HEAD}[cases]\nfrom = "csv"\nfile = "{file}"\n'
