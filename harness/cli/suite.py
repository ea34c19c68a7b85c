"""`tunegate suite new | check | show`: start a suite, validate it, look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import bundled, suite_templates
from harness.errors import SuiteError, UsageError

commands = typer.Typer(help="Start, check and look at suites.", no_args_is_help=True)

_TEMPLATE = """\
name = "{name}"
cases = "cases.jsonl"

[generation]
system = "Answer in one short sentence."
max_new_tokens = 64

[[metrics]]
use = "exact_match"

[[gates]]
metric = "exact_match"
gain = 0.02            # tuned must beat base by more than this
"""
_CASES = """\
{"id": "capital-fr", "prompt": "What is the capital of France?", "expected": "Paris."}
{"id": "capital-jp", "prompt": "What is the capital of Japan?", "expected": "Tokyo."}
"""


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(commands, name="suite")


@commands.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    like: Annotated[str | None, typer.Option(help="Bundled suite to start from.")] = None,
    template: Annotated[
        str | None, typer.Option(help="Suite over questions that you have: mmlu.")
    ] = None,
) -> None:
    """Write a new suite folder."""
    if template is not None:
        print(suite_templates.write(template, folder))
        return
    if folder.exists():
        raise UsageError(f"{folder}: is already there; choose another name")
    try:
        if like is None:
            _write(folder)
        else:
            bundled.copy(like, folder)
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be written ({error.strerror}); choose another place"
        ) from error
    print(f"wrote {folder}/suite.toml and {folder}/cases.jsonl")
    print(f"next: edit them, then `tunegate suite check {folder}`")


def _write(folder: Path) -> None:
    folder.mkdir(parents=True)
    text = _TEMPLATE.format(name=suite_templates.suite_name(folder))
    (folder / "suite.toml").write_text(text, encoding="utf-8")
    (folder / "cases.jsonl").write_text(_CASES, encoding="utf-8")


@commands.command()
def check(
    paths: Annotated[list[Path], typer.Argument(help="Suite folders or suite.toml files.")],
) -> None:
    """Validate suites: files, cases, metrics, gates, and whether the gates can be proven."""
    from harness.suite import load
    from harness.verdict.planning import unreachable

    problems: list[str] = []
    for path in paths:
        try:
            suite = load(path)
        except SuiteError as error:
            problems += error.problems
            continue
        problems += unreachable(suite)
        gates = "1 gate" if len(suite.gates) == 1 else f"{len(suite.gates)} gates"
        print(f"{suite.name}: {len(suite.cases)} cases, {gates}")
    if problems:
        raise SuiteError(problems)


@commands.command()
def show(path: Annotated[Path, typer.Argument(help="Suite folder or suite.toml.")]) -> None:
    """Print a suite's settings, gates and first cases."""
    from harness.suite import load

    suite = load(path)
    print(f"{suite.name}: {len(suite.cases)} cases, hash {suite.hash[:12]}")
    for metric in suite.metrics:
        better = "higher" if metric.higher_is_better else "lower"
        print(f"  metric {metric.name} ({better} is better)")
    for gate in suite.gates:
        print(f"  gate {gate.id} {gate.margin}  {gate.where}")
    for sourced in suite.cases[:3]:
        print(f"  {sourced.case.id}: {(sourced.case.prompt or '')[:100]!r}")
