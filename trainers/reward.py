"""A reward model: TRL's `RewardTrainer` on pairs of a better and a worse answer.

```
tunegate train reward --config pairs.yaml --peft lora
tunegate train ppo --reward_model_path .tunegate/reward …
```
It gives an answer one number and is a sequence classifier with one label: an adapter with its head,
or a whole model. It writes no texts, so it has no gate; give `--eval_files` and
`--eval_strategy epoch` and its accuracy on pairs it has not seen is said at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from tunegate.trainers import callbacks, datasets, prompt_rows, train
from tunegate.trainers.job import TrainingJob, TrainingMethod

ORDER = 40


def run(argv: Sequence[str], *, say: callbacks.Say = callbacks.print_to_stderr) -> int:
    """Train as `argv` asks and return the exit code; the body of `tunegate train reward`."""
    return train.run_method(METHOD, argv, say=say)


def _configuration() -> type[Any]:
    from trl import RewardConfig  # type: ignore[attr-defined]  # TRL re-exports lazily

    return RewardConfig


def _build(job: TrainingJob) -> Any:
    from trl import RewardTrainer  # type: ignore[attr-defined]  # TRL re-exports lazily

    return RewardTrainer(**job.model_arguments(), **job.arguments())


METHOD = TrainingMethod(
    name="reward",
    rows=datasets.PREFERENCES,
    configuration=_configuration,
    build=_build,
    settings=("center_rewards_coefficient",),
    check=partial(prompt_rows.say_dropped, why="a pair is longer than"),
    kinds=("lora", "dora", "none"),
    task="SEQ_CLS",
)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
