"""Both ends of the dependency ranges: the tests where every package is as old, or new, as allowed.

    python -m benchmarks.environments lowest
    python -m benchmarks.environments highest
    python -m benchmarks.environments lowest --keep tests/stats tests/gates

`lowest` takes the lowest version of every dependency that pyproject.toml names, `highest` the
newest of each; neither reads dev-constraints.txt, but for torch, whose builds for CPUs are not on
every index. Tools of development are the newest in both.

Each makes its environment in `.venv-NAME`, prints the versions that are not the pinned ones, and
runs the tests that are neither `slow` nor `long`. Files and folders after the name run those alone;
with `--keep` in the environment that is there, so that the tests can be run in parts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "dev-constraints.txt"
EXTRAS = ("all", "proxy")
_TOOLS = "tools"
"""Group of pyproject.toml without the server of Transformers, which `dev` pins."""
_PYTEST = ("-m", "pytest", "-q", "-n", "3", "--dist", "worksteal", "-p", "no:cacheprovider")
_OLD = ("-W", "default::DeprecationWarning", "-W", "default::ResourceWarning")
"""What old packages say of newer ones that they call is nobody's error here; datasets before 5
leaves the CSV files open that it has read.
"""
_BYTES = (
    "--ignore=tests/test_frozen_runs.py",
    "--deselect=tests/test_docs_reference.py::test_the_page_is_fresh[make_cli]",
)
"""Tests of files that have the same bytes with the pinned versions alone: another scipy changes the
last digit of a confidence, another typer the brackets of a usage line."""
TESTS = {
    "lowest": ("-m", "not slow and not long", *_BYTES, *_OLD),
    "highest": ("-m", "not slow and not long", *_BYTES),
}
"""Environment → which tests are run in it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Make the environment, print how it differs from the pinned one, run the tests."""
    parser = argparse.ArgumentParser(prog="benchmarks.environments", description=__doc__)
    parser.add_argument("name", choices=list(TESTS))
    parser.add_argument("tests", nargs="*", default=["tests"], help="files or folders to run")
    parser.add_argument("--no-tests", action="store_true", help="make the environment alone")
    parser.add_argument("--keep", action="store_true", help="use the environment that is there")
    parsed = parser.parse_intermixed_args(argv)
    python = _python(parsed.name) if parsed.keep else make(parsed.name)
    if not Path(python).is_file():
        parser.error(f"no environment in {python}: run without --keep first")
    print(*differences(_output(python, "-m", "pip", "freeze")), sep="\n", flush=True)
    if parsed.no_tests:
        return 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [python, *_PYTEST, *parsed.tests, *TESTS[parsed.name]]
    return subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode


def make(name: str) -> str:
    """Return the Python of a new environment in which this project is installed."""
    folder = ROOT / f".venv-{name}"
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    python = _python(name)
    # Most files are never imported; Python compiles the others when they are.
    pip = (python, "-m", "pip", "install", "--quiet", "--no-compile")
    subprocess.run([*pip, "--upgrade", "pip>=25.1", "uv>=0.8"], cwd=ROOT, check=True)
    constraints = folder / "constraints.txt"
    constraints.write_text(_resolve(python, folder, lowest=name == "lowest"), encoding="utf-8")
    editable = f".[{','.join(EXTRAS)}]"
    words = [*pip, "--editable", editable, "--group", _TOOLS, "--constraint", str(constraints)]
    subprocess.run(words, cwd=ROOT, check=True)
    return python


def _python(name: str) -> str:
    return str(ROOT / f".venv-{name}" / "bin" / "python")


def _resolve(python: str, folder: Path, *, lowest: bool) -> str:
    """Return one version of every package: those of this project's own dependencies, and tools."""
    fixed = folder / "fixed.txt"
    fixed.write_text(_pin("torch"), encoding="utf-8")
    compiled = (
        *("-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
        *("--constraint", str(fixed), "pyproject.toml"),
        *(word for extra in EXTRAS for word in ("--extra", extra)),
    )
    if lowest:
        fixed.write_text(_output(python, *compiled, "--resolution", "lowest-direct"), "utf-8")
    return _output(python, *compiled, "--group", _TOOLS)


def _pin(package: str) -> str:
    """Return the line of dev-constraints.txt that pins a package."""
    lines = PINS.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith(f"{package}=="))


def differences(installed: str) -> Iterable[str]:
    """Yield `package: installed (pinned)` for each of the pinned packages that differs."""
    pinned = _versions(PINS.read_text(encoding="utf-8"))
    for name, version in sorted(_versions(installed).items()):
        if name in pinned and pinned[name] != version:
            yield f"{name}: {version} (pinned: {pinned[name]})"


def _versions(text: str) -> dict[str, str]:
    """Return package → version, of lines such as `numpy==2.4.6; python_version < "3.12"`."""
    pairs = (line.split(";")[0].strip().split("==") for line in text.splitlines() if "==" in line)
    return {name.lower().replace("_", "-"): version.split("+")[0] for name, version in pairs}


def _output(*words: str) -> str:
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
