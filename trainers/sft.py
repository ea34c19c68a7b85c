"""Supervised fine-tuning: TRL's `SFTTrainer` on checked rows, with a record of what was done.

```
tunegate train sft --config good.yaml [any TRL flag]
tunegate train sft --model_name_or_path embedded --train_files rows.jsonl --use_peft
```
The loss covers completions only. Equal seed, files, versions and number of threads give the
same weights, byte for byte.
"""

from __future__ import annotations

from typing import Any

from tunegate.harness.records.wording import count_noun
from tunegate.trainers import arguments, datasets, row_lengths
from tunegate.trainers.job import TrainingJob, TrainingMethod
from tunegate.trainers.row_checks.training_check import check_learned

ORDER = 10
SEQUENCES_PER_ROW = 1


def _build(job: TrainingJob) -> Any:
    return make_trainer(**job.model_arguments(), **job.arguments())


def make_trainer(args: Any, **more: Any) -> Any:
    """Return TRL's trainer, which has tokenized the rows and labeled what is learned."""
    from trl import SFTTrainer  # type: ignore[attr-defined]  # TRL re-exports lazily

    args.completion_only_loss = args.completion_only_loss is not False
    return SFTTrainer(args=args, **more)


def _check_rows(trainer: Any, job: TrainingJob) -> None:
    """Refuse rows of which nothing is learned; warn of what is cut, dropped or never ends."""
    check_learned(trainer, job)
    _warn_truncated_rows(trainer, job)


def _warn_truncated_rows(trainer: Any, job: TrainingJob) -> None:
    limit = trainer.args.max_length
    if limit is None or trainer.args.packing:
        return
    row_lengths.warn_dropped_rows(trainer, job, why="the prompt alone fills")
    cut = sum(len(ids) >= limit for ids in trainer.train_dataset["input_ids"])
    if cut:
        job.say(f"warning: {count_noun(cut, 'row')} cut off at max_length={limit}")


METHOD = TrainingMethod(
    name="sft",
    rows=datasets.COMPLETIONS,
    configuration="trl:SFTConfig",
    build=_build,
    settings=("packing", "completion_only_loss", "loss_type"),
    check=_check_rows,
    kinds=arguments.KINDS,
    continues_adapter=True,
)
