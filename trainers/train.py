"""One training from its flags to saved weights and the gate: what all methods share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.records.errors import ModelError, TunegateError, UsageError, error_reason
from tunegate.harness.records.wording import count_noun
from tunegate.trainers import (
    base_model,
    callbacks,
    checkpoints,
    final_gate,
    gate_callback,
    interrupts,
    peft_adapters,
    row_lengths,
    save,
    training_card,
    trl_environment,
)
from tunegate.trainers.arguments import (
    TrainingConfig,
    make_parser,
    parse_arguments,
    prepare_environment,
    require_extra,
)
from tunegate.trainers.datasets import load_rows
from tunegate.trainers.job import TrainingJob

if TYPE_CHECKING:
    from tunegate.trainers.job import TrainingMethod


def run_method(
    method: TrainingMethod, argv: Sequence[str], *, say: callbacks.Say = callbacks.print_to_stderr
) -> int:
    """Train as `argv` asks and return the exit code; the body of `tunegate train METHOD`.

    Args:
        method: The method.
        argv: Flags after `train METHOD`, such as `["--config", "good.yaml", "--seed", "1"]`.
        say: Takes each line for the user: progress, where the weights are, or the error.
    """
    try:
        prog = f"tunegate train {method.name}"
        config = parse_arguments(method_parser(method, prog), argv, options_class=method.options)
        final_gate.check_suites(config.data.eval_suite, wanted=config.data.gate)
        folder = train_method(method, config, say=say)
        if config.data.gate and callbacks.is_first_process():
            return final_gate.run_gate(
                config.data.eval_suite, training_card.read_card(folder).base.path, folder
            )
    except TunegateError as error:
        say(f"error: {error}")
        return error.exit_code
    except SystemExit as leave:  # --help
        return int(leave.code or 0)
    return 0


def method_parser(method: TrainingMethod, prog: str | None = None) -> Any:
    """Return TRL's parser for our data options, the method's, its configuration, `ModelConfig`."""
    prepare_environment()
    require_extra()
    return make_parser(method.load_configuration(), prog, options_class=method.options)


def train_method(
    method: TrainingMethod,
    config: TrainingConfig,
    *,
    say: callbacks.Say = callbacks.print_to_stderr,
) -> Path:
    """Train, save the weights with their record, and return the folder."""
    args = config.training
    checkpoint = checkpoints.resume_folder(args)
    _settle_options(method, config, checkpoint)
    watching = gate_callback.make_callback(config.data.gate_callback, config.data.gate_stop_on)
    job = _make_job(method, config, say)
    base = job.base
    say(
        f"training on {count_noun(len(job.rows.rows), 'row')} from "
        f"{count_noun(len(job.rows.files), 'file')}; base {base.name}"
    )
    with (
        trl_environment.quiet_training(),
        trl_environment.matmul_precision(config.data.float32_matmul_precision),
        trl_environment.logits_of_completions(),
        trl_environment.explain_failures(config),
    ):
        trainer = _build_trainer(method, job)
        method.check(trainer, job)
        if watching is not None:
            watching.attach(trainer)
        save.prepare_folder(Path(args.output_dir))
        before = save.tensor_sums(trainer.model)
        start = time.monotonic()
        with interrupts.stop_after_step(trainer, say) if method.can_resume else nullcontext():
            method.train(trainer, checkpoint)
        folder = save.save_training(
            trainer, job, method, before=before, seconds=time.monotonic() - start
        )
    say(f"saved to {folder}; next: {method.next_command(job, folder)}")
    return folder


def _settle_options(method: TrainingMethod, config: TrainingConfig, checkpoint: str | None) -> None:
    """Refuse options that this method cannot follow, and translate `--peft`."""
    if checkpoint and not method.can_resume:
        raise UsageError(f"--resume_from_checkpoint: TRL's {method.name} trainer cannot resume")
    gated = "--gate" if config.data.gate else "--gate_callback" if config.data.gate_callback else ""
    if gated and method.task != "CAUSAL_LM":
        raise UsageError(f"{gated}: what {method.name} trains writes no answers; leave it out")
    if config.peft.adapter_name_or_path and not method.continues_adapter:
        raise UsageError(f"--adapter_name_or_path: {method.name} makes a new adapter; leave it out")
    config.model.lora_task_type = method.task
    peft_adapters.settle_peft_options(config, method.kinds)


def _make_job(method: TrainingMethod, config: TrainingConfig, say: callbacks.Say) -> TrainingJob:
    args, options, data = config.training, config.model, config.data
    if not data.train_files:
        raise UsageError("--train_files: missing; give one or more JSONL, JSON or Parquet files")
    rows = load_rows(data.train_files, method.rows, seed=args.seed)
    unseen = load_rows(data.eval_files, method.rows, seed=args.seed) if data.eval_files else None
    base = base_model.find_base(
        options.model_name_or_path,
        revision=options.model_revision,
        trusted=getattr(args, "trust_remote_code", False),
    )
    return TrainingJob(config, base, load_tokenizer(config, base.name), rows, unseen, say)


def _build_trainer(method: TrainingMethod, job: TrainingJob) -> Any:
    """Return the method's trainer; what TRL refuses becomes one line for the user."""
    from transformers import PrinterCallback, set_seed

    args, options = job.config.training, job.config.model
    set_seed(args.seed)  # LoRA draws its first weights before the trainer sets the seed itself
    args.model_init_kwargs = {
        **(getattr(args, "model_init_kwargs", None) or {}),
        "revision": options.model_revision,
        "attn_implementation": options.attn_implementation,
        "dtype": options.dtype,
    }
    row_lengths.fit_into_context(job)
    with explain_refusals(args):
        trainer = method.build(job)
    trainer.remove_callback(PrinterCallback)
    for callback in (callbacks.evaluation_callback(job.say), callbacks.gradient_callback()):
        trainer.add_callback(callback)
    peft_adapters.train_in_training_kernels(trainer.model)
    return trainer


@contextmanager
def explain_refusals(args: Any) -> Iterator[None]:
    """Turn what TRL refuses about options, rows and template into one line for the user."""
    from jinja2 import TemplateError

    try:
        yield
    except TemplateError as error:
        raise TemplateRefusal(
            f"the chat template refuses a row ({error_reason(error)}); `tunegate rows` says which"
        ) from error
    except (ValueError, ImportError, RuntimeError) as error:
        first = error_reason(error)
        if row_lengths.NO_ROWS in first:
            raise row_lengths.no_rows_left(args) from error
        if getattr(args, "assistant_only_loss", False) and any(m in first for m in _UNMARKED):
            raise NothingLearned(
                "assistant_only_loss: the chat template marks no answers with {% generation %}, so "
                "nothing would be learned; leave the option out, or name a template that has the "
                "marks (--chat_template_path)"
            ) from error
        if isinstance(error, RuntimeError):
            raise
        raise UsageError(f"TRL cannot train with these options: {first}") from error


_UNMARKED = ("no assistant tokens", "{% generation %}")
"""Parts of TRL's errors on templates without marks."""


class NothingLearned(UsageError):
    """No token of the rows would be learned."""


class TemplateRefusal(UsageError):
    """The chat template raises an error on some rows."""


def load_tokenizer(config: TrainingConfig, name: str) -> Any:
    """Return the tokenizer of a model."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            name,
            revision=config.model.model_revision,
            trust_remote_code=getattr(config.training, "trust_remote_code", False),
        )
    except Exception as error:  # tokenizers raises nothing narrower
        first = error_reason(error).rstrip(" :")
        raise ModelError(f"{name}: no tokenizer can be loaded from it ({first})") from error
