"""Attacks on the attempts ledger: `python -m benchmarks.attacks.ledger`.

A suite that pays for attempts has judged a candidate. What the ledger says of it is then hidden,
edited, merged or put elsewhere, and the answer store is deleted, before the next verdict. An attack
is survived if the verdict counts the earlier one, names what is missing or changed, or refuses the
file in a line. A file that is only written in another way must still be counted.
"""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.attacks.attempt import AttackAttempt, Outcome, last_word, report
from benchmarks.attacks.project import SUITE, AttackedProject, N, answer, edit_lines, question

LEDGER = "suites/tunegate.ledger.jsonl"
PAID = "alpha_per_attempt = true\n"
FRESH = "has no earlier verdict on these cases"
UNKNOWN = "does not know 1 stored run"
EDITED = "of this suite, with about the same prompts, judged this candidate before"
COUNTED = "candidate 2 on this suite, judged at 1/2 of the error"
SEEDS = "judged this candidate before"
MEANWHILE = "since this one began"
BROKEN = "tunegate.ledger.jsonl:2:"
Change = Callable[[AttackedProject], None]


def attempts() -> Iterator[AttackAttempt]:
    """Yield the attacks."""
    for told, found in (
        (COUNTED, _other_spellings() | _other_suites()),
        (COUNTED, _edited_lines()),
        (FRESH, _fresh_suites()),
        (UNKNOWN, _hidden_lines()),
        (BROKEN, _broken_lines()),
        ("cannot be read", _odd_files()),
    ):
        for name, change in found.items():
            yield AttackAttempt(name, functools.partial(_gate_again, change, told))
    for name, change in _other_answers().items():
        yield AttackAttempt(name, functools.partial(_gate_again, change, EDITED, same=True))
    yield AttackAttempt("another seed", functools.partial(_looks, ["--seed=7"]))
    yield AttackAttempt(
        "looks with three seeds, then a verdict with a fourth",
        functools.partial(_looks, *(["--max-cases=59", f"--seed={n}"] for n in (1, 2, 3))),
    )
    yield AttackAttempt("a clock that was set back, and a second verdict", _clock_set_back)
    yield AttackAttempt("two candidates at once, each with a store of its own", _two_at_once)
    yield AttackAttempt("six verdicts at once", _six_at_once)


@functools.cache
def _judged() -> Path:
    """Return a project whose suites `orders` and `returns` have judged a candidate."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-"))
    project = AttackedProject(folder)
    project.begin()
    project.write("pyproject.toml", "")
    project.write("suites/orders/suite.toml", PAID + SUITE)
    project.write("suites/returns/suite.toml", PAID + SUITE.replace("orders", "returns"))
    rows = [{**question(i), "id": f"r{i}", "prompt": f"Who returned parcel {i}?"} for i in range(N)]
    project.write_lines("suites/returns/cases.jsonl", rows)
    for arm in ("base", "tuned"):
        own = [answer(arm, i) for i in range(N)]
        project.answers(arm, [*own, *({**row, "id": f"r{i}"} for i, row in enumerate(own))])
    project.gate()
    return folder


def _copied(folder: str) -> AttackedProject:
    """Return a copy of the judged project, without its answer store."""
    place = Path(folder) / "project"
    shutil.copytree(_judged(), place)
    shutil.rmtree(place / ".tunegate")
    return AttackedProject(place)


def _good(project: AttackedProject) -> None:
    """Let the next candidate be a good one, with answers of its own."""
    own = [answer("tuned", i, right=True) for i in range(N)]
    project.answers("tuned", [*own, *({**row, "id": f"r{i}"} for i, row in enumerate(own))])


def _gate_again(change: Change, told: str, *, same: bool = False) -> Outcome:
    """Change something and gate `orders`; the output must say what is looked for."""
    with tempfile.TemporaryDirectory() as folder:
        project = _copied(folder)
        if not same:
            _good(project)
        change(project)
        done = _gate(project, "--run-dir=next")
        text = done.stdout + done.stderr
        survived = told in text and "Traceback" not in text and "Error" not in done.stderr
        if told in (BROKEN, "cannot be read"):
            survived = survived and done.returncode == 2
        found = "said" if told in text else "NOT SAID"
        return survived, f"exit {done.returncode}, {found}: {told}; {last_word(text):.60}"


def _gate(project: AttackedProject, *words: str) -> subprocess.CompletedProcess[str]:
    suite = next((project.folder / "suites").rglob("orders*/suite.toml")).parent
    arms = [f"--{arm}=replay:{arm}.jsonl" for arm in ("base", "tuned")]
    place = str(suite.relative_to(project.folder))
    return project.tunegate("gate", place, *arms, "--cases=shared", *words)


def _lines(change: Callable[[dict[str, Any]], Any]) -> Change:
    """Return what edits the lines about `orders`."""

    def edit(row: dict[str, Any]) -> Any:
        return change(row) if row["suite"] == "orders" else None

    return lambda project: edit_lines(project.folder / LEDGER, edit)


def _text(change: Callable[[str], str | bytes]) -> Change:
    """Return what rewrites the ledger's text."""

    def rewrite(project: AttackedProject) -> None:
        path = project.folder / LEDGER
        new = change(path.read_text(encoding="utf-8"))
        path.write_bytes(new if isinstance(new, bytes) else new.encode())

    return rewrite


