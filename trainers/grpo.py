"""GRPO with verifiers: TRL's `GRPOTrainer`, its rewards the metrics that gate.

```
tunegate train grpo --config grpo.yaml [any TRL flag]
tunegate train grpo --model_name_or_path embedded --train_files prompts.jsonl --reward numeric
tunegate train grpo --config grpo.yaml --reward_model .tunegate/reward
```
Rows are prompts with what the rewards need (`trainers/prompt_rows.py`), rewards are
`trainers/verifiable_rewards.py` or a reward model of `tunegate train reward`. The log has TRL's
group statistics, the record how answers were generated. RLOO and whatever else TRL trains by
rewards have the same options and are built here (`build_with_rewards`).

`--environment desk.py:Desk` trains on episodes. TRL calls `reset` with every column of its dataset;
the class that it gets calls the environment's with what is in `row`, as the gate does. Nothing else
differs. A chat template that shows no tools is trained with tools as text, in the prompts that a
suite with `tools = "system"` asks, and calls are read by what reads them there.

Statistics of groups while GRPO trains: for its progress, and for when nothing can be learnt. TRL
computes and logs them: `reward`, `reward_std` and `frac_reward_zero_std`, the share of answers
whose group all got the same reward, so that none was better than another.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.contracts.episode_environment import EnvironmentSource, reset_arguments
from tunegate.harness.episodes.transcript import messages_in_text, opening_case, turn_calls
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeSettings
from tunegate.harness.records.errors import UsageError
from tunegate.trainers import (
    callbacks as training_callbacks,
)
from tunegate.trainers import (
    datasets,
    prompt_rows,
    train,
    verifiable_rewards,
)
from tunegate.trainers import reward as reward_models
from tunegate.trainers.job import TrainingJob, TrainingMethod
from tunegate.trainers.verifiable_rewards import RewardVerifier

if TYPE_CHECKING:
    from transformers import TrainerCallback


ORDER = 50
SEQUENCES_PER_ROW = 1
NAME = "reward_model"
"""Name of `--reward_model`'s reward in TRL's logs."""
WRITTEN_SHARE = 0.5
"""Share of a row that a step writes, in an estimate without `--written`."""
GENERATION = (
    *("num_generations", "num_generations_eval", "max_completion_length", "temperature"),
    *("top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs", "chat_template_kwargs"),
    *("generation_batch_size", "steps_per_generation", "cache_implementation"),
    *("use_vllm", "vllm_mode", "use_transformers_continuous_batching"),
)
"""TRL's options that decide how the answers are made."""
_LOSS = (
    *("beta", "num_iterations", "epsilon", "epsilon_high", "loss_type", "scale_rewards"),
    *("importance_sampling_level", "multi_objective_aggregation", "mask_truncated_completions"),
    *("reward_weights", "top_entropy_quantile", "entropy_coef", "shuffle_dataset"),
)


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


@dataclass
class GrpoArguments(RewardArguments):
    """Fields that tunegate adds to `GRPOConfig`."""

    environment: str | None = field(
        default=None,
        metadata={
            "help": "Environment of a suite of episodes, `file.py:Class`: its tools are called, "
            "and its reward is learnt from."
        },
    )


def run(
    argv: Sequence[str], *, say: training_callbacks.Say = training_callbacks.print_to_stderr
) -> int:
    """Train as `argv` asks and return the exit code; the body of `tunegate train grpo`."""
    return train.run_method(METHOD, argv, say=say)


def _configuration() -> type[Any]:
    from trl import GRPOConfig  # type: ignore[attr-defined]  # TRL re-exports lazily

    return GRPOConfig


def _build(job: TrainingJob) -> Any:
    from trl import GRPOTrainer  # type: ignore[attr-defined]  # TRL re-exports lazily

    return build_with_rewards(job, GRPOTrainer)


def _environment(job: TrainingJob, rows: Sequence[prompt_rows.PromptRow]) -> dict[str, Any]:
    """Return TRL's arguments for the environment; nothing without one."""
    spec, file = getattr(job.config.own, "environment", None), job.config.config_file
    if spec is None:
        return {}
    place, _, name = spec.rpartition(":")
    path = Path(place) if file is None or Path(place).is_file() else file.parent / place
    if place.endswith(".py"):
        spec = f"{path.name}:{name}"
    made = training_environment(spec, path.parent, rows, job.tokenizer)
    if made.in_text:
        job.say('tools, calls and results are text, as a suite with tools = "system" shows them')
    return {"environment_factory": made.factory, "processing_class": made.tokenizer}


