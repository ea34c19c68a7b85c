"""`tunegate judge …`: what concerns judges, beside the runs that ask them."""

from __future__ import annotations

import typer

from harness.cli import judge_calibrate, judge_label, judge_run

commands = typer.Typer(
    help="Judge stored runs, calibrate judges, and label answers for them.", no_args_is_help=True
)
for module in (judge_run, judge_calibrate, judge_label):
    module.register(commands)


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(commands, name="judge")