def _other_spellings() -> dict[str, Change]:
    """Return files that mean the same."""

    def shuffled(text: str) -> str:
        lines = text.splitlines(keepends=True) * 3
        random.Random(0).shuffle(lines)
        return "".join(lines)

    def reordered(text: str) -> str:
        rows = [json.loads(line) for line in text.splitlines()]
        return "".join("  " + json.dumps(dict(reversed(row.items()))) + " \t\n\n" for row in rows)

    return {
        "nothing but the store deleted": lambda project: None,
        "line ends of Windows": _text(lambda text: text.replace("\n", "\r\n")),
        "lines three times, in another order": _text(shuffled),
        "no line end at the end": _text(str.rstrip),
        "keys in another order, blanks around": _text(reordered),
        "letters as escapes": _text(lambda text: text.replace('"orders"', '"\\u006frders"')),
        "45 MB of lines of other suites": _text(
            lambda text: text + _foreign(text.splitlines()[0], 45_000_000)
        ),
        "a line of 9 MB": _text(lambda text: text + _foreign(text.splitlines()[0], 0, 9_000_000)),
    }


def _foreign(line: str, size: int, longest: int = 8) -> str:
    """Return lines of other suites, of so many bytes together."""
    row, rows, written = json.loads(line), [], 0
    number = 0
    while written <= size:
        number += 1
        cases = "".join(f"{random.Random(number * 64 + k).getrandbits(32):08x}" for k in range(64))
        more = {"suite": f"other {number}", "suite_sha256": f"{number:064}", "cases": cases}
        rows.append(json.dumps({**row, **more, "run_id": "x" * longest}) + "\n")
        written += len(rows[-1])
    return "".join(rows)


