"""The compatibility matrix: the wheel with the stacks that people have, and a smoke set there.

    make matrix                               # every stack
    python -m benchmarks.matrix oldest newest
    python -m benchmarks.matrix vllm-like --python 3.13

Of each stack the newest release is resolved together with tunegate's wheel, all its pins included:
where pip could not install both, the row says so. Then what tunegate needs is installed in the
versions of that resolution, into `.venv-NAME`. The rest of the stack is left out, since the smoke
set does not import it and its kernels take gigabytes. The smoke set is real: models are loaded and
gated through the plugin and the command line, and trained by TRL's trainers with `GateCallback`.

Results go into docs/reference/compatibility.md, and the versions into
harness/contracts/tested_stacks.toml, by which `tunegate doctor` says whether a combination was
tested.

torch comes from the index, which on Linux means its builds for CUDA. With a build for the CPU in a
folder that UV_FIND_LINKS names, `--constraint torch==2.13.0+cpu` takes that one.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tunegate.harness.contracts.tested_stacks import STACK

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "compatibility.md"
TESTED = ROOT / "harness" / "contracts" / "tested_stacks.toml"
BEGIN, END = "<!-- make matrix: begin -->\n", "<!-- make matrix: end -->\n"
_ADAPTERS = "tests/engine/test_engine_adapters.py::test_tuned_is_the_fine_tune_and_base_is_base"
_GATES = (
    *("tests/test_smoke.py", "tests/models/adapters/test_models_adapters_null_adapter.py"),
    *(f"{_ADAPTERS}[{case}]" for case in ("llama-dora", "llama-prefix", "qwen3-ia3")),
    "tests/cli/test_cli_check.py::test_an_adapter_that_is_alive",
    "tests/plugin/test_plugin_shipped_models.py",
)
_TRAINING = (
    *("tests/trainers/test_trainers_rloo.py", "tests/trainers/test_trainers_trl_trainer.py"),
    "tests/trainers/test_trainers_train.py::test_losses_are_those_of_trl_called_by_hand",
    "tests/trainers/test_trainers_preferences.py::test_a_resumed_training_keeps_its_reference",
    "tests/models/test_models_quantised.py",
)
_PPO = ("tests/trainers/test_trainers_ppo.py", "tests/examples/test_example_ppo_labels.py")
_TOOLS = ("pytest>=8", "hypothesis>=6.120")


@dataclass(frozen=True, slots=True)
class InstalledStack:
    """Packages that tunegate is installed with."""

    name: str
    beside: tuple[str, ...]
    """Requirements of the stack; resolved together with tunegate."""
    extras: tuple[str, ...]
    """Of tunegate."""
    tests: tuple[str, ...]
    also: tuple[str, ...] = ()
    """Packages of the stack that are installed, too, because tests use them."""
    lowest: bool = False
    """Whether every package of tunegate is as old as its ranges allow."""
    python: str = "3.11"


_TRAIN = ("train", "quantized", "server")
STACKS = (
    InstalledStack("oldest", (), _TRAIN, (*_GATES, *_TRAINING), lowest=True),
    InstalledStack("newest", (), _TRAIN, (*_GATES, *_TRAINING)),
    InstalledStack("python-3.13", (), _TRAIN, (*_GATES, *_TRAINING), python="3.13"),
    InstalledStack("python-3.14", (), _TRAIN, (*_GATES, *_TRAINING), python="3.14"),
    InstalledStack("vllm-like", ("vllm==0.33.0",), ("hf", "server"), _GATES, python="3.12"),
    InstalledStack("sglang-like", ("sglang==0.5.23",), ("hf", "server"), _GATES, python="3.12"),
    InstalledStack(
        "unsloth-like",
        ("unsloth==2026.10.9", "trl==1.14.2"),  # 1.15, which it allows, trains on a GPU only
        _TRAIN,
        (*_GATES, *_TRAINING),
    ),
    InstalledStack(
        "axolotl-like", ("axolotl==0.21.0",), _TRAIN, (*_GATES, *_TRAINING), python="3.12"
    ),
    InstalledStack("swift-like", ("ms-swift==4.6.0",), ("hf",), _GATES, also=("trl", "datasets")),
    InstalledStack("ppo", (), ("ppo", "quantized"), ("tests/test_smoke.py", *_PPO)),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stacks that are named, or all; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="benchmarks.matrix", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *(stack.name for stack in STACKS)])
    parser.add_argument("--python", help="version of Python instead of the stack's own")
    parser.add_argument("--constraint", action="append", default=[], help="one more pin")
    parser.add_argument("--resolve-only", action="store_true", help="only say what is installed")
    options = parser.parse_args(argv)
    wanted = [stack for stack in STACKS if not options.names or stack.name in options.names]
    results = {s.name: run(s, options.python or s.python, options) for s in wanted}
    if not options.resolve_only:
        record(results)
    failed = [name for name, result in results.items() if result.outcome != "passed"]
    print(*(f"{name}: {results[name].outcome}" for name in results), sep="\n")
    return int(bool(failed))


@dataclass(frozen=True, slots=True)
class StackResult:
    """How a stack ended."""

    python: str
    versions: Mapping[str, str]
    tests: str
    """Counts, as pytest gives them."""
    outcome: str
    """`passed`, or what went wrong."""


def run(stack: InstalledStack, python: str, options: argparse.Namespace) -> StackResult:
    """Resolve, install and test one stack."""
    print(f"== {stack.name}", flush=True)
    folder = ROOT / f".venv-{stack.name}"
    executable = str(folder / "bin" / "python")
    install = ("pip", "install", "--quiet", "--python", executable)
    try:
        _uv("venv", "--quiet", "--clear", "--python", python, str(folder))
        locked = resolve(stack, folder, python, options.constraint)
        versions = versions_of(locked)
        print(*(f"{n} {versions[n]}" for n in STACK if n in versions), sep=", ", flush=True)
        if options.resolve_only:
            return StackResult(python, versions, "–", "passed")
        _uv("build", "--quiet", "--wheel", "--out-dir", str(folder / "dist"), str(ROOT))
        [wheel] = (folder / "dist").glob("*.whl")
        _uv(*install, "--no-deps", "-r", f"{folder}/locked.txt", str(wheel))
    except subprocess.CalledProcessError as error:
        why = " ".join(str(error.stderr).split())[-300:]
        return StackResult(python, {}, "–", f"cannot be installed: {why}")
    return _test(stack, executable, versions)


def resolve(stack: InstalledStack, folder: Path, python: str, pins: Sequence[str]) -> str:
    """Return the versions that tunegate gets with the whole stack; pins of what it needs alone.

    Args:
        stack: what is resolved together with tunegate's extras.
        folder: takes the files that uv reads.
        python: version of Python, or its path.
        pins: further constraints.
    """
    beside, tools, constraints = (folder / name for name in ("beside.in", "tools.in", "pins.txt"))
    beside.write_text("".join(f"{line}\n" for line in stack.beside), encoding="utf-8")
    wanted = (*_TOOLS, *stack.also)
    tools.write_text("".join(f"{line}\n" for line in wanted), encoding="utf-8")
    constraints.write_text("".join(f"{line}\n" for line in pins), encoding="utf-8")
    compiled = (
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python", python),
        *("--constraint", str(constraints), "pyproject.toml"),
        *(word for extra in stack.extras for word in ("--extra", extra)),
    )
    lowest = ("--resolution", "lowest-direct") if stack.lowest else ()
    whole = _uv(*compiled, *lowest, str(beside))
    constraints.write_text(whole, encoding="utf-8")
    locked = _uv(*compiled, str(tools))
    (folder / "locked.txt").write_text(locked, encoding="utf-8")
    return locked


def _test(stack: InstalledStack, executable: str, versions: Mapping[str, str]) -> StackResult:
    words = (
        *(executable, "-m", "pytest", *stack.tests, "-q", "-p", "no:cacheprovider", "--tb=short"),
        *("-W", "default::DeprecationWarning", "-W", "default::FutureWarning"),
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, check=False, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, flush=True)
    counts = re.findall(r"\d+ (?:passed|failed|skipped|error)", done.stdout[-400:])
    python = subprocess.run(
        (executable, "-c", "import platform; print(platform.python_version())"),
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    outcome = "passed" if done.returncode == 0 else f"failed: exit code {done.returncode}"
    return StackResult(python, versions, ", ".join(counts), outcome)


def _uv(*words: str) -> str:
    done = subprocess.run(
        (sys.executable, "-m", "uv", *words), cwd=ROOT, check=True, capture_output=True, text=True
    )
    return done.stdout


def versions_of(locked: str) -> dict[str, str]:
    """Return package → version of a file of pins."""
    pairs = (line.split(";")[0].strip().split("==") for line in locked.splitlines() if "==" in line)
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def record(results: Mapping[str, StackResult]) -> None:
    """Write the page's rows, and what passed for `tunegate doctor`; other stacks stay."""
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    before = tomllib.loads(TESTED.read_text(encoding="utf-8")) if TESTED.exists() else {}
    TESTED.write_text(tested(before, results, day), encoding="utf-8")


