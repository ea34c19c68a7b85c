"""`tunegate init [SUITE] [DIR] [--ci SERVICE]`: a bundled suite as a start, and a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import bundled, ci
from harness.errors import UsageError

SUITES = Path("suites")
FIRST = "support_json"
"""The suite that a new project starts from."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(init)


def init(
    suite: Annotated[
        str | None, typer.Argument(help="Bundled suite to copy; without one, all are listed.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Folder to make; suites/SUITE if absent.")
    ] = None,
    service: Annotated[
        ci.Service | None,
        typer.Option("--ci", help="Also write the job that gates pull or merge requests."),
    ] = None,
) -> None:
    """Copy a bundled suite as a start for your own, and say what to edit next."""
    if suite is None and service is None:
        _list()
    elif service is None:
        place = _place(suite or FIRST, folder)
        print(f"wrote {place}: {', '.join(_written(suite or FIRST, place))}")
        _next_steps(place)
    else:
        _gate_in_ci(service, suite, folder)


def _place(suite: str, folder: Path | None) -> Path:
    """Return where a suite is copied to.

    Raises:
        UsageError: there is no such suite, or something is there.
    """
    bundled.folder(suite)  # a name that does not exist is told before a folder that does
    place = SUITES / suite if folder is None else folder
    if place.exists():
        raise UsageError(f"{place}: is already there; choose another folder")
    return place


def _written(suite: str, place: Path) -> list[str]:
    try:
        return bundled.copy(suite, place)
    except OSError as error:
        raise UsageError(
            f"{place}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error


def _gate_in_ci(service: ci.Service, suite: str | None, folder: Path | None) -> None:
    """Write job and configuration beside the suites that are there, or beside a first one."""
    if folder is not None and folder.parent != SUITES:
        raise UsageError(f"{folder}: with --ci a suite goes into {SUITES}, where the job looks")
    ci.refuse_present(service)
    others = sorted(SUITES.rglob("suite.toml"))
    name = suite or (None if others else FIRST)
    place = None if name is None else _place(name, folder)
    if name is not None and place is not None:
        print(f"wrote {place}: {', '.join(_written(name, place))}")
    try:
        # Answers to one suite are no answers to another.
        configuration, is_new = ci.configure(SUITES, None if others else place)
        jobs = ci.write_jobs(service)
    except OSError as error:
        raise UsageError(
            f"the job cannot be written ({error.strerror}: {error.filename})"
        ) from error
    for path in [configuration] * is_new + jobs:
        print(f"wrote {path}")
    _next_in_ci(service, configuration, runs=is_new and not others)


def _next_in_ci(service: ci.Service, configuration: Path, *, runs: bool) -> None:
    if ci.is_local():
        jobs = " and ".join(map(str, ci.JOBS[service].values()))
        print(f"note: this tunegate came from a folder: set TUNEGATE in {jobs} to what pip can get")
    if service is ci.Service.GITLAB:
        print("next: take the job into .gitlab-ci.yml: include: {local: .gitlab/tunegate.yml}")
    first = "the first run judges recorded examples" if runs else "name your fine-tune first"
    print(f"next: `tunegate gate {SUITES}` here is what the job does ({first})")
    print(f"      then name your models in {configuration}")


def _list() -> None:
    names = bundled.names()
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}}  {bundled.purpose(name)}")
    print("next: `tunegate init SUITE [DIR]` copies one of them")


def _next_steps(place: Path) -> None:
    print(f"next: put your own cases into {place / 'cases.jsonl'}, one a line")
    print(f"      then adapt name, system prompt and gates in {place / 'suite.toml'}")
    print(f"      then `tunegate suite check {place}` and `tunegate plan {place}`")
