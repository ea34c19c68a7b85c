"""The trainer contract: what a method supplies (`TrainingMethod`) and what it is given
(`TrainingJob`).

A method is one file `trainers/<name>.py`; `trainers/train.py` shows one and does what all share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.trainers import base_model, callbacks, peft_adapters
from tunegate.trainers.arguments import TrainingConfig
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

        The model is a path that TRL loads, or a model where TRL's own loading does not do: one with
        the adapter of `--adapter_name_or_path`, or one with biases to be trained.
        """
        config, init = self.config, self.config.training.model_init_kwargs
        model: Any = self.base.name
        quantised = self.quantization_config()
        if config.peft.adapter_name_or_path:
            model = peft_adapters.attach_adapter(config, self.base)
        elif peft_adapters.kind_of(config) == "bitfit":
            model = peft_adapters.model_of(self.base, init, self.say)
        if model is not self.base.name:
            config.training.model_init_kwargs = quantised = None
        return {
            "model": model,
            "peft_config": self.peft_config(),
            "quantization_config": quantised,
        }

    def quantization_config(self) -> Any:
        """Return TRL's reading of `--load_in_4bit` and its like; None without them."""
        from trl import (  # type: ignore[attr-defined]  # TRL re-exports lazily
            get_quantization_config,
        )

        return get_quantization_config(self.config.model)

    def peft_config(self) -> Any:
        """Return PEFT's configuration of the adapter to train; None where no new one is made."""
        return peft_adapters.peft_config(self.config, self.base)


def _no_check(trainer: Any, job: TrainingJob) -> None:
    """Find nothing."""


def _train(trainer: Any, checkpoint: str | None) -> None:
    if checkpoint is not None:
        peft_adapters.restore_adapter(trainer.model, Path(checkpoint))
    trainer.train(resume_from_checkpoint=checkpoint)


@dataclass(frozen=True, slots=True)
class TrainingMethod:
    """Interface of a training method."""

    name: str
    rows: RowFormat
    configuration: Callable[[], type[Any]]
    build: Callable[[TrainingJob], Any]
    settings: tuple[str, ...] = ()
    """Names of the configuration's options that decide this method, for the record."""
    options: type[Any] | None = None
    """A dataclass of options that TRL does not have, parsed with the rest."""
    check: Callable[[Any, TrainingJob], None] = _no_check
    """Looks at the built trainer before the first step: reports or refuses what TRL would do in
    silence, such as rows that do not fit."""
    train: Callable[[Any, str | None], None] = _train
    """Trains, from a checkpoint if one is given."""
    can_resume: bool = True
    kinds: tuple[str, ...] = peft_adapters.COMMON
    """Kinds of `--peft` that it can train; `bitfit` only if it builds on
    `TrainingJob.model_arguments`.
    """
    goes_on: bool = False
    """Whether it trains an adapter that is there already; needs `TrainingJob.model_arguments` too.
    """
    task: str = "CAUSAL_LM"
    """PEFT's word for what the model computes; one that does not write texts has no gate."""
