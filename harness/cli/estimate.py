"""`tunegate estimate`: memory from a configuration alone, time and money from real steps."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunegate.harness import lookup
from tunegate.harness.errors import UsageError

if TYPE_CHECKING:
    from tunegate.trainers.estimate import MemoryEstimate
    from tunegate.trainers.estimate.profile import StepProfile
    from tunegate.trainers.estimate.step_memory import TrainingSetting

ORDER = 160
_METHODS = "tunegate.trainers"
_TRAINERS = tuple(lookup.definition_lines(_METHODS, "step_loss"))
_WRITING = tuple(lookup.definition_lines(_METHODS, "WRITTEN_SHARE"))
"""Trainers whose step writes answers first."""


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
    steps: Annotated[int, typer.Option(min=2, help="Real steps to time, with train flags.")] = 6,
    price_per_hour: Annotated[
        float | None, typer.Option(min=0.0, help="Price of this machine, for money.")
    ] = None,
) -> None:
    """Estimate memory with --model; time with flags of `train sft`, such as --config x.yaml."""
    if not model and not context.args:
        raise UsageError("give --model NAME for memory, or --config FILE (of train sft) for time")
    if dtype not in ("float32", "bfloat16"):
        raise UsageError(f"--dtype {dtype!r}: allowed are float32, bfloat16")
    if model:
        numbers = {"ranks": ranks, "lengths": lengths, "batches": batches}
        grid = [_numbers(text, f"--{name}") for name, text in numbers.items()]
        _memory(model, _settings(trainer, methods, grid, dtype, written), fits)
    if context.args:
        _time(list(context.args), steps, price_per_hour)


def _numbers(text: str, name: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"{name} {text!r} must be comma-separated whole numbers above 0")
    return [int(part) for part in parts]


def _settings(
    trainer: str, methods: str, grid: Sequence[Sequence[int]], dtype: str, written: int | None
) -> list[TrainingSetting]:
    from dataclasses import replace

    from tunegate.trainers.estimate import setting_grid

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


def _memory(model: str, wanted: Sequence[TrainingSetting], fits: float | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from tunegate.trainers import estimate as room
    from tunegate.trainers import trl_environment
    from tunegate.trainers.arguments import prepare_environment, require_extra
    from tunegate.trainers.estimate.step_memory import cache_bytes

    prepare_environment()
    require_extra()
    config = room.load_configuration(model)
    process = room.process_bytes()
    trainer, dtype = wanted[0].trainer, wanted[0].dtype
    table = Table(title=f"{model}, {trainer}, {dtype} weights, MB")
    columns = ("method", "rank", "tokens", "rows", "trained", "weights", "gradients, AdamW")
    for name in (*columns, "activations", "step", "in all", *(["fits"] if fits else [])):
        table.add_column(name, justify="left" if name == "method" else "right")
    packed = 0
    with trl_environment.quiet_training():
        for i, found in enumerate(room.estimate_memory(config, wanted, process=process), start=1):
            print(f"tunegate: {i} of {len(wanted)} estimated", file=sys.stderr)
            table.add_row(*_cells(found, fits))
            packed = max(packed, found.step.packed)
        cache = cache_bytes(config, dtype)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    print(f"process without its tensors, measured here: {process / 1e6:,.0f} MB (part of 'in all')")
    if packed:
        print(
            f"pages of the base's file in qlora's 'in all': {packed / 1e6:,.0f} MB, which a system "
            "short of memory takes back ('fits' leaves them out) and a GPU does not hold"
        )
    print(f"keys and values while it generates: {cache:,} bytes a token and row")


def _cells(found: MemoryEstimate, fits: float | None) -> list[str]:
    way, step = found.setting, found.step
    sizes = (step.weights, step.trained, step.activations, step.peak, found.total)
    cells = [way.method, str(way.rank or "–"), str(way.length), str(way.batch)]
    cells += [f"{step.parameters / 1e6:,.1f} M", *(f"{size / 1e6:,.0f}" for size in sizes)]
    return [*cells, *(["yes" if found.needed <= fits * 1e9 else "no"] if fits else [])]


def _time(argv: list[str], steps: int, price: float | None) -> None:
    from tunegate.trainers.estimate.profile import profile_steps

    found: StepProfile = profile_steps(
        argv, steps=steps, say=lambda line: print(line, file=sys.stderr)
    )
    middle, low, high = found.total_s
    print(
        f"{found.steps} steps, {len(found.seconds)} timed on this machine: {_span(*found.total_s)}"
    )
    print(f"peak memory of the process until then: {found.peak / 1e6:,.0f} MB")
    if price is not None:
        money: list[Any] = [f"{price * s / 3600:.4g}" for s in (middle, low, high)]
        print(f"at {price:g} an hour: {money[0]} [{money[1]}, {money[2]}]")


def _span(middle: float, low: float, high: float) -> str:
    """Return a time with its 95 % interval in minutes."""
    return f"{middle / 60:.1f} min [{low / 60:.1f}, {high / 60:.1f}]"
