"""RLOO with verifiers or a reward model: TRL's `RLOOTrainer`, with the options of `train grpo`.

```
tunegate train rloo --config rloo.yaml [any TRL flag]
tunegate train rloo --model_name_or_path embedded --train_files prompts.jsonl --reward_model reward
```
REINFORCE, leave one out: an answer is compared with the mean of its group's other answers
(https://arxiv.org/abs/2402.14740). It needs no value model.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from tunegate.trainers import callbacks, datasets, reward_training, train
from tunegate.trainers.job import TrainingJob, TrainingMethod

ORDER = 55
_LOSS = (
    *("beta", "num_iterations", "epsilon", "epsilon_high", "normalize_advantages"),
    *("reward_clip_range", "mask_truncated_completions", "reward_weights", "shuffle_dataset"),
)


def run(argv: Sequence[str], *, say: callbacks.Say = callbacks.print_to_stderr) -> int:
    """Train as `argv` asks and return the exit code; the body of `tunegate train rloo`."""
    return train.run_method(METHOD, argv, say=say)


def _configuration() -> type[Any]:
    from trl import RLOOConfig  # type: ignore[attr-defined]  # TRL re-exports lazily

    return RLOOConfig


def _build(job: TrainingJob) -> Any:
    from trl import RLOOTrainer  # type: ignore[attr-defined]  # TRL re-exports lazily

    return reward_training.build_with_rewards(job, RLOOTrainer)


METHOD = TrainingMethod(
    name="rloo",
    rows=datasets.PROMPTS,
    configuration=_configuration,
    build=_build,
    settings=reward_training.GENERATION + _LOSS,
    options=reward_training.RewardArguments,
    continues_adapter=True,
)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
