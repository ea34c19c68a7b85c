"""Statistics of groups while GRPO trains: what its progress says, and when nothing can be learnt.

TRL computes and logs them: `reward`, `reward_std` and `frac_reward_zero_std`, the share of answers
whose group all got the same reward, so that none was better than another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainers import progress
from trainers.verifier import Verifier

if TYPE_CHECKING:
    from transformers import TrainerCallback


def callbacks(verifier: Verifier, say: progress.Say) -> list[TrainerCallback]:
    """Return the callbacks of a training by groups: its progress, and its one warning."""
    return [progress.callback(say, more=words), signal(verifier, say)]


def words(logs: Mapping[str, Any]) -> str:
    """Return the group statistics of a log entry: mean, spread, groups that teach nothing."""
    mean, spread = logs.get("reward"), logs.get("reward_std")
    if mean is None or spread is None:
        return "no completion could be scored"
    silent = logs.get("frac_reward_zero_std") or 0.0
    return f"reward {mean:.3f} ± {spread:.3f}  groups without signal {silent:.0%}"


def signal(verifier: Verifier, say: progress.Say) -> TrainerCallback:
    """Return a callback that warns once where the first groups had nothing to learn from."""
    from transformers import TrainerCallback

    class Signal(TrainerCallback):
        def __init__(self) -> None:
            self.looked = False

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if self.looked or not logs or "frac_reward_zero_std" not in logs:
                return
            self.looked = True
            silent = logs["frac_reward_zero_std"] == 1.0 or logs.get("reward") is None
            if state.is_world_process_zero and silent:
                say(_nothing_to_learn(state.global_step, logs, verifier))

    return Signal()


def _nothing_to_learn(steps: int, logs: Mapping[str, Any], verifier: Verifier) -> str:
    head = f"warning: nothing to learn in the first {steps} steps: "
    if logs.get("reward") is None and verifier.unscored:
        return f"{head}no completion could be scored ({verifier.unscored.most_common(1)[0][0]})"
    return (
        f"{head}all answers to a prompt got the same reward; take a reward that is sometimes "
        "earned, easier prompts, a higher temperature or more num_generations"
    )
