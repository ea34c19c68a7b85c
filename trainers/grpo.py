"""GRPO with verifiers: TRL's `GRPOTrainer`, its rewards the metrics that gate.

```
tunegate train grpo --config grpo.yaml [any TRL flag]
tunegate train grpo --model_name_or_path embedded --train_files prompts.jsonl --reward numeric
tunegate train grpo --config grpo.yaml --reward_model .tunegate/reward
```
Rows are prompts with what the rewards need (`trainers/prompt_rows.py`). `--environment
desk.py:Desk` trains on episodes (`trainers/training_environment.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tunegate.trainers import datasets
from tunegate.trainers.job import TrainingJob, TrainingMethod
from tunegate.trainers.reward_training import GENERATION, RewardArguments, build_with_rewards

ORDER = 50
SEQUENCES_PER_ROW = 1
WRITTEN_SHARE = 0.5
"""Share of a row that a step writes, in an estimate without `--written`."""
_LOSS = (
    *("beta", "num_iterations", "epsilon", "epsilon_high", "loss_type", "scale_rewards"),
    *("importance_sampling_level", "multi_objective_aggregation", "mask_truncated_completions"),
    *("reward_weights", "top_entropy_quantile", "entropy_coef", "shuffle_dataset"),
)


@dataclass
class GrpoArguments(RewardArguments):
    """Options that tunegate adds to `GRPOConfig`."""

    environment: str | None = field(
        default=None,
        metadata={
            "help": "Environment of a suite of episodes, `file.py:Class`: its tools are called, "
            "and its reward is learned from."
        },
    )


def _build(job: TrainingJob) -> Any:
    from trl import GRPOTrainer  # type: ignore[attr-defined]  # TRL re-exports lazily

    return build_with_rewards(job, GRPOTrainer)


METHOD = TrainingMethod(
    name="grpo",
    rows=datasets.PROMPTS,
    configuration="trl:GRPOConfig",
    build=_build,
    settings=GENERATION + _LOSS,
    options=GrpoArguments,
    continues_adapter=True,
)
