"""The reward model of an RLHF: what `tunegate train reward` made, opened and checked.

PPO hands it the policy's own token ids, so both must read the same vocabulary.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.checks.weights import refuse_unsafe
from harness.errors import ModelError, UsageError
from trainers import base_model

_HEAD = "ForSequenceClassification"


def check(name: str, tokenizer: Any, *, base: str) -> Path:
    """Return the folder of a reward model that can judge a policy's tokens.

    Args:
        name: the folder.
        tokenizer: of the policy.
        base: what the policy is called in messages.

    Raises:
        ModelError: there is no reward model.
        UsageError: it was made for another vocabulary.
        UnsafeWeights: it could run code when loaded.
    """
    from transformers import AutoTokenizer

    where, folder = f"--reward_model_path={name}", Path(name).expanduser()
    if not folder.is_dir():
        raise ModelError(f"{where}: no such folder; `tunegate train reward` makes one")
    refuse_unsafe(folder)
    if not _is_reward_model(folder):
        raise ModelError(
            f"{where}: not a reward model (a model that gives one number, as `tunegate train "
            "reward` makes it)"
        )
    try:
        own = AutoTokenizer.from_pretrained(str(folder)).get_vocab()
    except (ValueError, OSError) as error:
        raise ModelError(f"{where}: no tokenizer can be loaded from it") from error
    if own != tokenizer.get_vocab():
        raise UsageError(
            f"{where}: another vocabulary ({len(own)} tokens) than that of {base} "
            f"({len(tokenizer)}); train the reward model on a base with the policy's tokenizer"
        )
    return folder


def load(folder: Path, **settings: Any) -> Any:
    """Return the model, an adapter merged into its base; `settings` go to `from_pretrained`."""
    from transformers import AutoModelForSequenceClassification

    if not _is_adapter(folder):
        return AutoModelForSequenceClassification.from_pretrained(str(folder), **settings)
    from peft import PeftModel

    config = json.loads((folder / "adapter_config.json").read_bytes())
    base = base_model.find(config["base_model_name_or_path"])
    model = AutoModelForSequenceClassification.from_pretrained(base.name, num_labels=1, **settings)
    merged: Any = PeftModel.from_pretrained(model, str(folder))
    return merged.merge_and_unload()


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
