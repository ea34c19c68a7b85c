"""Learning from thumbs up and thumbs down: TRL's `KTOTrainer` on answers that are good or bad.

```
tunegate train kto --config labels.yaml --beta 0.1 --undesirable_weight 1.0
tunegate train kto --adapter_name_or_path sft-adapter … # goes on from a fine-tune
```
Rows need no pairs: each is one answer with a label. The reference is what it is for `train dpo`.
A batch of one row has no mismatched answers to compare with, so TRL asks for two or more.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tunegate.harness.errors import UsageError
from tunegate.trainers import callbacks, datasets, dpo, prompt_rows, train
from tunegate.trainers.job import TrainingJob, TrainingMethod

if TYPE_CHECKING:
    from tunegate.trainers.estimate.losses import TrainingStep

ORDER = 30


def run(argv: Sequence[str], *, say: callbacks.Say = callbacks.print_to_stderr) -> int:
    """Train as `argv` asks and return the exit code; the body of `tunegate train kto`."""
    return train.run_method(METHOD, argv, say=say)


def _configuration() -> type[Any]:
    from trl import KTOConfig  # type: ignore[attr-defined]  # TRL re-exports lazily

    return KTOConfig


def _build(job: TrainingJob) -> Any:
    from trl import KTOTrainer  # type: ignore[attr-defined]  # TRL re-exports lazily

    labels = {row["label"] for row in job.rows.rows}
    if len(labels) == 1:
        raise UsageError(
            f"every row has label={str(labels.pop()).lower()}; KTO learns from answers that are "
            "good and answers that are bad"
        )
    dpo.compute_beforehand(job)
    return KTOTrainer(**job.model_arguments(), **job.arguments())


def step_loss(step: TrainingStep) -> Any:
    """Compute KTO's loss."""
    import torch

    from tunegate.trainers.estimate.losses import (
        answer_logprobs,
        full_mask,
        log_entropy,
        read_answers,
    )

    ids = step.ids
    with torch.no_grad():
        read_answers(step.model, ids)
    outputs = step.model(input_ids=ids, attention_mask=full_mask(ids))
    logits = outputs.logits[:, :-1, :]
    log_p = answer_logprobs(logits, ids).sum(-1)
    if step.adapted:
        with torch.no_grad(), step.model.disable_adapter():
            read_answers(step.model, ids)
            reference = step.model(input_ids=ids, attention_mask=full_mask(ids))
        log_p = log_p - answer_logprobs(reference.logits[:, :-1, :], ids).sum(-1)
    log_entropy(logits)
    good, bad = (part.clone() for part in logits.detach().tensor_split(2))
    good.clone().mean(-1), bad.clone().mean(-1)
    return torch.sigmoid(log_p).mean()


METHOD = TrainingMethod(
    name="kto",
    rows=datasets.LABELLED,
    configuration=_configuration,
    build=_build,
    settings=(
        *("beta", "loss_type", "desirable_weight", "undesirable_weight"),
        *("precompute_ref_log_probs", "sync_ref_model"),
    ),
    check=prompt_rows.say_prompts_that_fill,
    kinds=dpo.KINDS,
    goes_on=True,
)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
