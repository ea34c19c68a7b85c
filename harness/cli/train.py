"""`tunegate train METHOD --config x.yaml [TRL flags]`: TRL's names and YAML, passed through."""

from __future__ import annotations

import importlib
from pathlib import Path

import typer

from tunegate.harness.errors import UsageError
from tunegate.harness.lookup import unknown

_PLACE = Path(__file__).parents[2] / "trainers"
TRAINERS = tuple(
    name
    for name in ("sft", "dpo", "kto", "reward", "grpo", "ppo", "vendor")
    if (_PLACE / f"{name}.py").is_file() or (_PLACE / name / "__init__.py").is_file()
)
"""Methods of training: those of the files in `trainers/` that are one."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command("train", context_settings=settings)(train)


def train(context: typer.Context) -> None:
    """Train a fine-tune: `tunegate train METHOD --config x.yaml [TRL flags]`."""
    args = list(context.args)
    if not args or args[0] in ("-h", "--help"):
        print("Usage: tunegate train METHOD --config x.yaml [TRL flags]\n")
        print(f"Methods: {', '.join(TRAINERS)}; `tunegate train METHOD --help` lists the flags")
        raise typer.Exit(0 if args else 2)
    method, *rest = args
    if method not in TRAINERS:
        raise UsageError(unknown(method, TRAINERS, what="trainer"))
    trainer = importlib.import_module(f"tunegate.trainers.{method}")
    raise typer.Exit(trainer.run(rest))
