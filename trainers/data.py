"""Training rows: TRL's formats from local files, checked before a model is loaded.

A line of JSONL (or a row of Parquet) is one of

```
{"prompt": [{"role": "user", "content": "…"}],
 "completion": [{"role": "assistant", "content": "…"}]}
{"prompt": "plain text", "completion": "its continuation"}
{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
```
Of `messages` the last turn is the completion, so the loss always covers what the model is to
write and nothing else. Chats get the model's chat template, plain text gets none; one training
holds one kind of them. Columns besides these are ignored.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.checks.weights import file_sha256
from harness.errors import UsageError

if TYPE_CHECKING:
    from datasets import Dataset  # type: ignore[import-untyped]  # ships no types

_ROLES = ("system", "user", "assistant", "tool")
_SHOWN = 20
"""Problems that are listed; more are counted."""


class _Bad(Exception):
    """What is wrong with one row."""


@dataclass(frozen=True, slots=True)
class TrainingFile:
    """One file that rows came from."""

    path: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """The rows of all files in the order of training, and where they came from."""

    rows: tuple[Mapping[str, Any], ...] = field(repr=False)
    files: tuple[TrainingFile, ...]

    def to_dataset(self) -> Dataset:
        """Return the rows as TRL takes them."""
        from datasets import Dataset

        return Dataset.from_list([dict(row) for row in self.rows])


def load(paths: Sequence[str], *, seed: int) -> TrainingRows:
    """Read the rows of all files and mix them in an order that `seed` decides.

    Raises:
        UsageError: a file or some of its lines cannot be used; one line a problem.
    """
    rows: list[Mapping[str, Any]] = []
    files, problems = [], []
    first_of: dict[bool, str] = {}
    for path in map(Path, paths):
        count = 0
        for where, value in _read(path):
            try:
                row = _row(value)
            except _Bad as error:
                problems.append(f"{where}: {error}")
            else:
                first_of.setdefault(isinstance(row["prompt"], str), where)
                rows.append(row)
            count += 1
        if not count:
            problems.append(f"{path}: no rows in this file")
        files.append(TrainingFile(str(path), file_sha256(path), count))
    if len(first_of) == 2:
        problems.append(
            f"{first_of[True]}: plain text, but {first_of[False]} is a chat; a training takes one "
            "kind: write both as lists of messages, or both as text"
        )
    _raise_all(problems)
    random.Random(seed).shuffle(rows)
    return TrainingRows(tuple(rows), tuple(files))


def _raise_all(problems: list[str]) -> None:
    if problems:
        more = len(problems) - _SHOWN
        tail = [f"… and {more} more problems"] if more > 0 else []
        raise UsageError("\n".join(problems[:_SHOWN] + tail))


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (place, value) of each row; an unreadable line is a `_Bad` as its value."""
    if path.suffix == ".parquet":
        yield from _read_parquet(path)
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"{path}:{number}", _parse(line)


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return _Bad("not UTF-8; save the file as UTF-8")
    except ValueError as error:
        return _Bad(f"not one JSON object a line ({error})")


def _read_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow.parquet  # type: ignore[import-untyped]  # ships no types

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise UsageError(f"{path}: not readable as Parquet ({error})") from error
    for number, row in enumerate(rows, start=1):
        yield f"{path}:row {number}", {k: v for k, v in row.items() if v is not None}


def _row(value: Any) -> dict[str, Any]:
    """Return a row as `prompt` and `completion`, or raise `_Bad` with what is wrong."""
    if isinstance(value, _Bad):
        raise value
    if not isinstance(value, dict):
        raise _Bad("must be an object with `prompt` and `completion`, or `messages`")
    if "messages" in value:
        turns = _turns("messages", value["messages"])
        if len(turns) < 2 or turns[-1]["role"] != "assistant":
            raise _Bad("`messages` must be two or more turns, the last the assistant's")
        prompt: Any = turns[:-1]
        completion: Any = turns[-1:]
    elif missing := [key for key in ("prompt", "completion") if key not in value]:
        there = ", ".join(map(str, value)) or "none"
        raise _Bad(f"no `{missing[0]}` (keys there: {there}); see trainers/data.py")
    else:
        prompt, completion = (_side(key, value[key]) for key in ("prompt", "completion"))
    _check_pair(prompt, completion)
    return {"prompt": prompt, "completion": completion}


def _check_pair(prompt: Any, completion: Any) -> None:
    if isinstance(prompt, str) != isinstance(completion, str):
        raise _Bad("`prompt` and `completion` must both be text, or both be messages")
    if isinstance(completion, list) and any(t["role"] == "user" for t in completion):
        raise _Bad("`completion` holds a user's turn; the model must not learn to write it")
    texts = [completion] if isinstance(completion, str) else [t["content"] for t in completion]
    if not any(text.strip() for text in texts):
        raise _Bad("`completion` is empty; there is nothing to learn")


def _side(key: str, value: Any) -> Any:
    return value if isinstance(value, str) else _turns(key, value)


def _turns(key: str, value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise _Bad(f"`{key}` must be text or a list of messages, not {value!r:.60}")
    return [_turn(f"{key}[{i}]", turn) for i, turn in enumerate(value)]


def _turn(name: str, turn: Any) -> dict[str, str]:
    if not isinstance(turn, dict) or set(turn) - {"role", "content"}:
        raise _Bad(f"`{name}` must have `role` and `content` and nothing else")
    if turn.get("role") not in _ROLES:
        raise _Bad(f"`{name}` role={turn.get('role')!r}; allowed are {', '.join(_ROLES)}")
    if not isinstance(turn.get("content"), str):
        raise _Bad(f"`{name}` content must be text, not {turn.get('content')!r:.60}")
    return {"role": turn["role"], "content": turn["content"]}
