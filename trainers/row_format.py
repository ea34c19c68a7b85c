"""What a row of training data must hold: TRL's formats, one for each kind of method.

| format | method | columns |
|---|---|---|
| `COMPLETIONS` | sft | `prompt`, `completion`; or `messages`, whose last turn is the completion |
| `PREFERENCES` | dpo, reward | `prompt`, `chosen`, `rejected`; chats may leave `prompt` out |
| `LABELLED` | kto | `prompt`, `completion`, `label` (true or false) |
| `PROMPTS` | grpo, ppo | `prompt`, and whatever the reward needs; all columns are kept |

Each of prompt, completion, chosen and rejected is text, or a list of `{"role", "content"}`. One
row has one kind of them, and so has one training. Chats get the model's chat template, text none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_ROLES = ("system", "user", "assistant", "tool")


class Bad(Exception):
    """What is wrong with one row."""


@dataclass(frozen=True, slots=True)
class RowFormat:
    """One format of rows."""

    name: str
    columns: str
    """What a row must hold, in words for the user."""
    read: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Returns the row as TRL takes it, always with the same columns; raises `Bad`."""
    example: str
    """The shortest good row, as JSON."""

    def row(self, value: Any) -> dict[str, Any]:
        """Return the row that a line of a file holds.

        Raises:
            Bad: it does not follow the format.
        """
        if isinstance(value, Bad):
            raise value
        if not isinstance(value, dict):
            raise Bad(f"must be an object with {self.columns}, such as {self.example}")
        return self.read(value)


def is_text(row: Mapping[str, Any]) -> bool:
    """Return whether a row is plain text and not a chat."""
    return isinstance(row["prompt"], str)


def _completions(value: Mapping[str, Any]) -> dict[str, Any]:
    if "messages" in value:
        turns = _turns("messages", value["messages"])
        if len(turns) < 2 or turns[-1]["role"] != "assistant":
            raise Bad("`messages` must be two or more turns, the last the assistant's")
        prompt: Any = turns[:-1]
        completion: Any = turns[-1:]
    else:
        _require(value, COMPLETIONS, "prompt", "completion")
        prompt, completion = (_side(key, value[key]) for key in ("prompt", "completion"))
    _check_answer("completion", prompt, completion)
    return {"prompt": prompt, "completion": completion}


def _preferences(value: Mapping[str, Any]) -> dict[str, Any]:
    _require(value, PREFERENCES, "chosen", "rejected")
    chosen, rejected = (_side(key, value[key]) for key in ("chosen", "rejected"))
    if "prompt" in value:
        prompt = _side("prompt", value["prompt"])
    elif isinstance(chosen, list) and isinstance(rejected, list):
        prompt, chosen, rejected = _split(chosen, rejected)
    else:
        _require(value, PREFERENCES, "prompt")
    for key, answer in (("chosen", chosen), ("rejected", rejected)):
        _check_answer(key, prompt, answer)
    if chosen == rejected:
        raise Bad("`chosen` and `rejected` are the same; there is nothing to prefer")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _labelled(value: Mapping[str, Any]) -> dict[str, Any]:
    _require(value, LABELLED, "prompt", "completion", "label")
    prompt, completion = (_side(key, value[key]) for key in ("prompt", "completion"))
    _check_answer("completion", prompt, completion)
    if not isinstance(value["label"], bool):
        raise Bad(f"`label` must be true or false, not {value['label']!r:.60}")
    return {"prompt": prompt, "completion": completion, "label": value["label"]}


def _prompts(value: Mapping[str, Any]) -> dict[str, Any]:
    _require(value, PROMPTS, "prompt")
    prompt = _side("prompt", value["prompt"])
    if isinstance(prompt, list) and prompt[-1]["role"] == "assistant":
        raise Bad("`prompt` ends with the assistant's turn; that is what the model is to write")
    if isinstance(prompt, str) and not prompt.strip():
        raise Bad("`prompt` is empty; there is nothing to answer")
    return {**value, "prompt": prompt}


COMPLETIONS = RowFormat(
    "completions",
    "`prompt` and `completion`, or `messages`",
    _completions,
    '{"prompt": "…", "completion": "…"}',
)
PREFERENCES = RowFormat(
    "preferences",
    "`prompt`, `chosen` and `rejected`",
    _preferences,
    '{"prompt": "…", "chosen": "…", "rejected": "…"}',
)
LABELLED = RowFormat(
    "labelled",
    "`prompt`, `completion` and `label`",
    _labelled,
    '{"prompt": "…", "completion": "…", "label": true}',
)
PROMPTS = RowFormat(
    "prompts", "`prompt` and what the reward needs", _prompts, '{"prompt": "…", "answer": "…"}'
)

ALL = (COMPLETIONS, PREFERENCES, LABELLED, PROMPTS)


def guess(value: Any) -> RowFormat:
    """Return the format that a row seems to follow, by its columns; it may still be wrong."""
    keys = set(value) if isinstance(value, dict) else set()
    if keys & {"chosen", "rejected"}:
        return PREFERENCES
    if {"completion", "label"} <= keys:
        return LABELLED
    return PROMPTS if "prompt" in keys and "completion" not in keys else COMPLETIONS


def _require(value: Mapping[str, Any], form: RowFormat, *keys: str) -> None:
    if missing := [key for key in keys if key not in value]:
        there = ", ".join(map(str, value)) or "none"
        raise Bad(
            f"no `{missing[0]}` (keys there: {there}); a row has {form.columns}: {form.example}"
        )


def _split(chosen: list[Any], rejected: list[Any]) -> tuple[Any, Any, Any]:
    """Return the turns that both answers start with as the prompt, and what is left of them."""
    same = 0
    for one, other in zip(chosen, rejected, strict=False):
        if one != other:
            break
        same += 1
    if not same:
        raise Bad("no `prompt`, and `chosen` and `rejected` start with no common turn")
    return chosen[:same], chosen[same:], rejected[same:]


def _check_answer(key: str, prompt: Any, answer: Any) -> None:
    if isinstance(prompt, str) != isinstance(answer, str):
        raise Bad(f"`prompt` and `{key}` must both be text, or both be messages")
    if isinstance(answer, list) and any(turn["role"] == "user" for turn in answer):
        raise Bad(f"`{key}` holds a user's turn; the model must not learn to write it")
    texts = [answer] if isinstance(answer, str) else [turn["content"] for turn in answer]
    if not any(text.strip() for text in texts):
        raise Bad(f"`{key}` is empty; there is nothing to learn")


def _side(key: str, value: Any) -> Any:
    return value if isinstance(value, str) else _turns(key, value)


def _turns(key: str, value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise Bad(f"`{key}` must be text or a list of messages, not {value!r:.60}")
    return [_turn(f"{key}[{i}]", turn) for i, turn in enumerate(value)]


def _turn(name: str, turn: Any) -> dict[str, str]:
    if not isinstance(turn, dict) or set(turn) - {"role", "content"}:
        raise Bad(f"`{name}` must have `role` and `content` and nothing else")
    if turn.get("role") not in _ROLES:
        raise Bad(f"`{name}` role={turn.get('role')!r}; allowed are {', '.join(_ROLES)}")
    if not isinstance(turn.get("content"), str):
        raise Bad(f"`{name}` content must be text, not {turn.get('content')!r:.60}")
    return {"role": turn["role"], "content": turn["content"]}
