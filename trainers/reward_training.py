"""Training by rewards: what `train grpo`, `train rloo` and TRL's other trainers of that kind share.

Rewards are metrics (`trainers/verifiable_rewards.py`) or a reward model of `tunegate train reward`.
The progress line has TRL's group statistics: `reward`, `reward_std` and `frac_reward_zero_std`, the
share of answers whose whole group got the same reward, so that nothing can be learned from it.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.records.errors import UsageError
from tunegate.harness.run.code_execution import shown_jobs
from tunegate.harness.sandbox.chosen import choose_sandbox
from tunegate.trainers import callbacks, prompt_rows, row_lengths, verifiable_rewards
from tunegate.trainers import reward as reward_models
from tunegate.trainers.job import TrainingJob
from tunegate.trainers.training_environment import environment_arguments
from tunegate.trainers.verifiable_rewards import RewardVerifier

if TYPE_CHECKING:
    from transformers import TrainerCallback


_NAME = "reward_model"
"""Name of `--reward_model`'s reward in TRL's logs."""

GENERATION = (
    *("num_generations", "num_generations_eval", "max_completion_length", "temperature"),
    *("top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs", "chat_template_kwargs"),
    *("generation_batch_size", "steps_per_generation", "cache_implementation"),
    *("use_vllm", "vllm_mode", "use_transformers_continuous_batching"),
)
"""TRL's options that decide how the answers are made."""


@dataclass
class RewardArguments:
    """Options that tunegate adds to TRL's for a training by rewards."""

    rewards: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Metrics that verify the answers: names, `pkg.mod:fn`, or {use: NAME, weight: "
            "1.0, …} with the metric's options.",
            "aliases": ["--reward"],
        },
    )
    reward_model: str | None = field(
        default=None,
        metadata={"help": "Folder of a reward model that scores the answers, of `train reward`."},
    )
    reward_model_weight: float = field(
        default=1.0, metadata={"help": "Weight of --reward_model relative to other rewards."}
    )
    sandbox: str = field(
        default="bubblewrap",
        metadata={"help": "Where programs in answers run: bubblewrap, docker, podman or none."},
    )


def build_with_rewards(
    job: TrainingJob, trainer: type[Any], *, takes: Container[str] | None = None, **more: Any
) -> Any:
    """Return one of TRL's trainers that learn from rewards.

    Args:
        job: Its `config.own` is `RewardArguments`.
        trainer: TRL's class.
        takes: Names of the class's arguments; None if it takes those of `GRPOTrainer`.
        more: Further arguments of the class.
    """
    args, tokenizer = job.config.training, job.tokenizer
    choose_sandbox(job.config.own.sandbox)
    used = _rewards(job)
    room = row_lengths.prompt_room(job, getattr(args, "max_completion_length", None))
    rows = row_lengths.fitting_prompts(
        prompt_rows.load_prompts(job.rows), tokenizer, room=room, say=job.say
    )
    held = prompt_rows.load_prompts(job.evaluation) if job.evaluation else ()
    with shown_jobs(sys.stderr) if callbacks.is_first_process() else nullcontext():
        verifiable_rewards.check_rewards(
            used, [row.case for row in (*rows, *held)], where="rewards"
        )
    args.reward_weights = [reward.signed_weight for reward in used]
    job.config.own.rewards = [reward.record() for reward in used]
    verifier = RewardVerifier(used, (*rows, *held), tokenizer)
    shape = {"chat": getattr(job.config.own, "environment", None) is not None}
    unseen = prompt_rows.prompt_dataset(held, tokenizer, first=len(rows), **shape) if held else None
    arguments = {
        **job.model_arguments(),
        "args": args,
        "processing_class": tokenizer,
        "reward_funcs": list(verifier.functions()),
        "train_dataset": prompt_rows.prompt_dataset(rows, tokenizer, **shape),
        "eval_dataset": unseen,
        "callbacks": [
            callbacks.progress_callback(job.say, more=group_statistics),
            signal_callback(verifier, job.say),
            callbacks.evaluation_callback(job.say),
            callbacks.gradient_callback(),
        ],
        **environment_arguments(job, (*rows, *held)),
        **more,
    }
    return trainer(**{name: v for name, v in arguments.items() if takes is None or name in takes})


def _rewards(job: TrainingJob) -> tuple[verifiable_rewards.Reward, ...]:
    """Return the rewards of the configuration; TRL's own weights are refused with them."""
    file, options = job.config.config_file, job.config.own
    if job.config.training.reward_weights is not None:
        raise UsageError(
            "reward_weights: give each entry of `rewards` its `weight` instead, and the reward "
            "model its `reward_model_weight`"
        )
    model = _model_reward(job) if options.reward_model else ()
    if (model or getattr(options, "environment", None)) and not options.rewards:
        return model
    in_file = file is not None and any(isinstance(entry, dict) for entry in options.rewards)
    folder = file.parent if file is not None and in_file else Path()
    named = verifiable_rewards.load_rewards(
        options.rewards, folder=folder, where=f"{file}: rewards" if in_file else "--reward"
    )
    return (*named, *model)


def _model_reward(job: TrainingJob) -> tuple[verifiable_rewards.Reward]:
    """Return the reward that `--reward_model` gives."""
    options = job.config.own
    where = f"--reward_model={options.reward_model}"
    if not 0 < options.reward_model_weight < float("inf"):
        raise UsageError(f"--reward_model_weight={options.reward_model_weight}: must be above 0")
    folder = reward_models.check_reward_model(options.reward_model, where=where)
    function = reward_models.reward_function(
        folder,
        where=where,
        dtype=job.config.model.dtype,
        chat_template_kwargs=getattr(job.config.training, "chat_template_kwargs", None),
    )
    settings = {"reward_model": str(folder), "weights_sha256": weights_fingerprint(folder)}
    weight = options.reward_model_weight
    return (verifiable_rewards.Reward(_NAME, _NAME, weight, settings, function=function),)


def group_statistics(logs: Mapping[str, Any]) -> str:
    """Return the group statistics of a log entry: mean, spread, groups that teach nothing."""
    mean, spread = logs.get("reward"), logs.get("reward_std")
    if mean is None or spread is None:
        return "no completion could be scored"
    silent = logs.get("frac_reward_zero_std") or 0.0
    return f"reward {mean:.3f} ± {spread:.3f}  groups without signal {silent:.0%}"


def signal_callback(verifier: RewardVerifier, say: callbacks.Say) -> TrainerCallback:
    """Return a callback that warns once if the first groups gave nothing to learn from."""
    from transformers import TrainerCallback

    class SignalCallback(TrainerCallback):
        def __init__(self) -> None:
            self.checked = False

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if self.checked or not logs or "frac_reward_zero_std" not in logs:
                return
            self.checked = True
            silent = logs["frac_reward_zero_std"] == 1.0 or logs.get("reward") is None
            if state.is_world_process_zero and silent:
                say(_nothing_to_learn(state.global_step, logs, verifier))

    return SignalCallback()


def _nothing_to_learn(steps: int, logs: Mapping[str, Any], verifier: RewardVerifier) -> str:
    head = f"warning: nothing to learn in the first {steps} steps: "
    if logs.get("reward") is None and verifier.unscored:
        return f"{head}no completion could be scored ({verifier.unscored.most_common(1)[0][0]})"
    return (
        f"{head}all answers to a prompt got the same reward; take a reward that is sometimes "
        "earned, easier prompts, a higher temperature or more num_generations"
    )
