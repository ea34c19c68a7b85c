"""Whether a training fits into memory, and if not, its cheapest variant that does.

In this order: fewer rows a step (costs time), weights of two bytes (rounding), a base in 4 bits
(time and rounding), shorter rows (data). On a GPU only tensors count, not the process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import TunegateError
from tunegate.trainers.estimate import memory
from tunegate.trainers.estimate.memory import TrainingSetting

RANK, ROWS, TOKENS = 16, 8, 1024
"""TRL's defaults."""
WRITTEN = 512
"""Tokens of a GRPO answer, by TRL's default; its prompt is assumed to be as long."""
_TWO_BYTES = "bfloat16"


@dataclass(frozen=True, slots=True)
class TrainingMachine:
    """Memory that a training may take."""

    memory: int
    """Bytes."""
    name: str
    gpu: bool


def fit_sentences(
    base: str, trainer: str | None, *, method: str, machine: TrainingMachine
) -> Iterator[str]:
    """Yield whether a training fits, and if not, with which flags it would."""
    if trainer not in memory.estimated_trainers():
        return
    try:
        yield from _sentences(base, trainer, method, machine)
    except TunegateError as error:
        yield f"memory: unknown ({error})"


def _sentences(base: str, trainer: str, method: str, machine: TrainingMachine) -> Iterator[str]:
    config = memory.load_configuration(base)
    model = memory.model_shape(config)
    process = 0 if machine.gpu else memory.process_bytes()
    wanted = _default_setting(config, trainer, method)
    needed = process + memory.step_memory(model, wanted, gpu=machine.gpu).total
    fits = needed <= machine.memory
    yield (
        f"memory: about {_gb(needed)} ({_describe_setting(wanted)}); {machine.name} has "
        f"{_gb(machine.memory)}: "
        f"{'fits' if fits else 'does not fit'}"
    )
    if fits:
        return
    for flags, setting in memory_variants(wanted):
        needed = process + memory.step_memory(model, setting, gpu=machine.gpu).total
        if needed <= machine.memory:
            yield f"cheapest variant that fits: {flags} ({_gb(needed)})"
            return
    yield f"no variant fits: {flags} still takes {_gb(needed)}"


def _default_setting(config: Any, trainer: str, method: str) -> TrainingSetting:
    context = getattr(config.get_text_config(), "max_position_embeddings", None) or TOKENS
    if trainer == "grpo":
        written = min(WRITTEN, context // 2)
        return TrainingSetting(method, RANK, 2 * written, ROWS, trainer=trainer, written=written)
    return TrainingSetting(method, RANK, min(TOKENS, context), ROWS, trainer=trainer)


def memory_variants(wanted: TrainingSetting) -> Iterator[tuple[str, TrainingSetting]]:
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


def _describe_setting(setting: TrainingSetting) -> str:
    rows = {"dpo": "pairs", "grpo": "answers"}.get(setting.trainer, "rows")
    return (
        f"{setting.batch} {rows} per step of at most {setting.length:,} tokens, {setting.dtype} "
        "weights"
    )


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def count_parameters(folder: Path) -> int | None:
    """Return the number of weights in a model folder, from the headers of its files alone."""
    from safetensors import safe_open

    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as tensors:
            names = list(tensors.keys())
            total += sum(math.prod(tensors.get_slice(name).get_shape()) for name in names)
    return total or None
