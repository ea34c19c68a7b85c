"""Preference optimisation: TRL's `DPOTrainer` on pairs of a better and a worse answer.

```
tunegate train dpo --config pairs.yaml --beta 0.1 --loss_type ipo
tunegate train dpo --adapter_name_or_path sft-adapter … # continues a fine-tune
```
DPO and KTO compare with the model as it was, and never load a second one. With a new adapter, the
reference is the model with the adapter off. With an existing adapter, TRL keeps a frozen copy of
it, which is not saved. Where all weights or the biases are trained, the reference's
log-probabilities are computed once, before the first step.
"""

from __future__ import annotations

from typing import Any

from tunegate.harness.records.errors import UsageError
from tunegate.trainers import datasets, peft_adapters, row_lengths
from tunegate.trainers.job import TrainingJob, TrainingMethod

ORDER = 20
SEQUENCES_PER_ROW = 2


def _build(job: TrainingJob) -> Any:
    from trl import DPOTrainer  # type: ignore[attr-defined]  # TRL re-exports lazily

    _refuse_smoothing_without_effect(job.config.training)
    precompute_reference(job)
    return DPOTrainer(**job.model_arguments(), **job.arguments())


_SMOOTHED = {"robust", "exo_pair", "aot", "aot_unpaired"}
"""Loss types of TRL 1.9 to 1.16 that use label smoothing; the others silently ignore it."""


def _refuse_smoothing_without_effect(args: Any) -> None:
    if args.label_smoothing and not _SMOOTHED & set(args.loss_type):
        raise UsageError(
            f"label_smoothing={args.label_smoothing} has no effect on loss_type="
            f"{','.join(args.loss_type)}; for labels that may be wrong use --loss_type robust"
        )


KINDS = (*peft_adapters.COMMON, "bitfit")
"""Kinds of `--peft` for methods with a reference; TRL compares no virtual tokens there."""


def precompute_reference(job: TrainingJob) -> None:
    """Turn on TRL's `precompute_ref_log_probs` where it would otherwise load a second model."""
    args = job.config.training
    whole = peft_adapters.peft_kind(job.config) in peft_adapters.WHOLE
    if whole and "precompute_ref_log_probs" not in job.config.given and not args.sync_ref_model:
        args.precompute_ref_log_probs = True


METHOD = TrainingMethod(
    name="dpo",
    rows=datasets.PREFERENCES,
    configuration="trl:DPOConfig",
    build=_build,
    settings=(
        *("beta", "loss_type", "loss_weights", "label_smoothing", "f_divergence_type"),
        *("truncation_mode", "precompute_ref_log_probs", "sync_ref_model"),
    ),
    check=row_lengths.warn_truncated_answers,
    kinds=KINDS,
    continues_adapter=True,
)
