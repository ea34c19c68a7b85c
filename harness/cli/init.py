"""`tunegate init [SUITE] [DIR]`: copy a bundled suite as a start for one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import bundled
from harness.errors import UsageError


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
) -> None:
    """Copy a bundled suite as a start for your own, and say what to edit next."""
    if suite is None:
        _list()
        return
    bundled.folder(suite)  # a name that does not exist is told before a folder that does
    place = Path("suites") / suite if folder is None else folder
    if place.exists():
        raise UsageError(f"{place}: is already there; choose another folder")
    try:
        files = bundled.copy(suite, place)
    except OSError as error:
        raise UsageError(
            f"{place}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error
    print(f"wrote {place}: {', '.join(files)}")
    _next_steps(place)


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
