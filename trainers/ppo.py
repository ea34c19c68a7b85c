"""PPO: RLHF with a reward model that `tunegate train reward` made from preferences.

```
tunegate train ppo --config ppo.yaml --reward_model_path .tunegate/reward [any TRL flag]
```
TRL up to 1.12 has this trainer, under `trl.experimental`; the extra `ppo` installs such a version.
With a newer one train by `rloo` or `grpo` with `--reward_model`. It cannot resume, and counts in
episodes (`total_episodes`), not in steps. Rows are prompts. PPO hands the reward model the policy's
own token ids, so both must read the same vocabulary.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.records.errors import RunInterrupted, UsageError
from tunegate.trainers import callbacks, datasets, prompt_rows, reward, row_lengths
from tunegate.trainers.job import TrainingJob, TrainingMethod

ORDER = 60


def _build(job: TrainingJob) -> Any:
    from transformers import AutoModelForCausalLM
    from trl.experimental.ppo import PPOTrainer

    args, tokenizer, init = job.config.training, job.tokenizer, _init(job)
    _settle(job)
    where = f"--reward_model_path={args.reward_model_path}"
    folder = reward.check_reward_model(args.reward_model_path, where=where)
    reward.check_same_vocabulary(folder, tokenizer, base=job.base.name, where=where)
    args.reward_model_sha256 = weights_fingerprint(folder)
    dataset = _tokens(job)
    pad = separate_padding(tokenizer, dataset["input_ids"])
    return PPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(
            job.base.name, quantization_config=job.quantization_config(), **init
        ),
        ref_model=None,
        reward_model=reward.load_reward_model(folder, dtype=init["dtype"]),
        value_model=reward.load_reward_model(folder, dtype=init["dtype"]),
        peft_config=job.peft_config(),
        args=args,
        processing_class=tokenizer,
        train_dataset=dataset,
        callbacks=[
            callbacks.progress_callback(job.say, loss="loss/policy_avg", more=_words),
            _restore_pad_token(pad),
        ],
    )


def _init(job: TrainingJob) -> dict[str, Any]:
    return {k: v for k, v in job.config.training.model_init_kwargs.items() if v is not None}


def _settle(job: TrainingJob) -> None:
    """Refuse what TRL's trainer would ignore or never end with, and end answers at their end."""
    args = job.config.training
    batch = args.per_device_train_batch_size * args.gradient_accumulation_steps
    if args.reward_model_path == type(args).reward_model_path:
        raise UsageError("--reward_model_path: missing; `tunegate train reward` makes one")
    if args.sft_model_path != type(args).sft_model_path:
        raise UsageError("sft_model_path: the policy is --model_name_or_path")
    if args.max_steps > 0:
        raise UsageError(
            f"max_steps={args.max_steps}: TRL's PPO counts episodes; "
            f"give total_episodes={args.max_steps * batch} instead"
        )
    if job.evaluation:
        raise UsageError("eval_files: TRL's PPO has no evaluation loss; measure on a suite instead")
    if len(job.rows.rows) < batch:
        raise UsageError(
            f"{len(job.rows.rows)} prompts do not fill one batch of {batch} "
            "(per_device_train_batch_size × gradient_accumulation_steps); lower it"
        )
    args.num_sample_generations = 0
    if args.stop_token is None and args.stop_token_id is None:
        args.stop_token = "eos"


def _tokens(job: TrainingJob) -> Any:
    """Return TRL's dataset: the token ids of each prompt that fits."""
    from datasets import Dataset  # type: ignore[import-untyped]  # ships no types

    room = row_lengths.prompt_room(job, job.config.training.response_length)
    rows = row_lengths.fitting_prompts(
        prompt_rows.load_prompts(job.rows), job.tokenizer, room=room, say=job.say
    )
    return Dataset.from_list(
        [{"input_ids": row_lengths.token_ids(row.prompt, job.tokenizer)} for row in rows]
    )


def separate_padding(tokenizer: Any, used: Sequence[Sequence[int]]) -> str | None:
    """Pad with a token that is not the end of a text, and return what padded before.

    TRL's PPO takes every padding token for absent. Many chat models pad with the token that ends a
    turn: the ends of turns would be hidden in prompts, and never learned in answers.

    Args:
        tokenizer: is changed.
        used: token ids of the prompts; a token among them is not taken.
    """
    before: str | None = tokenizer.pad_token
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id not in (None, tokenizer.eos_token_id):
        return before
    taken = {tokenizer.eos_token_id, *(token for ids in used for token in ids)}
    added = tokenizer.added_tokens_decoder.items()
    free = [token for number, token in sorted(added) if token.special and number not in taken]
    if not free:
        raise UsageError(
            "the tokenizer pads with its end marker and has no special token to spare; "
            "give it a pad_token of its own"
        )
    tokenizer.pad_token = str(free[0])
    return before


def _restore_pad_token(pad: str | None) -> Any:
    """Return a callback that gives the tokenizer its padding back before it is saved."""
    from transformers import TrainerCallback

    class RestorePadToken(TrainerCallback):
        def on_train_end(self, *_: Any, processing_class: Any = None, **__: Any) -> None:
            processing_class.pad_token = pad

    return RestorePadToken()


def _words(logs: Mapping[str, Any]) -> str:
    """Return what PPO is about: the reward model's score, and how far the policy has moved."""
    return f"score {logs['objective/scores']:.3f}  kl {logs['objective/kl']:.3f}"


def _train(trainer: Any, checkpoint: str | None) -> None:
    try:
        with redirect_stdout(io.StringIO()):  # TRL prints a heading
            trainer.train()
    except KeyboardInterrupt as error:
        raise RunInterrupted(
            "training stopped; TRL's PPO cannot resume, so it starts over"
        ) from error


METHOD = TrainingMethod(
    name="ppo",
    rows=datasets.PROMPTS,
    configuration="trl.experimental.ppo:PPOConfig",
    feature="ppo",
    build=_build,
    settings=(
        *("reward_model_path", "reward_model_sha256", "total_episodes", "num_ppo_epochs"),
        *("num_mini_batches", "kl_coef", "kl_estimator", "cliprange", "cliprange_value"),
        *("vf_coef", "gamma", "lam", "whiten_rewards", "missing_eos_penalty", "response_length"),
        *("temperature", "stop_token", "stop_token_id"),
    ),
    train=_train,
    can_resume=False,
)
