"""RLOO with verifiers or a reward model: TRL's `RLOOTrainer`, with the options of `train grpo`.

```
tunegate train rloo --config rloo.yaml [any TRL flag]
tunegate train rloo --model_name_or_path embedded --train_files prompts.jsonl --reward_model reward
```
REINFORCE, leave one out: an answer is compared with the mean of its group's other answers
(https://arxiv.org/abs/2402.14740). It needs no value model.
"""

from __future__ import annotations

from typing import Any

from tunegate.trainers import datasets, reward_training
from tunegate.trainers.job import TrainingJob, TrainingMethod

ORDER = 55
_LOSS = (
    *("beta", "num_iterations", "epsilon", "epsilon_high", "normalize_advantages"),
    *("reward_clip_range", "mask_truncated_completions", "reward_weights", "shuffle_dataset"),
)


def _build(job: TrainingJob) -> Any:
    from trl import RLOOTrainer  # type: ignore[attr-defined]  # TRL re-exports lazily

    return reward_training.build_with_rewards(job, RLOOTrainer)


METHOD = TrainingMethod(
    name="rloo",
    rows=datasets.PROMPTS,
    configuration="trl:RLOOConfig",
    build=_build,
    settings=reward_training.GENERATION + _LOSS,
    options=reward_training.RewardArguments,
    continues_adapter=True,
)
