"""Supervised fine-tuning: TRL's `SFTTrainer` on checked rows, with a record of what was done.

```
tunegate train sft --config good.yaml [any TRL flag]
python -m trainers.sft --model_name_or_path embedded --train_files rows.jsonl --use_peft
```
The loss covers completions only. The same seed, files, versions and number of threads give the
same weights, byte for byte.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError, TunegateError, UsageError
from trainers import base_model, libraries, progress, saving
from trainers.config import (
    TrainingConfig,
    parse,
    prepare_environment,
    require_extra,
)
from trainers.config import make_parser as make_trl_parser
from trainers.data import TrainingRows, load

if TYPE_CHECKING:
    from trl import TrlParser  # type: ignore[attr-defined]  # TRL re-exports lazily


def make_parser(prog: str | None = None) -> TrlParser:
    """Return the parser of `tunegate train sft`: our data options, `SFTConfig`, `ModelConfig`."""
    prepare_environment()
    require_extra()
    from trl import SFTConfig  # type: ignore[attr-defined]  # TRL re-exports lazily

    return make_trl_parser(SFTConfig, prog)


def run(argv: Sequence[str], *, say: progress.Say = progress.to_stderr) -> int:
    """Train as `argv` asks and return the exit code; the body of `tunegate train sft`.

    Args:
        argv: flags after `train sft`, such as `["--config", "good.yaml", "--seed", "1"]`.
        say: takes each line for the user: progress, where the weights are, or the error.
    """
    try:
        main(parse(make_parser("tunegate train sft"), argv), say=say)
    except TunegateError as error:
        say(f"error: {error}")
        return error.exit_code
    except SystemExit as leave:  # --help
        return int(leave.code or 0)
    return 0


def main(config: TrainingConfig, *, say: progress.Say = progress.to_stderr) -> Path:
    """Train, save the weights with their record, and return the folder.

    Raises:
        UsageError: options, rows or the model cannot be used.
        BackendError: memory or disk ran out.
        TunegateError: the training diverged or changed nothing.
    """
    args, options = config.training, config.model
    if not config.data.train_files:
        raise UsageError("--train_files: missing; give one or more JSONL or Parquet files")
    rows = load(config.data.train_files, seed=args.seed)
    base = base_model.find(
        options.model_name_or_path,
        revision=options.model_revision,
        trusted=args.trust_remote_code,
    )
    say(f"training on {len(rows.rows)} rows from {len(rows.files)} files; base {base.name}")
    with (
        libraries.quiet(),
        libraries.precision(config.data.float32_matmul_precision),
        libraries.failures(config),
    ):
        trainer = _trainer(config, base, rows, say)
        _say_dropped(trainer, rows, say)
        saving.prepare(Path(args.output_dir))
        start = time.monotonic()
        trainer.train(resume_from_checkpoint=_checkpoint(args))
        folder = saving.save(
            trainer, config, base, rows, method="sft", seconds=time.monotonic() - start
        )
    say(f"saved to {folder}; next: tunegate gate SUITES --base {base.name} --tuned {folder}")
    return folder


def _trainer(
    config: TrainingConfig, base: base_model.BaseModel, rows: TrainingRows, say: progress.Say
) -> Any:
    from transformers import PrinterCallback, set_seed
    from trl import (  # type: ignore[attr-defined]  # TRL re-exports lazily
        SFTTrainer,
        get_peft_config,
        get_quantization_config,
    )

    args, options = config.training, config.model
    set_seed(args.seed)  # LoRA draws its first weights before the trainer sets the seed itself
    args.completion_only_loss = args.completion_only_loss is not False
    args.model_init_kwargs = {
        **(args.model_init_kwargs or {}),
        "revision": options.model_revision,
        "attn_implementation": options.attn_implementation,
        "dtype": options.dtype,
    }
    evaluation = load(config.data.eval_files, seed=args.seed) if config.data.eval_files else None
    tokenizer = _tokenizer(config, base)
    try:
        trainer = SFTTrainer(
            model=base.name,
            args=args,
            train_dataset=rows.to_dataset(),
            eval_dataset=evaluation.to_dataset() if evaluation else None,
            processing_class=tokenizer,
            quantization_config=get_quantization_config(options),
            peft_config=get_peft_config(options),
            callbacks=[progress.callback(say)],
        )
    except (ValueError, ImportError) as error:
        raise UsageError(f"TRL cannot train so: {str(error).splitlines()[0]}") from error
    trainer.remove_callback(PrinterCallback)
    return trainer


def _tokenizer(config: TrainingConfig, base: base_model.BaseModel) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            base.name,
            revision=config.model.model_revision,
            trust_remote_code=config.training.trust_remote_code,
        )
    except (ValueError, OSError) as error:
        first = str(error).splitlines()[0].rstrip(" :")
        raise ModelError(f"{base.name}: no tokenizer can be loaded from it ({first})") from error


def _say_dropped(trainer: Any, rows: TrainingRows, say: progress.Say) -> None:
    """Say which rows `max_length` has cut; TRL drops those without a completion in silence."""
    limit = trainer.args.max_length
    if limit is None or trainer.args.packing:
        return
    kept = trainer.train_dataset
    if not len(kept):
        raise UsageError(f"max_length={limit}: no row's completion fits; raise it")
    cut = sum(len(ids) >= limit for ids in kept["input_ids"])
    if dropped := len(rows.rows) - len(kept):
        say(f"warning: {dropped} rows dropped, their prompts alone fill max_length={limit}")
    if cut:
        say(f"warning: {cut} rows reach max_length={limit}, the ends of longer ones are cut off")


def _checkpoint(args: Any) -> str | bool | None:
    """Return TRL's `resume_from_checkpoint`: a folder, or True for the last one there is."""
    from transformers import trainer_utils

    utils: Any = trainer_utils
    wanted = args.resume_from_checkpoint
    if wanted is None or str(wanted).lower() == "false":
        return None
    if str(wanted).lower() == "true":
        output = Path(args.output_dir)
        wanted = utils.get_last_checkpoint(str(output)) if output.is_dir() else None
        if wanted is None:
            raise UsageError(f"--resume_from_checkpoint: no checkpoint in {args.output_dir}")
    if not (Path(wanted) / "trainer_state.json").is_file():
        raise UsageError(f"--resume_from_checkpoint={wanted}: not a checkpoint of a training")
    return str(wanted)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
