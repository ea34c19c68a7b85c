"""Learning from thumbs up and thumbs down: TRL's `KTOTrainer` on answers that are good or bad.

```
tunegate train kto --config labels.yaml --beta 0.1 --undesirable_weight 1.0
tunegate train kto --adapter_name_or_path sft-adapter … # continues a fine-tune
```
Rows need no pairs: each is one answer with a label. The reference is that of `train dpo`. A batch
of one row has no mismatched answers to compare with, so TRL requires two or more.
"""

from __future__ import annotations

from typing import Any

from tunegate.harness.records.errors import UsageError
from tunegate.trainers import datasets, dpo, row_lengths
from tunegate.trainers.job import TrainingJob, TrainingMethod

ORDER = 30
SEQUENCES_PER_ROW = 1


def _build(job: TrainingJob) -> Any:
    from trl import KTOTrainer  # type: ignore[attr-defined]  # TRL re-exports lazily

    labels = {row["label"] for row in job.rows.rows}
    if len(labels) == 1:
        raise UsageError(
            f"every row has label={str(labels.pop()).lower()}; KTO learns from answers that are "
            "good and answers that are bad"
        )
    dpo.precompute_reference(job)
    return KTOTrainer(**job.model_arguments(), **job.arguments())


METHOD = TrainingMethod(
    name="kto",
    rows=datasets.LABELLED,
    configuration="trl:KTOConfig",
    build=_build,
    settings=(
        *("beta", "loss_type", "desirable_weight", "undesirable_weight"),
        *("precompute_ref_log_probs", "sync_ref_model"),
    ),
    check=row_lengths.warn_truncated_answers,
    kinds=dpo.KINDS,
    continues_adapter=True,
)
