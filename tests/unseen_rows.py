"""What a fine-tune has learned: log-probabilities of both arms, on rows it was never trained on.

The prompt's tokens carry no part of it. Chats are rendered with the arm's own template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.tiny_models import muted
from tunegate.harness.checks import liveness
from tunegate.harness.models.open_arms import open_arms

Row = Mapping[str, Any]


def gains(base: Path, tuned: Path, rows: Sequence[Row], key: str) -> list[float]:
    """Return by how much tuned raises the log-probability of `row[key]`, for each row."""
    return _gains(_alive(base, tuned), rows, key)


def margins(base: Path, tuned: Path, rows: Sequence[Row]) -> list[float]:
    """Return by how much tuned moves each pair's log-odds towards the chosen answer."""
    arms = _alive(base, tuned)
    better, worse = (_gains(arms, rows, key) for key in ("chosen", "rejected"))
    return [one - other for one, other in zip(better, worse, strict=True)]


def _alive(base: Path, tuned: Path) -> dict[str, Any]:
    """Open both arms as the gate opens them, proven to be two."""
    with muted():
        arms: Any = open_arms({"base": str(base), "tuned": str(tuned)})
        assert liveness.check_liveness(arms)["tuned"]["status"] == "proven"
    return dict(arms)


def _gains(arms: Mapping[str, Any], rows: Sequence[Row], key: str) -> list[float]:
    return [_logprob(arms["tuned"], row, key) - _logprob(arms["base"], row, key) for row in rows]


def _logprob(arm: Any, row: Row, key: str) -> float:
    """Return the sum of the answer's token log-probabilities."""
    import torch

    prompt, whole = _ids(arm.tokenizer, row["prompt"]), _ids(arm.tokenizer, row["prompt"], row[key])
    with arm.active() as model, torch.no_grad():
        logps = model(input_ids=torch.tensor([whole])).logits.log_softmax(-1)[0]
    shift = len(logps) - len(whole)  # virtual tokens come first
    places = range(len(prompt), len(whole))
    return sum(float(logps[shift + i - 1, whole[i]]) for i in places)


def _ids(tokenizer: Any, prompt: Any, answer: Any = None) -> list[int]:
    if isinstance(prompt, str):
        return list(tokenizer(prompt + (answer or ""))["input_ids"])
    rendered = tokenizer.apply_chat_template(
        prompt + (answer or []), add_generation_prompt=answer is None, return_dict=True
    )
    return list(rendered["input_ids"])
