"""Attacks on the attempts ledger: `python -m benchmarks.attacks ledger`.

A suite that pays for attempts has judged a candidate. What the ledger says of it is then hidden,
edited, merged or put elsewhere, and the answer store is deleted, before the next verdict. An attack
is survived if the verdict counts the earlier one, names what is missing or changed, or refuses the
file in a line. A file that is only written in another way must still be counted.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.attacks.attempt import AttackAttempt, Outcome, last_word
from benchmarks.attacks.project import SUITE, AttackedProject, N, answer, edit_lines, question

LEDGER = "suites/tunegate.ledger.jsonl"
PAID = "alpha_per_attempt = true\n" + SUITE
COUNTED = "candidate 2 on this suite, judged at 1/2 of the error"
UNKNOWN = "does not know 1 stored run"
SEEDS = "judged this candidate before"
BROKEN = "tunegate.ledger.jsonl:2:"
UNREADABLE = "cannot be read"
Change = Callable[[AttackedProject], None]


def attempts() -> Iterator[AttackAttempt]:
    """Yield the attacks."""
    for message, changes in (
        (COUNTED, _same_file() | _same_suite()),
        (UNKNOWN, _hidden_lines()), (BROKEN, _broken_lines()), (UNREADABLE, _odd_files()),
    ):  # fmt: skip
        for name, change in changes.items():
            yield AttackAttempt(name, functools.partial(_gate_again, change, message))
    yield AttackAttempt("another seed", functools.partial(_looks, 1))
    yield AttackAttempt("three seeds, then a fourth", functools.partial(_looks, 3))
    yield AttackAttempt("six verdicts at once", _six_at_once)


@functools.cache
def _judged() -> Path:
    """Return a project whose suites `orders` and `returns` have judged a candidate."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-"))
    project = AttackedProject(folder)
    project.begin()
    project.write("pyproject.toml", "")
    project.write("suites/orders/suite.toml", PAID)
    project.write("suites/returns/suite.toml", PAID.replace("orders", "returns"))
    rows = [{**question(i), "id": f"r{i}", "prompt": f"Who returned parcel {i}?"} for i in range(N)]
    project.write_lines("suites/returns/cases.jsonl", rows)
    for arm in ("base", "tuned"):
        _both_suites(project, arm, [answer(arm, i) for i in range(N)])
    project.gate()
    return folder


def _both_suites(project: AttackedProject, arm: str, rows: list[dict[str, Any]]) -> None:
    project.answers(arm, [*rows, *({**row, "id": f"r{i}"} for i, row in enumerate(rows))])


def _copied(folder: str) -> AttackedProject:
    """Return a copy of the judged project, without its answer store."""
    place = Path(folder) / "project"
    shutil.copytree(_judged(), place)
    shutil.rmtree(place / ".tunegate")
    return AttackedProject(place)


def _good(project: AttackedProject) -> None:
    """Let the next candidate be a good one, with answers of its own."""
    _both_suites(project, "tuned", [answer("tuned", i, right=True) for i in range(N)])


def _gate_again(change: Change, message: str) -> Outcome:
    """Change something and gate `orders`; the output must say what is looked for."""
    with tempfile.TemporaryDirectory() as folder:
        project = _copied(folder)
        _good(project)
        change(project)
        done = _gate(project, "--run-dir=next")
        text = done.stdout + done.stderr
        survived = message in text and "Traceback" not in text and "Error" not in done.stderr
        if message in (BROKEN, UNREADABLE):
            survived = survived and done.returncode == 2
        shown = "said" if message in text else "NOT SAID"
        return survived, f"exit {done.returncode}, {shown}: {message}; {last_word(text):.60}"


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


def _text(change: Callable[[str], str]) -> Change:
    """Return what rewrites the ledger's text."""

    def rewrite(project: AttackedProject) -> None:
        path = project.folder / LEDGER
        path.write_bytes(change(path.read_text(encoding="utf-8")).encode())

    return rewrite


