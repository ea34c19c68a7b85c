"""Mutation testing by sample: `python -m benchmarks.mutation_sample`.

Each mutant of `mutants.toml` is one small defect. It is put into a copy of the tree, the tests that
should notice it run there, and the line is restored. A mutant is killed if a test fails or the time
limit passes; printed are the mutants one by one and the share that was killed. Run `--check` first:
a test that fails, or is too slow, without any mutant kills every mutant.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).with_name("mutants.toml")
SOURCES = ("harness", "reports", "suites", "trainers")
PYTEST = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow")
OUTCOMES = {0: "survived", 1: "killed"}
"""Exit code of pytest → outcome; any other code is an error of the mutant's definition."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One defect: a text of a file, its replacement, and the tests that should fail."""

    area: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def not_applicable(self, tree: Path) -> str | None:
        """Return why the mutant does not fit a tree; None if it does."""
        path = tree / self.file
        found = path.read_text(encoding="utf-8").count(self.old) if path.is_file() else 0
        if found != 1:
            return f"its text occurs {found} times in {self.file}"
        missing = [test for test in self.tests if not (tree / test).exists()]
        return f"no {missing[0]}" if missing else None


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one mutant, with an explanation where it needs one."""

    mutant: Mutant
    outcome: str
    detail: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the outcome of every mutant; return 1 if one survived or could not be tested."""
    parser = argparse.ArgumentParser(prog="benchmarks.mutation_sample", description=__doc__)
    parser.add_argument("--tree", type=Path, default=ROOT, help="git checkout to mutate")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tested at the same time")
    parser.add_argument("--only", metavar="NAME", help="test this mutant alone")
    parser.add_argument("--limit", type=float, default=180, help="seconds for each mutant")
    parser.add_argument("--check", action="store_true", help="run the tests without any mutant")
    options = parser.parse_args(argv)
    chosen = [m for m in load() if options.only in (None, m.name)]
    if not chosen:
        parser.error(f"no mutant is called {options.only!r}")
    tree = options.tree.resolve()
    if options.check:
        return check(chosen, tree, limit=options.limit)
    results = measure(chosen, tree, jobs=options.jobs, limit=options.limit)
    print_rates(results)
    return int(any(r.outcome in ("survived", "error") for r in results))


def load(path: Path = DATA) -> tuple[Mutant, ...]:
    """Return the mutants of a data file: one array of tables for each area."""
    areas = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(
        Mutant(area=area, tests=tuple(row.pop("tests")), **row)
        for area, rows in areas.items()
        for row in rows
    )


def check(mutants: Sequence[Mutant], tree: Path, *, limit: float) -> int:
    """Print which mutants do not fit the tree and which of their tests fail; return 1 if any."""
    problems = [f"{m.name}: {why}" for m in mutants if (why := m.not_applicable(tree))]
    with tempfile.TemporaryDirectory() as folder:
        copy_tree(tree, Path(folder))
        for tests in sorted({m.tests for m in mutants if m.not_applicable(tree) is None}):
            code, output = run_tests(Path(folder), tests, limit)
            if code != 0:
                problems.append(f"{' '.join(tests)}: {_explanation(code, output)}")
    print("\n".join(problems) or f"{len(mutants)} mutants fit, and their tests pass without them")
    return int(bool(problems))


def measure(mutants: Sequence[Mutant], tree: Path, *, jobs: int, limit: float) -> list[Result]:
    """Test mutants in `jobs` copies of a tree; print each result as it is known."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(min(jobs, len(mutants))):
            copies.put(copy_tree(tree, Path(folder) / str(number)))

        def test(mutant: Mutant) -> Result:
            copy = copies.get()
            try:
                return run_mutant(mutant, copy, limit)
            finally:
                copies.put(copy)

        pool = ThreadPoolExecutor(jobs)
        try:
            for future in as_completed([pool.submit(test, mutant) for mutant in mutants]):
                result = future.result()
                results.append(result)
                print(f"{result.outcome:<15} {result.mutant.name:<36} {result.detail}", flush=True)
        finally:
            pool.shutdown(cancel_futures=True)
    return results


def copy_tree(tree: Path, target: Path) -> Path:
    """Copy the files that git tracks or would add, and compile the sources; return `target`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=tree, check=True, capture_output=True).stdout
    for name in sorted({os.fsdecode(name) for name in listed.split(b"\0") if name}):
        if (tree / name).exists():  # a link to a folder too: src/tunegate has one to each package
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tree / name, target / name, follow_symlinks=False)
    # Byte code that is checked by time and size would outlive an edit within the same second.
    checked = py_compile.PycInvalidationMode.CHECKED_HASH
    for name in SOURCES:
        compileall.compile_dir(target / name, quiet=2, invalidation_mode=checked)
    return target


def run_mutant(mutant: Mutant, copy: Path, limit: float) -> Result:
    """Apply a mutant to a copy of the tree, run its tests, and restore the file."""
    why = mutant.not_applicable(copy)
    if why is not None:
        return Result(mutant, "not applicable", why)
    path = copy / mutant.file
    original = path.read_text(encoding="utf-8")
    path.write_text(original.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        code, output = run_tests(copy, mutant.tests, limit)
    finally:
        path.write_text(original, encoding="utf-8")
    if code is None:
        return Result(mutant, "killed", _explanation(code, output))
    if code in OUTCOMES:
        return Result(mutant, OUTCOMES[code])
    return Result(mutant, "error", _explanation(code, output))


def run_tests(copy: Path, tests: Sequence[str], limit: float) -> tuple[int | None, str]:
    """Return pytest's exit code and output in a copy of the tree; None past the time limit."""
    # PYTHONPATH precedes an editable install of this repository.
    paths = [str(copy / "src"), str(copy), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        [sys.executable, *PYTEST, *tests],
        cwd=copy,
        env={"OMP_WAIT_POLICY": "PASSIVE"} | os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # the time limit ends the processes that tests start as well
    )
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, f"more than {limit:g} s"
    return process.returncode, output


def _explanation(code: int | None, output: str) -> str:
    lines = output.strip().splitlines()
    last = lines[-1] if lines else "no output"
    return f"timeout: {last}" if code is None else f"pytest ended with {code}: {last}"


def print_rates(results: Sequence[Result]) -> None:
    """Print how many mutants were killed, by area and in all; those that do not fit are no part."""
    print()
    areas = dict.fromkeys(result.mutant.area for result in results)
    groups = {area: [r for r in results if r.mutant.area == area] for area in sorted(areas)}
    for area, group in {**groups, "all": results}.items():
        tested = [r for r in group if r.outcome in OUTCOMES.values()]
        killed = sum(r.outcome == "killed" for r in tested)
        share = f"{killed / len(tested):.0%}" if tested else "–"
        print(f"{area:<15} {killed:>3} of {len(tested):>3} killed  {share:>5}")


if __name__ == "__main__":
    sys.exit(main())
