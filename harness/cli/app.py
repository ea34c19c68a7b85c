"""The typer application: collects the commands of this folder."""

from __future__ import annotations

from typing import Annotated

import typer

from tunegate.harness import packaging
from tunegate.harness.cli import (
    advise,
    card,
    check,
    compare,
    demo,
    doctor,
    estimate,
    gate,
    history,
    init,
    judge,
    plan,
    promote,
    replay,
    report,
    resume,
    ship_check,
    suite,
    train,
    watch,
)

app = typer.Typer(
    name="tunegate",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        found = packaging.installed(("tunegate",))
        print(f"tunegate {found.get('tunegate', '(not installed)')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version of tunegate and exit.",
        ),
    ] = False,
) -> None:
    """Ship a fine-tune only when it is proven better and nothing that worked has broken."""


for module in (
    init,
    gate,
    plan,
    check,
    ship_check,
    resume,
    replay,
    report,
    compare,
    history,
    promote,
    card,
    suite,
    judge,
    advise,
    train,
    demo,
    estimate,
    doctor,
    watch,
):
    module.register(app)
