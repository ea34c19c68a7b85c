"""Verifies completions while a model is trained: TRL's columns → cases → metrics → rewards.

TRL calls `functions()` with a batch. A completion that a metric leaves unscored is `None` there,
which TRL leaves out of its group, and never 0. TRL sums what several rewards say of a completion,
and a missing one would count as 0 in the sum: so a completion that one of them leaves unscored,
though it scored another answer to the same prompt, is left out of all of them.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.metric import Metric
from harness.records import Completion, Score
from trainers.prompts import PromptRow
from trainers.rewards import Reward

Column = list[float | None]


class RewardFailed(Exception):
    """A reward function raised, or returned what is no number: the training cannot go on."""


class Verifier:
    """Scores batches with all rewards at once, and counts what could not be scored."""

    def __init__(
        self, rewards: Sequence[Reward], rows: Sequence[PromptRow], tokenizer: Any
    ) -> None:
        """Keep what scoring needs; the dataset's column `row` is an index into `rows`."""
        self.rewards = tuple(rewards)
        self.unscored: Counter[str] = Counter()
        """Why completions were left out, reason → count."""
        self._rows = rows
        self._tokenizer = tokenizer
        self._batch: Any = None
        self._columns: list[Column] = []

    def functions(self) -> list[Callable[..., Column]]:
        """Return one function a reward, as `GRPOTrainer(reward_funcs=…)` takes them."""
        return [self._function(i, reward.name) for i, reward in enumerate(self.rewards)]

    def _function(self, index: int, name: str) -> Callable[..., Column]:
        def reward(**batch: Any) -> Column:
            if self._batch is not batch["completions"]:  # the first function of a new batch
                self._columns = self._score(batch)
                self._batch = batch["completions"]
            return self._columns[index]

        reward.__name__ = name
        return reward

    def _score(self, batch: Mapping[str, Any]) -> list[Column]:
        columns = [
            self._of_trl(reward, batch)
            if reward.metric is None
            else self._of_metric(reward.metric, batch)
            for reward in self.rewards
        ]
        left_out = _left_out(columns, batch["row"])
        batch["log_metric"]("rewards/unscored", len(left_out) / len(batch["row"]))
        return [[None if i in left_out else v for i, v in enumerate(c)] for c in columns]

    def _of_metric(self, metric: Metric, batch: Mapping[str, Any]) -> Column:
        completions = [self._completion(ids) for ids in batch["completion_ids"]]
        pairs = zip(batch["row"], completions, strict=True)
        return [self._one(metric, self._rows[row], completion) for row, completion in pairs]

    def _one(self, metric: Metric, row: PromptRow, completion: Completion) -> float | None:
        failed = f"{row.sourced.where}: reward {metric.name!r}"
        try:
            result = metric.score(row.sourced.case, completion, **metric.options)
            if result is not None and not isinstance(result, Score):
                result = float(result)
        except Exception as error:
            raise RewardFailed(f"{failed} raised {_one_line(error)}") from error
        if result is None or isinstance(result, float):
            return _finite(result, failed)
        if result.value is None:
            self.unscored[f"{metric.name}: {result.reason}"] += 1
        return result.value

    def _completion(self, ids: Sequence[int]) -> Completion:
        """Return what the gate would know of a completion with these tokens."""
        ends = {self._tokenizer.eos_token_id, self._tokenizer.pad_token_id}
        ended = bool(ids) and ids[-1] in ends
        return Completion(
            text=self._tokenizer.decode(ids, skip_special_tokens=True),
            finish_reason="stop" if ended else "length",
            output_tokens=len(ids) - ended,
        )

    def _of_trl(self, reward: Reward, batch: Mapping[str, Any]) -> Column:
        """Call a function of TRL's kind with the rows' own columns."""
        assert reward.function is not None
        rows = [self._rows[i] for i in batch["row"]]
        keys = dict.fromkeys(k for row in rows for k in row.values if k not in ("prompt", "row"))
        columns = {key: [row.values.get(key) for row in rows] for key in keys}
        named = f"reward {reward.name!r}"
        try:
            result = reward.function(**{**batch, **columns})
            values = list(asyncio.run(result) if inspect.iscoroutine(result) else result)
            values = [None if value is None else float(value) for value in values]
        except Exception as error:
            places = f"{rows[0].sourced.where} and what is in a batch with it"
            raise RewardFailed(f"{places}: {named} raised {_one_line(error)}") from error
        if len(values) != len(rows):
            raise RewardFailed(f"{named} returned {len(values)} numbers for {len(rows)} rows")
        where = [f"{row.sourced.where}: {named}" for row in rows]
        return [_finite(value, place) for value, place in zip(values, where, strict=True)]


def _left_out(columns: Sequence[Column], rows: Sequence[int]) -> set[int]:
    """Return the positions that no reward says anything of, or only some of those that could."""
    groups: dict[int, list[int]] = {}
    for position, row in enumerate(rows):
        groups.setdefault(row, []).append(position)
    out: set[int] = set()
    for group in groups.values():
        able = [column for column in columns if any(column[i] is not None for i in group)]
        out |= {i for i in group if not able or any(column[i] is None for column in able)}
    return out


def _finite(value: float | None, failed: str) -> float | None:
    if value is not None and not math.isfinite(value):
        raise RewardFailed(f"{failed} returned {value}, which is not a number to learn from")
    return value


def _one_line(error: Exception) -> str:
    line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {line}"[:300]
