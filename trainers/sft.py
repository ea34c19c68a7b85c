"""Supervised fine-tuning: TRL's `SFTTrainer` on checked rows, with a record of what was done.

```
tunegate train sft --config good.yaml [any TRL flag]
python -m tunegate.trainers.sft --model_name_or_path embedded --train_files rows.jsonl --use_peft
```
The loss covers completions only. The same seed, files, versions and number of threads give the
same weights, byte for byte.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tunegate.trainers import arguments, callbacks, datasets, prompt_rows, train
from tunegate.trainers.job import TrainingJob, TrainingMethod

if TYPE_CHECKING:
    from tunegate.trainers.estimate.losses import TrainingStep

ORDER = 10
_CHUNK = 256
"""Tokens of which SFT computes logits at once (`_CHUNKED_LM_HEAD_CHUNK_SIZE`)."""


def run(argv: Sequence[str], *, say: callbacks.Say = callbacks.print_to_stderr) -> int:
    """Train as `argv` asks and return the exit code; the body of `tunegate train sft`."""
    return train.run_method(METHOD, argv, say=say)


def _configuration() -> type[Any]:
    from trl import SFTConfig  # type: ignore[attr-defined]  # TRL re-exports lazily

    return SFTConfig


def _build(job: TrainingJob) -> Any:
    from trl import SFTTrainer  # type: ignore[attr-defined]  # TRL re-exports lazily

    args = job.config.training
    args.completion_only_loss = args.completion_only_loss is not False
    return SFTTrainer(**job.model_arguments(), **job.arguments())


def _say_cut(trainer: Any, job: TrainingJob) -> None:
    """Say which rows `max_length` has cut, and which TRL has dropped."""
    limit = trainer.args.max_length
    if limit is None or trainer.args.packing:
        return
    prompt_rows.say_dropped(trainer, job, why="their prompts alone fill")
    cut = sum(len(ids) >= limit for ids in trainer.train_dataset["input_ids"])
    if cut:
        job.say(f"warning: {cut} rows reach max_length={limit}, the ends of longer ones are cut")


def step_loss(step: TrainingStep) -> Any:
    """Compute TRL's `chunked_nll`: logits of 256 tokens at a time, made again backwards."""
    from torch.utils.checkpoint import checkpoint

    from tunegate.trainers.estimate.losses import full_mask

    ids, causal = step.ids, step.causal
    hidden = causal.base_model(input_ids=ids, attention_mask=full_mask(ids), use_cache=False)[0]
    hidden = hidden[..., :-1, :].reshape(-1, hidden.size(-1))
    labels = ids[..., 1:].reshape(-1)
    order = labels.argsort()
    hidden, labels = hidden[order], labels[order]
    head = causal.get_output_embeddings()
    loss = hidden.new_zeros(())
    for start in range(0, len(hidden), _CHUNK):
        part = slice(start, start + _CHUNK)
        loss = loss + checkpoint(_chunk, hidden[part], head, labels[part], use_reentrant=False)
    return loss


def _chunk(hidden: Any, head: Any, labels: Any) -> Any:
    import torch

    logits = hidden.float() @ head.weight.float().t()
    log_p = torch.nn.functional.log_softmax(logits, dim=-1)
    (log_p.exp() * log_p).sum(dim=-1)  # the entropy that TRL logs
    return torch.nn.functional.nll_loss(log_p, labels, reduction="sum")


METHOD = TrainingMethod(
    name="sft",
    rows=datasets.COMPLETIONS,
    configuration=_configuration,
    build=_build,
    settings=("packing", "completion_only_loss", "loss_type"),
    check=_say_cut,
    kinds=arguments.KINDS,
    goes_on=True,
)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