def tested(before: Mapping[str, object], results: Mapping[str, StackResult], day: str) -> str:
    """Return tested_stacks.toml: for each stack that passed the day, Python and versions."""
    stacks: dict[str, object] = {n: v for n, v in before.items() if n not in results}
    for name, result in results.items():
        if result.outcome == "passed":
            shown = {
                package: result.versions[package] for package in STACK if package in result.versions
            }
            stacks[name] = {"date": day, "python": result.python, **shown}
    order = [stack.name for stack in STACKS if stack.name in stacks]
    lines = ["# Written by `make matrix`: stacks that passed, and their versions."]
    for name in order:
        table = stacks[name]
        assert isinstance(table, dict)
        lines += ["", f'["{name}"]', *(f'{key} = "{value}"' for key, value in table.items())]
    return "\n".join(lines) + "\n"


def page(text: str, results: Mapping[str, StackResult]) -> str:
    """Return the page with these rows; those of other stacks stay.

    Raises:
        ValueError: the page has no table between its two marks.
    """
    before, begin, rest = text.partition(BEGIN)
    table, ended, after = rest.partition(END)
    if not (begin and ended):
        raise ValueError(f"{PAGE}: the marks {BEGIN!r} and {END!r} are missing")
    columns = ["stack", "with", "python", *STACK, "tests"]
    rows = {line.split(" | ")[0][2:]: line for line in table.splitlines()[2:]}
    for stack in STACKS:
        if (result := results.get(stack.name)) is not None:
            beside = ", ".join(stack.beside).replace("==", " ") or "–"
            shown = [result.versions.get(name, "–").partition("+")[0] for name in STACK]
            ended = result.tests if result.outcome == "passed" else result.outcome
            rows[stack.name] = (
                f"| {' | '.join([stack.name, beside, result.python, *shown, ended])} |"
            )
    lines = [rows[stack.name] for stack in STACKS if stack.name in rows]
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
    return before + BEGIN + head + "".join(f"{line}\n" for line in lines) + END + after


if __name__ == "__main__":
    sys.exit(main())
