"""A reward model: TRL's `RewardTrainer` on pairs of a better and a worse answer.

```
tunegate train reward --config pairs.yaml --peft lora
tunegate train rloo --reward_model .tunegate/reward …
```
It gives an answer one number and is a sequence classifier with one label: an adapter with its head,
or a whole model. It writes no texts, so it has no gate; give `--eval_files` and
`--eval_strategy epoch` and its accuracy on pairs it has not seen is printed at the end.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tunegate.harness.models.adapters.weight_files import refuse_unsafe
from tunegate.harness.records.errors import ModelError, UsageError
from tunegate.trainers import base_model, datasets, row_lengths
from tunegate.trainers.job import TrainingJob, TrainingMethod

ORDER = 40


def _build(job: TrainingJob) -> Any:
    from trl import RewardTrainer  # type: ignore[attr-defined]  # TRL re-exports lazily

    return RewardTrainer(**job.model_arguments(), **job.arguments())


_HEAD = "ForSequenceClassification"


def check_reward_model(name: str, *, where: str) -> Path:
    """Return the folder of a reward model."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise ModelError(f"{where}: no such folder; `tunegate train reward` makes one")
    refuse_unsafe(folder)
    if not _is_reward_model(folder):
        raise ModelError(
            f"{where}: not a reward model (a model that gives one number, as `tunegate train "
            "reward` makes it)"
        )
    return folder


def load_reward_tokenizer(folder: Path, *, where: str) -> Any:
    """Return the tokenizer of a reward model."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder))
    except (ValueError, OSError) as error:
        raise ModelError(f"{where}: no tokenizer can be loaded from it") from error


def check_same_vocabulary(folder: Path, tokenizer: Any, *, base: str, where: str) -> None:
    """Refuse a reward model that reads other tokens than the policy writes."""
    vocabulary = load_reward_tokenizer(folder, where=where).get_vocab()
    if vocabulary != tokenizer.get_vocab():
        raise UsageError(
            f"{where}: another vocabulary ({len(vocabulary)} tokens) than that of {base} "
            f"({len(tokenizer)}); train the reward model on a base with the policy's tokenizer"
        )


def load_reward_model(folder: Path, **settings: Any) -> Any:
    """Return the model, an adapter merged into its base; `settings` go to `from_pretrained`."""
    from transformers import AutoModelForSequenceClassification

    if not _is_adapter(folder):
        return AutoModelForSequenceClassification.from_pretrained(str(folder), **settings)
    from peft import PeftModel

    config = json.loads((folder / "adapter_config.json").read_bytes())
    base = base_model.find_base(config["base_model_name_or_path"])
    model = AutoModelForSequenceClassification.from_pretrained(base.name, num_labels=1, **settings)
    merged: Any = PeftModel.from_pretrained(model, str(folder))
    return merged.merge_and_unload()


def reward_function(
    folder: Path, *, where: str, dtype: str | None, chat_template_kwargs: Any = None
) -> Callable[..., list[float]]:
    """Return a reward of TRL's kind: the number that a reward model gives each answer.

    The model is loaded at the first call, on the device of this process. It reads what TRL would
    give it: a chat by the reward model's own template, text as it is, without tokens added.
    """
    tokenizer = load_reward_tokenizer(folder, where=where)
    loaded: list[Any] = []

    def score(prompts: list[Any], completions: list[Any], **_: Any) -> list[float]:
        import torch
        from accelerate import PartialState  # type: ignore[import-untyped]  # ships no types

        if not loaded:
            device = PartialState().device
            model = load_reward_model(folder, dtype=dtype or "auto").to(device)
            tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
            model.config.pad_token_id = tokenizer.pad_token_id
            loaded.append(model.eval())
        [model] = loaded
        pairs = zip(prompts, completions, strict=True)
        texts = [
            prompt + answer
            if isinstance(prompt, str)
            else tokenizer.apply_chat_template(
                [*prompt, *answer], tokenize=False, **(chat_template_kwargs or {})
            )
            for prompt, answer in pairs
        ]
        batch = tokenizer(
            text=texts,
            return_tensors="pt",
            padding=True,
            padding_side="right",
            add_special_tokens=False,
        )
        with torch.inference_mode():
            numbers = model(**batch.to(model.device)).logits[:, 0]
        return [float(number) for number in numbers]

    return score


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


def _is_reward_model(folder: Path) -> bool:
    """Return whether the folder's model has a head of one number that was trained."""
    if _is_adapter(folder):
        config = json.loads((folder / "adapter_config.json").read_bytes())
        return bool(config.get("task_type") == "SEQ_CLS")
    path = folder / "config.json"
    config = json.loads(path.read_bytes()) if path.is_file() else {}
    heads = config.get("architectures") or []
    labels = len(config.get("id2label") or {0: ""})
    return labels == 1 and any(str(head).endswith(_HEAD) for head in heads)


def _next_command(job: TrainingJob, folder: Path) -> str:
    """Return the command that trains a policy with the reward model."""
    policy = ["--model_name_or_path", job.base.name, "--reward_model", str(folder)]
    return shlex.join(["tunegate", "train", "rloo", *policy, "--train_files", "PROMPTS"])


METHOD = TrainingMethod(
    name="reward",
    rows=datasets.PREFERENCES,
    configuration="trl:RewardConfig",
    build=_build,
    settings=("center_rewards_coefficient",),
    check=partial(row_lengths.warn_dropped_rows, why="a pair is longer than"),
    kinds=("lora", "dora", "none"),
    task="SEQ_CLS",
    next_command=_next_command,
)