@dataclass(frozen=True)
class TrainingEnvironment:
    """An environment in training."""

    factory: Callable[[], Any] = field(repr=False)
    """Makes the instances, for TRL."""
    tokenizer: Any = field(repr=False)
    """The tokenizer to train with; it shows tools and reads calls."""
    in_text: bool
    """Whether tools, calls and results are text, as with `tools = "system"` in a suite."""


def training_environment(
    spec: str, folder: Path, rows: Sequence[prompt_rows.PromptRow], tokenizer: Any
) -> TrainingEnvironment:
    """Return what TRL makes its environments with, and a tokenizer that shows their tools.

    Args:
        spec: `file.py:Class` or `package.module:Class`.
        folder: Where a file's path starts.
        rows: The rows, by the number that is in TRL's column `row`.
        tokenizer: The model's.

    Raises:
        UsageError: the class is no environment, or a row does not fit its `reset`.
    """
    from trl.chat_template_utils import supports_tool_calling

    source = EnvironmentSource(spec, str(folder))
    problems = [
        text if ".jsonl:" in text else f"--environment: {text}"
        for text in source.problems([row.case for row in rows])
    ]
    if problems:
        raise UsageError("\n".join(problems))
    found: Any = source.load()

    def reset(self: Any, **columns: Any) -> str | None:
        case = rows[int(columns["row"])].case
        begun: str | None = found.reset(self, **reset_arguments(found, case, int(columns["row"])))
        return begun

    made = type(found.__name__, (found,), {"reset": reset, "__doc__": found.__doc__})
    if supports_tool_calling(tokenizer):
        return TrainingEnvironment(made, tokenizer, in_text=False)
    if not tokenizer.chat_template:
        raise UsageError(
            f"--environment {spec}: an episode is a conversation, and this model has no chat "
            "template; train an instruct model"
        )
    return TrainingEnvironment(made, _tokenizer_in_text(tokenizer, source.tools), in_text=True)


def _tokenizer_in_text(tokenizer: Any, tools: Sequence[Mapping[str, Any]]) -> Any:
    """Return a copy of a tokenizer that shows tools, calls and results as text.

    TRL renders conversations by `apply_chat_template` and reads answers by `parse_response`. The
    chat template stays the model's, and what is saved is the tokenizer that was given.
    """
    shown = copy.copy(tokenizer)
    settings = EpisodeSettings(environment="", tools="system")

    def in_text(messages: Sequence[Mapping[str, Any]], with_tools: bool) -> list[dict[str, Any]]:
        told = messages_in_text(messages)
        if not with_tools:
            return told
        case = Case(id="prompt", messages=tuple(told))
        return [*opening_case(case, settings, tools, None).input_messages()]

    def apply_chat_template(conversation: Any, tools: Any = None, **options: Any) -> Any:
        batched = bool(conversation) and not isinstance(conversation[0], Mapping)
        given = conversation if batched else [conversation]
        talks = [in_text(messages, bool(tools)) for messages in given]
        return tokenizer.apply_chat_template(talks if batched else talks[0], **options)

    def parse_response(ids: Any, **_: Any) -> dict[str, Any]:
        # TRL gives the prefix and, with Transformers 5.15, the tools; it takes an error for a text
        # without calls, so that an argument that is not known would end all calls.
        text = tokenizer.decode(ids, skip_special_tokens=True)
        calls = [
            {"type": "function", "function": {"name": c.name, "arguments": dict(c.arguments)}}
            for c in turn_calls(text, tools)
        ]
        if not calls:
            return {"role": "assistant", "content": text}
        before = text.partition("<tool_call>")[0].strip()
        return {"role": "assistant", "content": before, "tool_calls": calls}

    shown.apply_chat_template = apply_chat_template
    shown.parse_response = parse_response
    shown.response_template = {}  # TRL would look the template up among those that it knows
    shown.save_pretrained = tokenizer.save_pretrained
    return shown


