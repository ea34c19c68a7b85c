"""The long proofs of a release: `make test-all`, which is `python -m benchmarks.test_all`.

Each part is a command of its own; all of them run, whatever an earlier one found. Duration and
result of each go into docs/reference/verification.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "verification.md"
BEGIN, END = "<!-- make test-all: begin -->\n", "<!-- make test-all: end -->\n"
_HEAD = "| part | minutes | result |\n|---|---|---|\n"


@dataclass(frozen=True, slots=True)
class Part:
    """One command, and the environment that it needs in addition to the usual one."""

    name: str
    words: tuple[str, ...]
    """Arguments of Python."""
    environment: Mapping[str, str]


_TESTS = ("-m", "pytest", "tests", "-q", "-n", "3", "--dist", "worksteal")
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}
PARTS = (
    Part("tests of `make test`", (*_TESTS, "-m", "not long"), _ONE_THREAD),
    Part("tests that take minutes", (*_TESTS, "-m", "long"), _ONE_THREAD),
    Part(
        "properties on 20 times the examples",
        (*_TESTS, "-m", "hypothesis", "--hypothesis-profile=many"),
        _ONE_THREAD,
    ),
    Part("error rates of every default", ("-m", "benchmarks.error_rates"), {}),
    Part("error rates of watch", ("-m", "benchmarks.watch_error_rates"), {}),
    Part("start-up", ("-m", "benchmarks.start_up"), {}),
    Part("lowest versions of every dependency", ("-m", "benchmarks.environments", "lowest"), {}),
    Part("highest versions of every dependency", ("-m", "benchmarks.environments", "highest"), {}),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts and write the page; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="benchmarks.test_all", description=__doc__)
    parser.add_argument("--only", default="", help="run the parts with this text in their name")
    only = parser.parse_args(argv).only
    rows = {part.name: run(part) for part in PARTS if only in part.name}
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")
    failed = [name for name, row in rows.items() if not row.endswith(" passed |")]
    print(*(f"failed: {name}" for name in failed), sep="\n")
    return int(bool(failed))


def run(part: Part) -> str:
    """Run a part; return its row of the table."""
    print(f"== {part.name}", flush=True)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, *part.words], cwd=ROOT, env={**os.environ, **part.environment}, check=False
    )
    minutes = (time.monotonic() - start) / 60
    result = "passed" if done.returncode == 0 else f"**exit code {done.returncode}**"
    return f"| {part.name} | {minutes:.1f} | {result} |"


def written(page: str, rows: Mapping[str, str]) -> str:
    """Return the page with these rows; those of parts that did not run stay.

    Raises:
        ValueError: the page has no table between its two marks.
    """
    before, begin, rest = page.partition(BEGIN)
    table, ended, after = rest.partition(END)
    if not (begin and ended):
        raise ValueError(f"{PAGE}: the marks {BEGIN!r} and {END!r} are missing")
    old = {line.split(" | ")[0][2:]: line for line in table.splitlines()[2:]}
    lines = [line for p in PARTS if (line := rows.get(p.name) or old.get(p.name))]
    return before + BEGIN + _HEAD + "".join(f"{line}\n" for line in lines) + END + after


if __name__ == "__main__":
    sys.exit(main())