def _same_file() -> dict[str, Change]:
    """Return ledgers that are written, or were edited, so that the line must count all the same."""
    return {
        "nothing but the store deleted": lambda project: None,
        "line ends of Windows": _text(lambda text: text.replace("\n", "\r\n")),
        "lines three times": _text(lambda text: text * 3),
        "letters as escapes": _text(lambda text: text.replace('"orders"', '"\\u006frders"')),
        "a line with another seed": _lines(lambda row: row.update(seed=99)),
        "a line that passed": _lines(lambda row: row.update(verdict="SHIP")),
        "a line of another name and other cases": _lines(
            lambda row: row.update(suite="else", cases="0" * 64)
        ),
    }


def _same_suite() -> dict[str, Change]:
    """Return edits of the suite that leave it the same suite."""

    def rows(change: Callable[[int, str], dict[str, Any]], count: int = N) -> Change:
        cases = [{**question(i), **change(i, question(i)["prompt"])} for i in range(count)]
        return lambda project: project.cases(cases)

    def toml(old: str, new: str) -> Change:
        def edit(project: AttackedProject) -> None:
            project.write("suites/orders/suite.toml", PAID.replace(old, new))

        return edit

    return {
        "another gate": toml("tolerance = 0.1", "tolerance = 0.12"),
        "another name": toml('"orders"', '"orders-2026"'),
        "prompts with invisible letters": rows(lambda i, text: {"prompt": "\u200b".join(text)}),
        "half of the cases": rows(lambda i, text: {}, N // 2),
        "all prompts but one reworded": rows(
            lambda i, text: {"prompt": f"On which board is number {1000 + 7 * i}?"} if i else {}
        ),
    }


def _hidden_lines() -> dict[str, Change]:
    """Return ledgers that lack the run whose folder is there."""
    other = {"suite": "else", "cases": "0" * 64, "suite_sha256": "0" * 64}
    return {
        "no ledger": lambda project: (project.folder / LEDGER).unlink(),
        "its line deleted, and that of the run's other suite kept": _lines(lambda row: False),
        "its line under another suite's name and contents": _lines(lambda row: row.update(other)),
    }


def _broken_lines() -> dict[str, Change]:
    """Return ledgers whose second line cannot be read."""

    def second(line: str) -> Change:
        return _text(lambda text: text.replace("\n", f"\n{line}\n", 1))

    def changed(**fields: Any) -> Change:
        def change(text: str) -> str:
            first = text.splitlines()[0]
            return f"{first}\n{json.dumps({**json.loads(first), **fields})}\n"

        return _text(change)

    return {
        "a conflict of git": second("<<<<<<< HEAD"),
        "half a line": second('{"suite": "orders", "seed'),
        "a word where the number of cases belongs": changed(n_cases="many"),
        "a key of no known name": changed(attempts_reset=True),
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
    }


def _looks(count: int) -> Outcome:
    """Look at a part with so many seeds, then gate as ever, each time without a store."""
    with tempfile.TemporaryDirectory() as folder:
        project = _copied(folder)
        _good(project)
        for seed in range(1, count + 1):
            _gate(project, f"--run-dir=look{seed}", "--max-cases=59", f"--seed={seed}")
            shutil.rmtree(project.folder / ".tunegate")
        done = _gate(project, "--run-dir=next")
        wanted = SEEDS if count == 1 else f"{SEEDS}, {count} times"
        return wanted in done.stdout, f"exit {done.returncode}: {last_word(done.stdout):.90}"


def _six_at_once() -> Outcome:
    """Gate six candidates at once, each with a store of its own; each must add a line."""
    with tempfile.TemporaryDirectory() as folder:
        project = _copied(folder)
        before = len((project.folder / LEDGER).read_bytes().splitlines())
        for number in range(6):
            rows = [answer("tuned", i, right=i != number) for i in range(N)]
            project.answers(f"tuned{number}", rows)

        def gate(number: int) -> int:
            return project.tunegate(
                "gate", "suites/orders", "--base=replay:base.jsonl", "--cases=shared",
                f"--tuned=replay:tuned{number}.jsonl", f"--run-dir=at{number}",
                f"--store=store{number}.sqlite",
            ).returncode  # fmt: skip

        with ThreadPoolExecutor(6) as pool:
            exits = list(pool.map(gate, range(6)))
        lines = (project.folder / LEDGER).read_bytes().splitlines()
        whole = all(isinstance(json.loads(line), dict) for line in lines)
        return whole and len(lines) == before + 6, f"{len(lines) - before} lines, exits {exits}"