def build_with_rewards(
    job: TrainingJob, trainer: type[Any], *, takes: Container[str] | None = None, **more: Any
) -> Any:
    """Return one of TRL's trainers that learn from rewards.

    Args:
        job: its `config.own` is `RewardArguments`.
        trainer: TRL's class, which takes `reward_funcs`.
        takes: names of the class's arguments; None if it takes those of `GRPOTrainer`.
        more: further arguments of the class.

    Raises:
        UsageError: the rewards or the rows cannot be used.
    """
    args, tokenizer = job.config.training, job.tokenizer
    used = _rewards(job)
    room = prompt_rows.prompt_room(job, getattr(args, "max_completion_length", None))
    rows = prompt_rows.fitting_prompts(
        prompt_rows.load_prompts(job.rows), tokenizer, room=room, say=job.say
    )
    held = prompt_rows.load_prompts(job.evaluation) if job.evaluation else ()
    verifiable_rewards.check_rewards(used, [row.case for row in (*rows, *held)], where="rewards")
    args.reward_weights = [reward.signed_weight for reward in used]
    job.config.own.rewards = [reward.record() for reward in used]
    verifier = RewardVerifier(used, (*rows, *held), tokenizer)
    shape = {"talks": getattr(job.config.own, "environment", None) is not None}
    unseen = prompt_rows.prompt_dataset(held, tokenizer, first=len(rows), **shape) if held else None
    given = {
        **job.model_arguments(),
        "args": args,
        "processing_class": tokenizer,
        "reward_funcs": list(verifier.functions()),
        "train_dataset": prompt_rows.prompt_dataset(rows, tokenizer, **shape),
        "eval_dataset": unseen,
        "callbacks": [
            *group_callbacks(verifier, job.say),
            training_callbacks.evaluation_callback(job.say),
            training_callbacks.gradient_callback(),
        ],
        **_environment(job, (*rows, *held)),
        **more,
    }
    return trainer(**{name: v for name, v in given.items() if takes is None or name in takes})


def _rewards(job: TrainingJob) -> tuple[verifiable_rewards.Reward, ...]:
    """Return the rewards of the configuration; TRL's own weights are refused with them."""
    file, own = job.config.config_file, job.config.own
    if job.config.training.reward_weights is not None:
        raise UsageError(
            "reward_weights: give each entry of `rewards` its `weight` instead, and the reward "
            "model its `reward_model_weight`"
        )
    model = _model_reward(job) if own.reward_model else ()
    if (model or getattr(own, "environment", None)) and not own.rewards:
        return model
    in_file = file is not None and any(isinstance(entry, dict) for entry in own.rewards)
    folder = file.parent if file is not None and in_file else Path()
    named = verifiable_rewards.load_rewards(
        own.rewards, folder=folder, where=f"{file}: rewards" if in_file else "--reward"
    )
    return (*named, *model)


def _model_reward(job: TrainingJob) -> tuple[verifiable_rewards.Reward]:
    """Return the reward that `--reward_model` gives."""
    own = job.config.own
    where = f"--reward_model={own.reward_model}"
    if not 0 < own.reward_model_weight < float("inf"):
        raise UsageError(f"--reward_model_weight={own.reward_model_weight}: must be above 0")
    folder = reward_models.check_reward_model(own.reward_model, where=where)
    function = reward_models.reward_function(
        folder,
        where=where,
        dtype=job.config.model.dtype,
        chat_template_kwargs=getattr(job.config.training, "chat_template_kwargs", None),
    )
    settings = {"reward_model": str(folder), "weights_sha256": weights_fingerprint(folder)}
    weight = own.reward_model_weight
    return (verifiable_rewards.Reward(NAME, NAME, weight, settings, function=function),)


def group_callbacks(verifier: RewardVerifier, say: training_callbacks.Say) -> list[TrainerCallback]:
    """Return the callbacks of a training by groups: its progress, and its one warning."""
    return [
        training_callbacks.progress_callback(say, more=group_statistics),
        signal_callback(verifier, say),
    ]


def group_statistics(logs: Mapping[str, Any]) -> str:
    """Return the group statistics of a log entry: mean, spread, groups that teach nothing."""
    mean, spread = logs.get("reward"), logs.get("reward_std")
    if mean is None or spread is None:
        return "no completion could be scored"
    silent = logs.get("frac_reward_zero_std") or 0.0
    return f"reward {mean:.3f} ± {spread:.3f}  groups without signal {silent:.0%}"


def signal_callback(verifier: RewardVerifier, say: training_callbacks.Say) -> TrainerCallback:
    """Return a callback that warns once where the first groups had nothing to learn from."""
    from transformers import TrainerCallback

    class SignalCallback(TrainerCallback):
        def __init__(self) -> None:
            self.looked = False

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if self.looked or not logs or "frac_reward_zero_std" not in logs:
                return
            self.looked = True
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


METHOD = TrainingMethod(
    name="grpo",
    rows=datasets.PROMPTS,
    configuration=_configuration,
    build=_build,
    settings=GENERATION + _LOSS,
    options=GrpoArguments,
    goes_on=True,
)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
