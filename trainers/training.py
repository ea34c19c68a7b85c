"""The trainer contract: what a method supplies, and everything around it that all methods share.

A method is one file `trainers/<name>.py` with a `METHOD` and a `run`:

```python
METHOD = Method(
    name="dpo",                          # what `tunegate train` calls it; also in the record
    rows=row_format.PREFERENCES,         # the rows that it takes (trainers/row_format.py)
    configuration=_configuration,        # () -> TRL's class of options, such as DPOConfig
    build=_build,                        # (Job) -> TRL's trainer, ready to train
    settings=("beta", "loss_type"),      # its own options that belong into the record
)

def _configuration() -> type[Any]:
    from trl import DPOConfig
    return DPOConfig

def _build(job: Job) -> Any:
    from trl import DPOTrainer
    return DPOTrainer(**job.model_arguments(), **job.arguments())

def run(argv, *, say=progress.to_stderr) -> int:
    return training.run(METHOD, argv, say=say)
```
The name is also entered in `TRAINERS` of `harness/cli/train.py`. Options of the method that TRL
does not have are a dataclass, given as `Method.options` and found parsed in `job.config.own`.
Shared, and done here: TRL's parser and YAML, rows, seed, tokenizer, `--peft`, resuming, Ctrl-C,
progress, memory and disk messages, checked weights, the record, and the gate at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ModelError, TunegateError, UsageError
from trainers import (
    adapters,
    base_model,
    biases,
    checkpoints,
    evaluation,
    gating,
    gradients,
    lengths,
    libraries,
    progress,
    record,
    saving,
    stopping,
    weights,
)
from trainers.config import (
    TrainingConfig,
    make_parser,
    parse,
    prepare_environment,
    require_extra,
)
from trainers.data import TrainingRows, load
from trainers.row_format import RowFormat


@dataclass(frozen=True, slots=True)
class Job:
    """One training with everything that a method needs to build its trainer."""

    config: TrainingConfig
    """The parsed options; `config.training` is TRL's configuration, `config.own` the method's."""
    base: base_model.BaseModel
    """The model to train on; `base.name` is what Transformers loads."""
    tokenizer: Any
    rows: TrainingRows
    evaluation: TrainingRows | None
    """Rows of `--eval_files`."""
    say: progress.Say
    """Takes one line for the user."""

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that every trainer of TRL takes under the same names."""
        return {
            "args": self.config.training,
            "train_dataset": self.rows.to_dataset(),
            "eval_dataset": self.evaluation.to_dataset() if self.evaluation else None,
            "processing_class": self.tokenizer,
            "callbacks": [progress.callback(self.say)],
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
            model = adapters.attached(config, self.base)
        elif adapters.kind_of(config) == "bitfit":
            model = biases.model_of(self.base, init, self.say)
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
        return adapters.peft_config(self.config, self.base)


def _no_check(trainer: Any, job: Job) -> None:
    """Find nothing."""


def _train(trainer: Any, checkpoint: str | None) -> None:
    trainer.train(resume_from_checkpoint=checkpoint)


@dataclass(frozen=True, slots=True)
class Method:
    """What one way of training supplies."""

    name: str
    rows: RowFormat
    configuration: Callable[[], type[Any]]
    build: Callable[[Job], Any]
    settings: tuple[str, ...] = ()
    """Names of the configuration's options that decide this method, for the record."""
    options: type[Any] | None = None
    """A dataclass of options that TRL does not have, parsed with the rest."""
    check: Callable[[Any, Job], None] = _no_check
    """Looks at the built trainer before the first step: says or refuses what TRL would do in
    silence, such as rows that do not fit."""
    train: Callable[[Any, str | None], None] = _train
    """Trains, from a checkpoint if one is given."""
    can_resume: bool = True
    kinds: tuple[str, ...] = adapters.COMMON
    """Kinds of `--peft` that it can train; `bitfit` only if it builds on `Job.model_arguments`."""
    goes_on: bool = False
    """Whether it trains an adapter that is there already; needs `Job.model_arguments` too."""
    task: str = "CAUSAL_LM"
    """PEFT's word for what the model computes; one that does not write texts has no gate."""


def run(method: Method, argv: Sequence[str], *, say: progress.Say = progress.to_stderr) -> int:
    """Train as `argv` asks and return the exit code; the body of `tunegate train METHOD`.

    Args:
        method: of the file that was called.
        argv: flags after `train METHOD`, such as `["--config", "good.yaml", "--seed", "1"]`.
        say: takes each line for the user: progress, where the weights are, or the error.
    """
    try:
        prog = f"tunegate train {method.name}"
        config = parse(parser_of(method, prog), argv, own=method.options)
        gating.check(config.data.eval_suite, wanted=config.data.gate)
        folder = train(method, config, say=say)
        if config.data.gate and progress.is_first_process():
            return gating.run(config.data.eval_suite, record.read(folder).base.path, folder)
    except TunegateError as error:
        say(f"error: {error}")
        return error.exit_code
    except SystemExit as leave:  # --help
        return int(leave.code or 0)
    return 0


def parser_of(method: Method, prog: str | None = None) -> Any:
    """Return TRL's parser for our data options, the method's, its configuration, `ModelConfig`."""
    prepare_environment()
    require_extra()
    return make_parser(method.configuration(), prog, own=method.options)


def train(
    method: Method, config: TrainingConfig, *, say: progress.Say = progress.to_stderr
) -> Path:
    """Train, save the weights with their record, and return the folder.

    Raises:
        UsageError: options, rows or the model cannot be used.
        BackendError: memory or disk ran out.
        TunegateError: the training diverged or changed nothing.
    """
    args = config.training
    checkpoint = checkpoints.wanted(args)
    _settle(method, config, checkpoint)
    watching = gating.callback(config.data.gate_callback, config.data.gate_stop_on)
    job = _job(method, config, say)
    base = job.base
    say(f"training on {len(job.rows.rows)} rows from {len(job.rows.files)} files; base {base.name}")
    with (
        libraries.quiet(),
        libraries.precision(config.data.float32_matmul_precision),
        libraries.failures(config),
    ):
        trainer = _built(method, job)
        method.check(trainer, job)
        if watching is not None:
            watching.attach(trainer)
        saving.prepare(Path(args.output_dir))
        before = weights.sums(trainer.model)
        start = time.monotonic()
        with stopping.at_the_next_step(trainer, say) if method.can_resume else nullcontext():
            method.train(trainer, checkpoint)
        folder = saving.save(trainer, job, method, before=before, seconds=time.monotonic() - start)
    suites = config.data.eval_suite
    say(f"saved to {folder}; next: {gating.command(suites, base.name, folder, task=method.task)}")
    return folder


def _settle(method: Method, config: TrainingConfig, checkpoint: str | None) -> None:
    """Refuse options that this method does not have, and settle what is trained.

    Raises:
        UsageError: with the option.
    """
    if checkpoint and not method.can_resume:
        raise UsageError(f"--resume_from_checkpoint: TRL's {method.name} trainer cannot resume")
    if config.data.gate and method.task != "CAUSAL_LM":
        raise UsageError(f"--gate: what {method.name} trains writes no answers; leave it out")
    if config.peft.adapter_name_or_path and not method.goes_on:
        raise UsageError(f"--adapter_name_or_path: {method.name} makes a new adapter; leave it out")
    config.model.lora_task_type = method.task
    adapters.settle(config, method.kinds)


def _job(method: Method, config: TrainingConfig, say: progress.Say) -> Job:
    args, options, data = config.training, config.model, config.data
    if not data.train_files:
        raise UsageError("--train_files: missing; give one or more JSONL or Parquet files")
    rows = load(data.train_files, method.rows, seed=args.seed)
    unseen = load(data.eval_files, method.rows, seed=args.seed) if data.eval_files else None
    base = base_model.find(
        options.model_name_or_path,
        revision=options.model_revision,
        trusted=getattr(args, "trust_remote_code", False),
    )
    return Job(config, base, _tokenizer(config, base), rows, unseen, say)


def _built(method: Method, job: Job) -> Any:
    """Return the method's trainer; what TRL refuses is the user's mistake, in one line."""
    from transformers import PrinterCallback, set_seed

    args, options = job.config.training, job.config.model
    set_seed(args.seed)  # LoRA draws its first weights before the trainer sets the seed itself
    args.model_init_kwargs = {
        **(getattr(args, "model_init_kwargs", None) or {}),
        "revision": options.model_revision,
        "attn_implementation": options.attn_implementation,
        "dtype": options.dtype,
    }
    lengths.fit_into_context(job)
    try:
        trainer = method.build(job)
    except (ValueError, ImportError) as error:
        first = str(error).splitlines()[0]
        if lengths.NO_ROWS in first:
            raise lengths.none_left(args) from error
        raise UsageError(f"TRL cannot train so: {first}") from error
    trainer.remove_callback(PrinterCallback)
    for callback in (evaluation.callback(job.say), gradients.callback()):
        trainer.add_callback(callback)
    adapters.train_in_training_kernels(trainer.model)
    return trainer


def _tokenizer(config: TrainingConfig, base: base_model.BaseModel) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            base.name,
            revision=config.model.model_revision,
            trust_remote_code=getattr(config.training, "trust_remote_code", False),
        )
    except (ValueError, OSError) as error:
        first = str(error).splitlines()[0].rstrip(" :")
        raise ModelError(f"{base.name}: no tokenizer can be loaded from it ({first})") from error
