"""`tunegate train METHOD --config x.yaml [TRL flags]`: TRL's names and YAML, passed through.

A method is a module of `tunegate.trainers` with an `ORDER` and a `METHOD`, or else a trainer of the
installed TRL.
"""

from __future__ import annotations

import typer

from tunegate.harness.cli._panels import Panel
from tunegate.harness.contracts import lookup

ORDER = 140
PANEL = Panel.BEFORE_TRAINING
METHODS = "tunegate.trainers"


def register(app: typer.Typer) -> None:
    """Add the command."""
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command("train", context_settings=settings)(train)


def train(context: typer.Context) -> None:
    """Train a fine-tune with TRL: METHOD --config x.yaml [FLAGS]."""
    args = list(context.args)
    if not args or args[0] in ("-h", "--help"):
        names = ", ".join(lookup.ordered_modules(METHODS))
        print("Usage: tunegate train METHOD --config x.yaml [TRL flags]\n")
        print(f"Methods: {names}")
        print("`tunegate train METHOD --help` shows the flags that matter first, `--help-all` all")
        print("Others are found in the installed TRL by name, such as orpo, cpo and tpo")
        raise typer.Exit(0 if args else 2)
    method, *rest = args
    trainer = lookup.ordered_module(METHODS, method)
    if trainer is None:
        from tunegate.trainers import trl_trainer

        raise typer.Exit(trl_trainer.run(method, rest))
    from tunegate.trainers.train import run_method

    raise typer.Exit(run_method(trainer.METHOD, rest))
