"""Training estimate: memory from the model's configuration, time from a few real steps.

```
tunegate estimate --model embedded --lengths 256,512 --batches 1,4
tunegate estimate --model meta-llama/Llama-3.1-8B --dtype bfloat16 --fits 24
tunegate estimate --config support.yaml --price-per-hour 2.50
```
No weights are read for memory. A process takes what its libraries take (measured here), the most of
one step (`tunegate.trainers.estimate.step_memory`), and, where a processor trains, the pages of
the file from which a base was quantised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from tunegate.harness.errors import ModelError, UsageError, error_reason
from tunegate.trainers.base_model import cached_snapshot
from tunegate.trainers.estimate import process
from tunegate.trainers.estimate.step_memory import (
    METHODS,
    StepMemory,
    TrainingSetting,
    simulate_step,
)


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Memory of one way of training."""

    setting: TrainingSetting
    step: StepMemory
    process: int
    """Bytes of the process besides its tensors."""

    @property
    def needed(self) -> int:
        """The most memory that the training cannot do without."""
        return self.process + self.step.peak

    @property
    def total(self) -> int:
        """The most memory that is resident where a processor trains.

        The file of a base that was quantised stays mapped, since what is not quantised is used
        in place; the system takes the pages of the rest back when memory is short.
        """
        return self.needed + self.step.packed


def setting_grid(
    methods: Sequence[str],
    ranks: Sequence[int],
    lengths: Sequence[int],
    batches: Sequence[int],
    **rest: Any,
) -> list[TrainingSetting]:
    """Return every combination; the rank means nothing to `full`, which is there once.

    Args:
        methods: Kinds of `--peft`.
        ranks: Of the adapter.
        lengths: Tokens a row.
        batches: Rows a step.
        **rest: What is the same in all.

    Raises:
        UsageError: a method that is none.
    """
    for method in methods:
        if method not in METHODS:
            raise UsageError(f"--methods {method!r}: allowed are {', '.join(METHODS)}")
    found = [
        TrainingSetting(method, 0 if method == "full" else rank, length, batch, **rest)
        for method, rank, length, batch in product(methods, ranks, lengths, batches)
    ]
    return list(dict.fromkeys(found))


def estimate_memory(
    config: Any, wanted: Sequence[TrainingSetting], *, process: int
) -> Iterator[MemoryEstimate]:
    """Yield the memory of each setting, each as soon as it is known.

    Args:
        config: Transformers' configuration of the base.
        wanted: Ways of training.
        process: Bytes of a training process besides its tensors, as `process_bytes` measures.
    """
    for setting in wanted:
        yield MemoryEstimate(setting, simulate_step(config, setting), process)


def process_bytes() -> int:
    """Measure what a training process takes besides its model; see
    `tunegate.trainers.estimate.process`.
    """
    return process.measure_overhead()


def load_configuration(name: str) -> Any:
    """Return the configuration of a model: a folder, a hub id in the cache, or `make_demo_model`.

    Raises:
        ModelError: there is none.
    """
    from transformers import AutoConfig

    folder = Path(name).expanduser()
    if name == "embedded" and not folder.is_dir():
        from tunegate.harness.models.demo_model import make_demo_model

        folder = make_demo_model()
    if not folder.is_dir():
        folder = cached_snapshot(name, option="--model", patterns=["config.json"])
    try:
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        first = error_reason(error)
        raise ModelError(f"--model {name}: no configuration of a model ({first:.160})") from error
