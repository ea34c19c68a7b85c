"""Hostile suites: `python -m benchmarks.attacks.suites`.

Files that are built to hang a parser, to fill the memory, or to read what is outside of the
project. Each must be refused in time and in lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.attacks.attempt import AttackAttempt, command_attempt, report
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
        "a key of 120,000 quoted parts": _suite(HEAD + "'k'." * 120_000 + "b = 1\n"),
        "an array's name of 90,000 parts": _suite(HEAD + "[[" + "kk.\t" * 90_000 + "b]]\n"),
        "9,000 metrics": _suite(TWICE + HEAD[16:] * 9_000),
        "a sparse suite.toml of 40 GB": _sparse("suites/orders/suite.toml"),
        "an array that is 50,000 deep": _suite(HEAD + "a = " + "[" * 50_000 + "]" * 50_000),
        "an inline table that is 9,000 deep": _suite(HEAD + "a = " + "{b=" * 9_000 + "1"),
        "a number of 4 million digits": _suite(HEAD + "a = " + "9" * 4_000_000),
        "an exponent that fills the memory": _suite(HEAD.replace('"orders"', "1e999999999")),
        "a name with escape sequences": _suite(HEAD.replace("orders", "\\u001b[2J\\u0007x/../y")),
        "half of a surrogate pair": lambda project: (
            (project.folder / "suites/orders/suite.toml").write_bytes(b'name = "\xed\xa0\x80"\n')
            and None
        ),
        "16 bits a letter": lambda project: (
            (project.folder / "suites/orders/suite.toml").write_bytes(HEAD.encode("utf-16"))
            and None
        ),
    }


def _places() -> Mapping[str, Change]:
    return {
        "a CSV file above the project": _suite(_csv("./x/../../../../outside.csv")),
        "a CSV file by its absolute path": lambda project: _suite(
            _csv(str(project.folder.parent / "outside.csv"))
        )(project),
        "a CSV file behind a linked folder": _link,
        "cases behind a link": lambda project: _relink(project, "cases.jsonl"),
        "cases that are the suite's own folder": _suite(HEAD.replace("\n", '\ncases = "."\n', 1)),
        "cases from a device": _suite(HEAD.replace("\n", '\ncases = "/dev/zero"\n', 1)),
        "cases by an address": _suite(HEAD.replace("\n", '\ncases = "http://h.invalid/c"\n', 1)),
    }


def _case_files() -> Mapping[str, Change]:
    case = json.dumps({"id": "a", "prompt": "p", "expected": "x"})
    return {
        "a case that is 100,000 deep": _cases('{"id": ' + "[" * 100_000),
        "a sparse case file of 40 GB": _sparse("suites/orders/cases.jsonl"),
        "a case file without an end of line, 60 MB": _cases("x" * 60_000_000),
        "NUL bytes": _cases(b"\0" * 1000),
        "the same id 2,000 times": _cases((case + "\n") * 2_000),
        "an id that is a path": _cases(case.replace('"a"', '"../../../etc/passwd"') + "\n{"),
        "a number beyond every float": _cases(case.replace('"x"', "1e999")[:-1] + ', "y": NaN}'),
        "a key twice": _cases(case[:-1] + ', "id": "b"}\n'),
    }


def _newer() -> Mapping[str, Change]:
    """Return attacks by thoughts, templates, episodes and recorded answers."""
    resembles = 'name = "orders"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "resemblance"\n'
    secret = "../../../outside.csv"
    return {
        "one tag of thoughts": _generation('thinking_tags = ["<a>"]'),
        "tags of thoughts of 300 kB": _generation(f'thinking_tags = ["{"<" * 300_000}", ""]'),
        "a budget of thoughts of 10^18": _generation(f"thinking_budget = {10**18}"),
        "template variables that are 200 deep": _generation(
            "chat_template_kwargs = { a = " + "{ b = " * 200 + "1" + " }" * 201
        ),
        "template variables that replace the conversation": _generation(
            "chat_template_kwargs = { messages = [], conversation = [] }"
        ),
        "a chat template above the project": _generation(f'chat_template = "{secret}"'),
        "a chat template from a device": _generation('chat_template = "/dev/zero"'),
        "an environment above the project": _generation("", f'episode = "{secret}:Desk"\n'),
        "an environment that is a function of Python": _generation("", 'episode = "os:system"\n'),
        "an environment with 3,000 tools": _environment(
            "".join(f"    def t{i}(self): 'A tool.'\n" for i in range(3_000))
        ),
        "a tool's argument that ends the process": _environment(
            "    def t(self, a: int = exit(0)): 'A tool.'\n"
        ),
        "a tool that is 9,000 letters long": _environment(f"    def {'t' * 9000}(self): 'A.'\n"),
        "recorded answers above the project": _suite(resembles + f'recorded = "{secret}"\n'),
        "a case of 400,000 keys, the last one twice": _cases(_many_keys("id")),
        "a CSV header of 300,000 columns, the last one twice": _wide_table,
        "recorded answers from a device": _suite(resembles + 'recorded = "/dev/zero"\n'),
        "a pipe as suite.toml": _pipe("suites/orders/suite.toml"),
        "a pipe as cases": _pipe("suites/orders/cases.jsonl"),
        "a pipe as chat template": _pipe("suites/orders/t.jinja", 'chat_template = "t.jinja"'),
    }


def _pipe(name: str, line: str = "") -> Change:
    def change(project: AttackedProject) -> None:
        if line:
            _generation(line)(project)
        path = project.folder / name
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    return change


def _recorded() -> Mapping[str, Change]:
    """Return attacks by the recorded answers of tuned."""
    return {
        "a pipe as answers": _pipe("tuned.jsonl"),
        "answers that took 1e308 seconds": _answers(latency_s=1e308),
        "answers that cost 1e308 dollars": _answers(cost=1e308),
        "answers of 10^400 tokens": _answers(output_tokens=10**400),
    }


def _answers(**keys: Any) -> Change:
    return lambda project: edit_lines(project.folder / "tuned.jsonl", lambda row: row.update(keys))


def _many_keys(last: str) -> str:
    keys = ", ".join(f'"k{i}": 0' for i in range(400_000))
    return f'{{"id": "a", "prompt": "p", {keys}, "k399999": 1, "{last}": "b"}}\n'


def _wide_table(project: AttackedProject) -> None:
    project.write("suites/orders/t.csv", ",".join(f"c{i}" for i in range(300_000)) + ",c299999\n")
    project.write("suites/orders/suite.toml", _csv("t.csv"))


def _generation(line: str, head: str = "") -> Change:
    start = f'name = "orders"\ncases = "cases.jsonl"\n{head}[generation]\n{line}\n'
    return _suite(start + HEAD.partition("\n")[2])


def _environment(methods: str) -> Change:
    def change(project: AttackedProject) -> None:
        code = f"class Desk:\n{methods}    def reset(self, **row): ...\n"
        project.write("suites/orders/desk.py", code)
        toml = 'name = "orders"\ncases = "cases.jsonl"\nepisode = "desk.py:Desk"\n'
        project.write("suites/orders/suite.toml", toml + '[[metrics]]\nuse = "episode_pass"\n')

    return change


def _sparse(name: str) -> Change:
    def change(project: AttackedProject) -> None:
        with (project.folder / name).open("wb") as file:
            file.truncate(40 * 10**9)

    return change


def _link(project: AttackedProject) -> None:
    place = project.folder / "suites/orders/inner"
    place.symlink_to(project.folder.parent, target_is_directory=True)
    project.write("suites/orders/suite.toml", _csv("inner/outside.csv"))


def _relink(project: AttackedProject, name: str) -> None:
    path = project.folder / "suites/orders" / name
    path.unlink()
    path.symlink_to(project.folder.parent / "outside.csv")


def _csv(file: str) -> str:
    return f'{HEAD}[cases]\nfrom = "csv"\nfile = "{file}"\n'


if __name__ == "__main__":
    raise SystemExit(report(attempts())[1])
