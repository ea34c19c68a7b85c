"""`tunegate estimate`: memory by formula from a configuration, time and cost from real steps."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._panels import Panel
from tunegate.harness.contracts import lookup
from tunegate.harness.records.errors import UsageError

if TYPE_CHECKING:
    from tunegate.trainers.estimate.memory import StepMemory, TrainingSetting

ORDER = 160
PANEL = Panel.BEFORE_TRAINING
_METHODS = "tunegate.trainers"
_TRAINERS = tuple(lookup.definition_lines(_METHODS, "SEQUENCES_PER_ROW"))
_WRITING = tuple(lookup.definition_lines(_METHODS, "WRITTEN_SHARE"))
"""Trainers whose step generates answers first."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command("estimate", context_settings=settings)(estimate)


def estimate(  # noqa: PLR0913  # one for each option
    context: typer.Context,
    model: Annotated[
        str, typer.Option(help="Folder with a config.json, hub id in the cache, or embedded.")
    ] = "",
    trainer: Annotated[
        str, typer.Option(help=f"One of {', '.join(_TRAINERS)}, for memory.")
    ] = "sft",
    methods: Annotated[str, typer.Option(help="Any of lora, qlora, full.")] = "lora,qlora,full",
    ranks: Annotated[str, typer.Option(help="Ranks of the adapter.")] = "16",
    lengths: Annotated[str, typer.Option(help="Tokens a row.")] = "256,1024",
    batches: Annotated[
        str, typer.Option(help="Rows a step on one device: of dpo pairs, of grpo answers.")
    ] = "1,4",
    written: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"Tokens of a row that {', '.join(_WRITING)} writes. Default: half."
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="Weights: float32 or bfloat16.")] = "float32",
    fits: Annotated[
        float | None, typer.Option(metavar="GB", help="Say which fit into so much memory.")
    ] = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Memory of a GPU, rather than of a training on a CPU.")
    ] = False,
    steps: Annotated[int, typer.Option(min=2, help="Real steps to time, with train flags.")] = 3,
    price_per_hour: Annotated[
        float | None, typer.Option(min=0.0, help="Price of this machine, for the cost.")
    ] = None,
) -> None:
    """Estimate memory and time of a training.

    Memory takes --model; time takes the flags of `train sft`, such as --config x.yaml.
    """
    if not model and not context.args:
        raise UsageError("give --model NAME for memory, or --config FILE (of train sft) for time")
    if dtype not in ("float32", "bfloat16"):
        raise UsageError(f"--dtype {dtype!r}: allowed are float32, bfloat16")
    if model:
        numbers = {"ranks": ranks, "lengths": lengths, "batches": batches}
        grid = [_numbers(text, f"--{name}") for name, text in numbers.items()]
        _print_memory(model, _settings(trainer, methods, grid, dtype, written), fits, gpu)
    if context.args:
        _print_time(list(context.args), steps, price_per_hour)


def _numbers(text: str, name: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"{name} {text!r} must be comma-separated whole numbers above 0")
    return [int(part) for part in parts]


def _settings(
    trainer: str, methods: str, grid: Sequence[Sequence[int]], dtype: str, written: int | None
) -> list[TrainingSetting]:
    from tunegate.trainers.estimate.memory import setting_grid

    if trainer not in _TRAINERS:
        raise UsageError(f"--trainer {trainer!r}: allowed are {', '.join(_TRAINERS)}")
    names = [name.strip() for name in methods.split(",")]
    wanted = setting_grid(names, *grid, dtype=dtype, trainer=trainer)
    if trainer not in _WRITING:
        return wanted
    share = lookup.ordered_modules(_METHODS)[trainer].WRITTEN_SHARE
    if (shortest := min(s.length for s in wanted)) <= (written or 1):
        raise UsageError(
            f"--lengths {shortest}: must hold a prompt in addition to {written or 1} written"
        )
    return [replace(s, written=written or int(s.length * share)) for s in wanted]


def _print_memory(
    name: str, wanted: Sequence[TrainingSetting], fits: float | None, gpu: bool
) -> None:
    from rich.console import Console
    from rich.table import Table

    from tunegate.trainers import trl_environment
    from tunegate.trainers.arguments import prepare_environment, require_extra
    from tunegate.trainers.estimate import memory

    prepare_environment()
    require_extra()
    with trl_environment.quiet_training():
        model = memory.model_shape(memory.load_configuration(name))
    process = 0 if gpu else memory.process_bytes()
    trainer, dtype = wanted[0].trainer, wanted[0].dtype
    table = Table(title=f"{name}, {trainer}, {dtype} weights: estimated MB")
    columns = ("method", "rank", "tokens", "rows", "trained", "weights", "gradients, AdamW")
    for column in (*columns, "activations", "logits", "in all", *(["fits"] if fits else [])):
        table.add_column(column, justify="left" if column == "method" else "right")
    steps = [memory.step_memory(model, setting, gpu=gpu) for setting in wanted]
    for setting, step in zip(wanted, steps, strict=True):
        table.add_row(*_cells(setting, step, process, fits))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    print(
        "An estimate by formula: weights, gradients, AdamW's two moments, activations, logits"
        + ("" if gpu else f", and {process / 1e6:,.0f} MB for the process, measured here")
        + ".\nNot counted: other temporary tensors, generation, a GPU's context and fragmentation."
    )
    if mapped := max(step.mapped for step in steps):
        print(f"qlora on a CPU also maps {mapped / 1e6:,.0f} MB of the base's file, reclaimable")
    print(f"keys and values while it generates: {model.cache_bytes(dtype):,} bytes a token and row")


def _cells(
    setting: TrainingSetting, step: StepMemory, process: int, fits: float | None
) -> list[str]:
    total = process + step.total
    sizes = (step.weights, step.states, step.activations, step.logits, total)
    cells = [setting.method, str(setting.rank or "–"), str(setting.length), str(setting.batch)]
    cells += [f"{step.trained / 1e6:,.1f} M", *(f"{size / 1e6:,.0f}" for size in sizes)]
    return [*cells, *(["yes" if total <= fits * 1e9 else "no"] if fits else [])]


def _print_time(argv: list[str], steps: int, price: float | None) -> None:
    from tunegate.trainers.estimate.timing import profile_steps

    profile = profile_steps(argv, steps=steps, say=lambda line: print(line, file=sys.stderr))
    middle, low, high = (seconds / 60 for seconds in profile.total_s)
    print(
        f"{profile.steps} steps, estimated from {len(profile.seconds)} timed on this machine: "
        f"{middle:.1f} min [{low:.1f}, {high:.1f}]"
    )
    print(f"peak memory of the process until then: {profile.peak / 1e6:,.0f} MB")
    if price is not None:
        cost, least, most = (f"{price * minutes / 60:.4g}" for minutes in (middle, low, high))
        print(f"at {price:g} an hour: {cost} [{least}, {most}]")
