"""Hostile suites: `python -m benchmarks.attacks.suites`.

Files that are built to hang a parser, to fill the memory, or to read what lies outside of the
project. Each must be refused in time and in lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from benchmarks.attacks.attempt import AttackAttempt, command_attempt, report
from benchmarks.attacks.project import AttackedProject

HEAD = 'name = "orders"\n[[metrics]]\nuse = "exact_match"\n'
TWICE = 'name = "o"\ncases = "cases.jsonl"\n'
Change = Callable[[AttackedProject], None]


def attempts() -> Iterator[AttackAttempt]:
    """Yield the attacks."""
    for name, change in {**_texts(), **_places(), **_case_files()}.items():
        yield command_attempt(name, ("suite", "check", "suites/orders"), change)


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
