"""GRPO with verifiers: TRL's `GRPOTrainer`, its rewards the metrics that gate.

```
tunegate train grpo --config grpo.yaml [any TRL flag]
tunegate train grpo --model_name_or_path embedded --train_files prompts.jsonl --reward numeric
```
Rows are prompts with what the rewards need (`trainers/prompts.py`), rewards are
`trainers/rewards.py`. The log has TRL's group statistics, the record how answers were generated.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from trainers import evaluation, gradients, groups, progress, prompts, rewards, row_format, training
from trainers.training import Job, Method
from trainers.verifier import Verifier

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
class GrpoArguments:
    """What tunegate adds to `GRPOConfig`."""

    rewards: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Metrics that verify the answers: names, `pkg.mod:fn`, or {use: NAME, weight: "
            "1.0, …} with the metric's options.",
            "aliases": ["--reward"],
        },
    )


def run(argv: Sequence[str], *, say: progress.Say = progress.to_stderr) -> int:
    """Train as `argv` asks and return the exit code; the body of `tunegate train grpo`."""
    return training.run(METHOD, argv, say=say)


def _configuration() -> type[Any]:
    from trl import GRPOConfig  # type: ignore[attr-defined]  # TRL re-exports lazily

    return GRPOConfig


def _build(job: Job) -> Any:
    from trl import GRPOTrainer  # type: ignore[attr-defined]  # TRL re-exports lazily

    args, tokenizer = job.config.training, job.tokenizer
    used = _rewards(job)
    room = prompts.room(job, args.max_completion_length)
    rows = prompts.fitting(prompts.load(job.rows), tokenizer, room=room, say=job.say)
    held = prompts.load(job.evaluation) if job.evaluation else ()
    rewards.check(used, [row.sourced for row in (*rows, *held)], where="rewards")
    args.reward_weights = [reward.signed_weight for reward in used]
    job.config.own.rewards = [reward.record() for reward in used]
    verifier = Verifier(used, (*rows, *held), tokenizer)
    return GRPOTrainer(
        **job.model_arguments(),
        args=args,
        processing_class=tokenizer,
        reward_funcs=list(verifier.functions()),
        train_dataset=prompts.dataset(rows, tokenizer),
        eval_dataset=prompts.dataset(held, tokenizer, first=len(rows)) if held else None,
        callbacks=[
            *groups.callbacks(verifier, job.say),
            evaluation.callback(job.say),
            gradients.callback(),
        ],
    )


def _rewards(job: Job) -> tuple[rewards.Reward, ...]:
    """Return the rewards of the configuration; TRL's own weights are refused beside them."""
    file, entries = job.config.config_file, job.config.own.rewards
    if job.config.training.reward_weights is not None:
        raise UsageError("reward_weights: give each entry of `rewards` its `weight` instead")
    in_file = file is not None and any(isinstance(entry, dict) for entry in entries)
    folder = file.parent if file is not None and in_file else Path()
    return rewards.load(entries, folder=folder, where=f"{file}: rewards" if in_file else "--reward")


METHOD = Method(
    name="grpo",
    rows=row_format.PROMPTS,
    configuration=_configuration,
    build=_build,
    settings=GENERATION + _LOSS,
    options=GrpoArguments,
    goes_on=True,
)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
