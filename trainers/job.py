"""The contract of a training method: `TrainingMethod`, and the `TrainingJob` that it gets.

A method is one file `trainers/<name>.py` with an `ORDER` and a `METHOD`:

```python
ORDER = 25                               # its place in `tunegate train --help`
METHOD = TrainingMethod(
    name="dpo",                          # what `tunegate train` calls it; also in the record
    rows=datasets.PREFERENCES,           # the rows that it takes (trainers/datasets.py)
    configuration="trl:DPOConfig",       # module and name of TRL's class of options
    build=_build,                        # (TrainingJob) -> TRL's trainer, ready to train
    settings=("beta", "loss_type"),      # its own options that belong into the record
)

def _build(job: TrainingJob) -> Any:
    from trl import DPOTrainer
    return DPOTrainer(**job.model_arguments(), **job.arguments())
```
A constant `SEQUENCES_PER_ROW` is for the memory in `tunegate estimate`. `trainers/train.py` does
what all methods share: TRL's parser and YAML, rows, seed, tokenizer, `--peft`, resuming, Ctrl-C,
progress, memory and disk messages, checked weights, the record, and the gate at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tunegate.harness.contracts import environment
from tunegate.trainers import base_model, callbacks, final_gate, peft_adapters
from tunegate.trainers.arguments import TrainingConfig
from tunegate.trainers.bitfit import load_bitfit_model
from tunegate.trainers.datasets import RowFormat, TrainingRows


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training with everything that a method needs to build its trainer."""

    config: TrainingConfig
    """The parsed options; `config.training` is TRL's configuration, `config.own` the method's."""
    base: base_model.BaseModel
    """The model to train on; `base.name` is what Transformers loads."""
    tokenizer: Any
    rows: TrainingRows
    evaluation: TrainingRows | None
    """Rows of `--eval_files`."""
    say: callbacks.Say
    """Takes one line for the user."""

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that every trainer of TRL takes under the same names."""
        return {
            "args": self.config.training,
            "train_dataset": self.rows.to_dataset(),
            "eval_dataset": self.evaluation.to_dataset() if self.evaluation else None,
            "processing_class": self.tokenizer,
            "callbacks": [callbacks.progress_callback(self.say)],
        }

    def model_arguments(self) -> dict[str, Any]:
        """Return what is trained, as TRL's trainers take it: model, adapter, quantisation.

        The model is a path, or a loaded model where TRL cannot load it itself: one with the adapter
        of `--adapter_name_or_path`, or one with biases to train.
        """
        config, init = self.config, self.config.training.model_init_kwargs
        model: Any = self.base.name
        quantised = self.quantization_config()
        if config.peft.adapter_name_or_path:
            model = peft_adapters.attach_adapter(config, self.base)
        elif peft_adapters.peft_kind(config) == "bitfit":
            model = load_bitfit_model(self.base, init, self.say)
        if model is not self.base.name:
            config.training.model_init_kwargs = quantised = None
        return {
            "model": model,
            "peft_config": self.peft_config(),
            "quantization_config": quantised,
        }

    def quantization_config(self) -> Any:
        """Return TRL's configuration of `--load_in_4bit` or `--load_in_8bit`; None without them."""
        from trl import (  # type: ignore[attr-defined]  # TRL re-exports lazily
            get_quantization_config,
        )

        return get_quantization_config(self.config.model)

    def peft_config(self) -> Any:
        """Return PEFT's configuration of a new adapter; None without one."""
        return peft_adapters.peft_config(self.config, self.base)


def _no_check(trainer: Any, job: TrainingJob) -> None:
    """Accept the trainer as it is."""


def _train(trainer: Any, checkpoint: str | None) -> None:
    if checkpoint is not None:
        peft_adapters.restore_adapter(trainer.model, Path(checkpoint))
    trainer.train(resume_from_checkpoint=checkpoint)


def _gate(job: TrainingJob, folder: Path) -> str:
    return final_gate.gate_command(job.config.data.eval_suite, job.base.name, folder)


@dataclass(frozen=True, slots=True)
class TrainingMethod:
    """Interface of a training method."""

    name: str
    rows: RowFormat
    configuration: str | type[Any]
    """The class of options, or its module and name: `trl:DPOConfig`."""
    build: Callable[[TrainingJob], Any]
    feature: str = ""
    """What the environment must have (`contracts/environment.py`)."""
    settings: tuple[str, ...] = ()
    """The configuration's options that belong in the record."""
    options: type[Any] | None = None
    """A dataclass of options that TRL does not have, parsed into `job.config.own`."""
    check: Callable[[Any, TrainingJob], None] = _no_check
    """Reports or refuses, before the first step, what TRL would do silently."""
    train: Callable[[Any, str | None], None] = _train
    """Trains, from a checkpoint if one is given."""
    can_resume: bool = True
    kinds: tuple[str, ...] = peft_adapters.COMMON
    """Kinds of `--peft` that it can train; `bitfit` only if it builds on
    `TrainingJob.model_arguments`.
    """
    continues_adapter: bool = False
    """Whether it can train an existing adapter; needs `TrainingJob.model_arguments` too."""
    task: str = "CAUSAL_LM"
    """PEFT's word for what the model computes; the training gates only models that write texts."""
    next_command: Callable[[TrainingJob, Path], str] = _gate
    """Returns the command that the user runs next, for the folder of the weights."""

    def load_configuration(self) -> type[Any]:
        """Return the class of options."""
        if self.feature:
            environment.require_feature(self.feature, f"tunegate train {self.name}")
        if not isinstance(self.configuration, str):
            return self.configuration
        module, _, name = self.configuration.partition(":")
        configuration: type[Any] = getattr(import_module(module), name)
        return configuration
