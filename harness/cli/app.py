"""The typer application: collects the commands of this folder."""

from __future__ import annotations

import typer

from harness.cli import (
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
    help="Ship a fine-tune only when it is proven better and nothing that worked has broken.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
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