def _other_suites() -> dict[str, Change]:
    """Return edits of the suite that leave it the same suite."""

    def rows(change: Callable[[int, dict[str, Any]], Any], count: int = N) -> Change:
        def edit(project: AttackedProject) -> None:
            project.cases([{**question(i), **change(i, question(i))} for i in range(count)])

        return edit

    def prompts(spell: Callable[[str], str]) -> Change:
        return rows(lambda i, case: {"prompt": spell(case["prompt"])})

    def toml(old: str, new: str) -> Change:
        def edit(project: AttackedProject) -> None:
            project.write("suites/orders/suite.toml", (PAID + SUITE).replace(old, new))

        return edit

    return {
        "another gate": toml("tolerance = 0.1", "tolerance = 0.12"),
        "another metric beside it": toml("[[gates]]", '[[metrics]]\nuse = "length"\n\n[[gates]]'),
        "another name": toml('"orders"', '"orders-2026"'),
        "prompts in capitals": prompts(str.upper),
        "prompts with invisible letters": prompts("\u200b".join),
        "prompts in lookalikes": prompts(lambda text: text.replace("e", "е").replace("a", "а")),
        "prompts with doubled blanks and signs": prompts(
            lambda text: text.replace(" ", "  ") + "?"
        ),
        "half of the cases": rows(lambda i, case: {}, N // 2),
        "all prompts but one reworded": rows(
            lambda i, case: {"prompt": f"On which board is number {1000 + 7 * i}?"} if i else {}
        ),
        "a third of the cases replaced, under another name": _renamed(40),
        "expected answers in capitals": rows(
            lambda i, case: {"expected": case["expected"].upper()}
        ),
    }


def _renamed(kept: int) -> Change:
    """Return what renames the suite and keeps so many of 60 cases."""

    def change(project: AttackedProject) -> None:
        project.write("suites/orders/suite.toml", (PAID + SUITE).replace('"orders"', '"shelves"'))
        other = [
            {**question(i), "prompt": f"Where is board {1000 + 7 * i} of the long hall?"}
            for i in range(kept, N)
        ]
        project.cases([*map(question, range(kept)), *other])

    return change


def _edited_lines() -> dict[str, Change]:
    """Return lines that were edited by hand and must count all the same."""
    return {
        "a line with another seed": _lines(lambda row: row.update(seed=99)),
        "a line of the year 9999": _lines(lambda row: row.update(judged="9999-01-01T00:00:00")),
        "a line of no time": _lines(lambda row: row.update(judged="")),
        "a line that passed": _lines(lambda row: row.update(verdict="SHIP")),
        "a line of another run": _lines(lambda row: row.update(run_id="elsewhere")),
        "a line of a look": _lines(lambda row: row.update(whole=False)),
        "a line without cases": _lines(lambda row: row.update(cases="", n_cases=0)),
        "a line of another name and other cases": _lines(
            lambda row: row.update(suite="else", cases="0" * 64)
        ),
    }


def _fresh_suites() -> dict[str, Change]:
    """Return suites that cannot be known again; the verdict names that they are new."""

    def reworded(project: AttackedProject) -> None:
        project.cases(
            [{**question(i), "prompt": f"Board of number {1000 + 7 * i}?"} for i in range(N)]
        )

    def elsewhere(project: AttackedProject) -> None:
        place = project.folder / "suites/deep/orders"
        place.parent.mkdir()
        shutil.move(project.folder / "suites/orders", place)
        project.write("suites/deep/tunegate.ledger.jsonl", "")

    def linked(project: AttackedProject) -> None:
        place = project.folder / "hidden/deep/orders"
        place.parent.mkdir(parents=True)
        shutil.move(project.folder / "suites/orders", place)
        (project.folder / "suites/orders").symlink_to(place)

    def foreign(project: AttackedProject) -> None:
        path = project.folder / LEDGER
        path.write_text(_foreign(path.read_text(encoding="utf-8").splitlines()[0], 9_000))

    return {
        "every prompt reworded": reworded,
        "case overlap below a half, under another name": _renamed(33),
        "an empty ledger nearer to the suite": elsewhere,
        "a suite behind a link": linked,
        "the ledger of another project": foreign,
        "an empty ledger": _text(lambda text: ""),
    }


def _hidden_lines() -> dict[str, Change]:
    """Return ledgers that lack the run whose folder is there."""
    return {
        "no ledger": lambda project: (project.folder / LEDGER).unlink(),
        "its line deleted, and that of the run's other suite kept": _lines(lambda row: False),
        "its line under the name and the contents of another suite": _lines(
            lambda row: row.update(suite="else", cases="0" * 64, suite_sha256="0" * 64)
        ),
        "its line with the hash of another version": _lines(
            lambda row: row.update(suite_sha256="0" * 64)
        ),
    }


def _broken_lines() -> dict[str, Change]:
    """Return ledgers whose second line cannot be read."""

    def second(line: str) -> Change:
        return _text(lambda text: text.replace("\n", f"\n{line}\n", 1))

    def changed(**fields: Any) -> Change:
        def change(text: str) -> str:
            first = text.splitlines()[0]
            return f"{first}\n" + json.dumps({**json.loads(first), **fields}) + "\n"

        return _text(change)

    return {
        "a conflict of git": second("<<<<<<< HEAD"),
        "a conflict of git in three parts": second("||||||| 1a2b3c"),
        "two lines in one": _text(lambda text: f"\n{text.splitlines()[0] * 2}\n"),
        "half a line": second('{"suite": "orders", "seed'),
        "zero bytes": second("\0" * 500),
        "another encoding": _text(
            lambda text: f"\n{text}".replace("orders", "é").encode("latin-1")
        ),
        "a number of cases that is none": changed(n_cases="many"),
        "a seed without end": second('{"suite": "orders", "seed": 1e999}'),
        "a verdict of no known name": changed(verdict="MAYBE"),
        "a key of no known name": changed(attempts_reset=True),
        "minus one attempts": changed(attempt=-1),
        "10^400 attempts": changed(attempt=10**400),
        "100,000 brackets": second("[" * 100_000),
    }


def _odd_files() -> dict[str, Change]:
    def replaced(make: Callable[[Path], object]) -> Change:
        def change(project: AttackedProject) -> None:
            path = project.folder / LEDGER
            path.unlink()
            make(path)

        return change

    return {
        "a pipe": replaced(os.mkfifo),
        "a link to a device": replaced(lambda path: path.symlink_to("/dev/zero")),
        "60 MB": _text(lambda text: text + " " * 60_000_000 + "\n"),
    }


def _other_answers() -> dict[str, Change]:
    """Return edits for the candidate that was judged: its wrong answers become right ones."""

    def relabelled(project: AttackedProject) -> None:
        project.cases(
            [{**question(i), **({"expected": "no idea"} if i > 11 else {})} for i in range(N)]
        )

    def replaced(project: AttackedProject) -> None:
        easy = [
            {**question(i), "prompt": f"Is there a shelf {i} in hall {i}?", "expected": "no idea"}
            for i in range(N - 6, N)
        ]
        project.cases([*map(question, range(N - 6)), *easy])

    def lowered(project: AttackedProject) -> None:
        toml = SUITE.replace("floor = 0.5\ntolerance = 0.1", "floor = 0.1")
        project.write("suites/orders/suite.toml", PAID + toml)

    return {
        "other expected answers for the same candidate": relabelled,
        "a tenth of the cases replaced for the same candidate": replaced,
        "a lower floor for the same candidate": lowered,
    }


def _looks(*looks: Sequence[str]) -> Outcome:
    """Gate a new candidate with other words first, then as ever, each time without a store."""
    with tempfile.TemporaryDirectory() as folder:
        project = _copied(folder)
        _good(project)
        for number, words in enumerate(looks):
            _gate(project, f"--run-dir=look{number}", *words)
            shutil.rmtree(project.folder / ".tunegate")
        done = _gate(project, "--run-dir=next")
        wanted = SEEDS if len(looks) == 1 else f"{SEEDS}, {len(looks)} times"
        return wanted in done.stdout, f"exit {done.returncode}: {last_word(done.stdout):.90}"


def _clock_set_back() -> Outcome:
    """Judge a second candidate, date its line to 1970, and judge it again."""
    with tempfile.TemporaryDirectory() as folder:
        project = _copied(folder)
        _good(project)
        for run in ("second", "third"):
            done = _gate(project, f"--run-dir={run}")
            shutil.rmtree(project.folder / ".tunegate")
            edit_lines(
                project.folder / LEDGER,
                lambda row: row.update(judged="1970") if row["run_id"] == "second" else None,
            )
        return COUNTED in done.stdout, f"exit {done.returncode}: {last_word(done.stdout):.90}"


def _at_once(project: AttackedProject, count: int) -> list[subprocess.CompletedProcess[str]]:
    """Gate so many candidates at once, each with a store of its own."""
    for number in range(count):
        rows = [{**answer("tuned", i, right=i != number)} for i in range(N)]
        project.answers(f"tuned{number}", rows)

    def gate(number: int) -> subprocess.CompletedProcess[str]:
        return project.tunegate(
            "gate", "suites/orders", "--base=replay:base.jsonl",
            f"--tuned=replay:tuned{number}.jsonl", "--cases=shared", f"--run-dir=at{number}",
            f"--store=store{number}.sqlite",
        )  # fmt: skip

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(gate, range(count)))


def _two_at_once() -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        project = _copied(folder)
        done = _at_once(project, 2)
        said = [
            MEANWHILE in one.stderr or "candidate 3 on this suite" in one.stdout for one in done
        ]
        return any(said), f"exits {[one.returncode for one in done]}, named by {sum(said)} of 2"


def _six_at_once() -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        project = _copied(folder)
        before = len((project.folder / LEDGER).read_bytes().splitlines())
        done = _at_once(project, 6)
        lines = (project.folder / LEDGER).read_bytes().splitlines()
        whole = all(isinstance(json.loads(line), Mapping) for line in lines)
        exits = [one.returncode for one in done]
        return whole and len(lines) == before + 6, f"{len(lines) - before} lines, exits {exits}"


if __name__ == "__main__":
    sys.exit(report(attempts())[1])
