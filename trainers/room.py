"""Whether an advised training fits into a machine's memory, and the cheapest variant that does.

Variants are tried in the order of what they cost: fewer rows a step (time), weights of two bytes
(rounding), a base in 4 bits (time and rounding), shorter rows (data). Memory is that of
`trainers.estimate`; where a GPU trains, the process beside the tensors does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import TunegateError
from trainers import estimate
from trainers.estimate_losses import LOSSES
from trainers.estimate_step import Setting, simulate

RANK, ROWS, TOKENS = 16, 8, 1024
"""What TRL does where nobody says otherwise."""
WRITTEN = 512
"""Tokens of an answer of GRPO, likewise; its prompt is taken to be as long."""
_TWO_BYTES = "bfloat16"


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory that a training may take."""

    memory: int
    """Bytes."""
    name: str
    gpu: bool


def sentences(base: str, trainer: str | None, *, method: str, machine: Machine) -> Iterator[str]:
    """Yield whether a training fits, and if not, with which flags it would.

    Args:
        base: Folder of the base, or `embedded`.
        trainer: Name of `tunegate train`; nothing is known of those without a way to a loss.
        method: `lora`, `qlora` or `full`.
        machine: Where it is to be trained.
    """
    if trainer not in LOSSES:
        return
    try:
        yield from _sentences(base, trainer, method, machine)
    except TunegateError as error:
        yield f"memory: unknown ({error})"


def _sentences(base: str, trainer: str, method: str, machine: Machine) -> Iterator[str]:
    config = estimate.configuration(base)
    process = 0 if machine.gpu else estimate.process_bytes()
    wanted = _wanted(config, trainer, method)
    needed = process + simulate(config, wanted).peak
    fits = needed <= machine.memory
    yield (
        f"memory: {_gb(needed)} ({_said(wanted)}); {machine.name} has {_gb(machine.memory)}: "
        f"{'fits' if fits else 'does not fit'}"
    )
    if fits:
        return
    for flags, setting in variants(wanted):
        needed = process + simulate(config, setting).peak
        if needed <= machine.memory:
            yield f"cheapest variant that fits: {flags} ({_gb(needed)})"
            return
    yield f"no variant fits: {flags} still takes {_gb(needed)}"


def _wanted(config: Any, trainer: str, method: str) -> Setting:
    context = getattr(config.get_text_config(), "max_position_embeddings", None) or TOKENS
    if trainer == "grpo":
        written = min(WRITTEN, context // 2)
        return Setting(method, RANK, 2 * written, ROWS, trainer=trainer, written=written)
    return Setting(method, RANK, min(TOKENS, context), ROWS, trainer=trainer)


def variants(wanted: Setting) -> Iterator[tuple[str, Setting]]:
    """Yield flags of `tunegate train` and what they make of a setting, the cheapest first."""
    flags = f"--per_device_train_batch_size 1 --gradient_accumulation_steps {wanted.batch}"
    small = replace(wanted, batch=1)
    yield flags, small
    yield f"{flags} --dtype {_TWO_BYTES}", replace(small, dtype=_TWO_BYTES)
    flags = f"{flags} --peft qlora"
    small = replace(small, method="qlora")
    if wanted.method != "qlora":
        yield flags, small
    flags, small = f"{flags} --dtype {_TWO_BYTES}", replace(small, dtype=_TWO_BYTES)
    if wanted.method != "qlora":
        yield flags, small
    short = max(1, small.length // 4)
    name = "max_completion_length" if small.written else "max_length"
    written = small.written // 4
    shown = written or short
    yield f"{flags} --{name} {shown}", replace(small, length=short, written=written)


def _said(setting: Setting) -> str:
    rows = {"dpo": "pairs", "grpo": "answers"}.get(setting.trainer, "rows")
    return (
        f"{setting.batch} {rows} a step of {setting.length:,} tokens at most, {setting.dtype} "
        "weights"
    )


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
