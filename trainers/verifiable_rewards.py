"""Verifiable rewards: the metrics that gate, as reward functions for TRL.

```yaml
rewards:
  - {use: json_schema, schema: ticket.schema.json, weight: 1.0}
  - {use: numeric}
  - {use: "my_package.rewards:polite"}
```
An entry is a `[[metrics]]` table of a suite with a `weight`: options, names and `pkg.mod:fn` mean
what they mean there, and paths start at the configuration's folder. A function that takes
`completions` is one of TRL's own kind and is called as TRL calls it.

A completion that a metric leaves unscored is `None`, which TRL leaves out of its group; never 0.
TRL sums the rewards of a completion and counts a missing one as 0: so a completion that one metric
leaves unscored, though it scored another answer to the same prompt, is left out of all of them.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.decoding import decode_completion
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.metric_loading import load_metric
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import RewardFailed, UnknownName, UsageError, error_summary
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import content_sha256
from tunegate.harness.records.scores import Score
from tunegate.harness.sandbox.chosen import usable_sandbox
from tunegate.harness.sandbox.contract import SandboxFailed
from tunegate.harness.sandbox.jobs import run_jobs
from tunegate.harness.suite import consistency
from tunegate.trainers import yaml_config
from tunegate.trainers.prompt_rows import PromptRow


@dataclass(frozen=True, slots=True)
class Reward:
    """One reward: a metric of ours, or a function of TRL's kind."""

    name: str
    """Its name in TRL's logs."""
    use: str
    weight: float
    """Its share in the sum, positive: more of it is always better."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The metric's options as the configuration has them."""
    metric: Metric | None = None
    function: Callable[..., Any] | None = None
    """A function of TRL's kind, if it is not a metric."""

    @property
    def signed_weight(self) -> float:
        """The weight as TRL takes it: negative where less of the metric is better."""
        lower = self.metric is not None and not self.metric.higher_is_better
        return -self.weight if lower else self.weight

    def record(self) -> dict[str, Any]:
        """Return its entry in the training's record, with a hash of each file."""
        options = self.metric.options if self.metric else {}
        files = {k: content_sha256(v) for k, v in options.items() if isinstance(v, Path)}
        plain = {"name": self.name, "use": self.use, "weight": self.signed_weight}
        return {**plain, "options": dict(self.settings), "files": files}


def load_rewards(entries: Sequence[Any], *, folder: Path, where: str) -> tuple[Reward, ...]:
    """Return the rewards that a configuration or flags name."""
    if not entries:
        raise UsageError(f"{where}: missing; give a metric such as `--reward json_schema`")
    rewards: list[Reward] = []
    problems: list[str] = []
    for number, entry in enumerate(entries, start=1):
        place = f"{where}: entry {number}"
        try:
            reward = _reward(_table(entry, place), folder, place)
        except UnknownName as error:
            problems.append(f"{place}: {error}")
        except UsageError as error:
            problems += str(error).splitlines()
        else:
            if any(reward.name == other.name for other in rewards):
                problems.append(f"{place}: a second reward {reward.name!r}; give it a `name`")
            rewards.append(reward)
    if problems:
        raise UsageError("\n".join(problems))
    return tuple(rewards)


def check_rewards(rewards: Sequence[Reward], cases: Sequence[Case], *, where: str) -> None:
    """Refuse rows that lack what a reward needs, by the metrics' own rules."""
    metrics = [reward.metric for reward in rewards if reward.metric is not None]
    problems = consistency.lacking_problems(where, cases, metrics)
    try:
        if any(metric.job is not None for metric in metrics):
            usable_sandbox()
        for check in (consistency.metric_problems, consistency.dry_run_problems):
            if not problems:
                problems = [line for metric in metrics for line in check(where, metric, cases)]
    except SandboxFailed as error:
        raise UsageError(f"{where}: {error}") from error
    if problems:
        raise UsageError("\n".join(problems))


def _table(entry: Any, place: str) -> dict[str, Any]:
    """Return an entry as a mapping with `use`."""
    value = entry
    if isinstance(entry, str):
        value = (
            yaml_config.parse_value(entry, where=place) if entry.lstrip().startswith("{") else entry
        )
    if isinstance(value, str):
        return {"use": value}
    if not isinstance(value, dict) or not isinstance(value.get("use"), str):
        raise UsageError(f"{place}: {entry!r:.80} must be a name or {{use: NAME, …}}")
    return dict(value)


def _reward(settings: dict[str, Any], folder: Path, place: str) -> Reward:
    use = settings.pop("use")
    weight = settings.pop("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise UsageError(
            f"{place}: weight={weight!r} must be a number above 0; a metric where lower is "
            "better is negated automatically"
        )
    name = settings.pop("name", use.rpartition(":")[2])
    function = (
        lookup.find_object("tunegate.harness.metrics", use, what="reward") if ":" in use else None
    )
    if function is not None and _takes_completions(function):
        if settings:
            raise UsageError(f"{place}: {use!r} is called as TRL calls it and takes no options")
        return Reward(name, use, float(weight), function=function)
    metric = load_metric(use, settings, name=name, folder=folder, where=place)
    if metric.judge is not None or metric.needs is not CellKind.GENERATE:
        asks = "a judge" if metric.judge is not None else f"{metric.needs.value} questions"
        raise UsageError(
            f"{place}: {use!r} needs {asks}; a reward is a metric that reads the completion alone"
        )
    return Reward(name, use, float(weight), settings, metric=metric)


def _takes_completions(reward: Any) -> bool:
    """Return whether a function takes a batch of completions, as TRL's reward functions do."""
    if isinstance(reward, Metric) or not callable(reward):
        return False
    try:
        return "completions" in inspect.signature(reward).parameters
    except (TypeError, ValueError):
        return False


Column = list[float | None]


class RewardVerifier:
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
            self._call_trl_function(reward, batch)
            if reward.metric is None
            else self._score_metric(reward.metric, batch)
            for reward in self.rewards
        ]
        left_out = _left_out(columns, batch["row"])
        if (log := batch.get("log_metric")) is not None:
            log("rewards/unscored", len(left_out) / len(batch["row"]))
        return [[None if i in left_out else v for i, v in enumerate(c)] for c in columns]

    def _score_metric(self, metric: Metric, batch: Mapping[str, Any]) -> Column:
        rows = [self._rows[row] for row in batch["row"]]
        completions = [
            self._completion(ids, row.prompt)
            for ids, row in zip(batch["completion_ids"], rows, strict=True)
        ]
        if metric.job is not None:  # all of them side by side
            pairs = zip(rows, completions, strict=True)
            jobs = (metric.job(row.case, answer, **metric.options) for row, answer in pairs)
            run_jobs(job for job in jobs if job is not None)
        return [
            self._score_one(metric, row, completion)
            for row, completion in zip(rows, completions, strict=True)
        ]

    def _score_one(self, metric: Metric, row: PromptRow, completion: Completion) -> float | None:
        failed = f"{row.case.where}: reward {metric.name!r}"
        try:
            result = metric.score(row.case, completion, **metric.options)
            if result is not None and not isinstance(result, Score):
                result = float(result)
        except Exception as error:
            raise RewardFailed(f"{failed} raised {error_summary(error)}") from error
        if result is None or isinstance(result, float):
            return _finite(result, failed)
        if result.value is None:
            self.unscored[f"{metric.name}: {result.reason}"] += 1
        return result.value

    def _completion(self, ids: Sequence[int], prompt: Any) -> Completion:
        """Return the completion as the gate would record it.

        Thoughts are not part of the answer. Whether the chat template has opened them is unknown
        here, so thoughts without a tag that never end count as the answer.
        """
        ends = {self._tokenizer.eos_token_id, self._tokenizer.pad_token_id}
        ended = bool(ids) and ids[-1] in ends
        written = ids[: len(ids) - ended]
        plain = prompt if isinstance(prompt, str) else None
        return Completion(
            finish_reason="stop" if ended else "length",
            output_tokens=len(written),
            **decode_completion(self._tokenizer, written, GenerationSettings(), prompt=plain),
        )

    def _call_trl_function(self, reward: Reward, batch: Mapping[str, Any]) -> Column:
        """Call a function of TRL's kind with the rows' own columns."""
        assert reward.function is not None
        rows = [self._rows[i] for i in batch["row"]]
        keys = dict.fromkeys(k for row in rows for k in row.values if k not in ("prompt", "row"))
        columns = {key: [row.values.get(key) for row in rows] for key in keys}
        named = f"reward {reward.name!r}"
        try:
            result = reward.function(**{**batch, **columns})
            values = list(_run_coroutine(result) if inspect.iscoroutine(result) else result)
            values = [None if value is None else float(value) for value in values]
        except Exception as error:
            places = f"{rows[0].case.where} and the rest of its batch"
            raise RewardFailed(f"{places}: {named} raised {error_summary(error)}") from error
        if len(values) != len(rows):
            raise RewardFailed(f"{named} returned {len(values)} numbers for {len(rows)} rows")
        where = [f"{row.case.where}: {named}" for row in rows]
        return [_finite(value, place) for value, place in zip(values, where, strict=True)]


def _left_out(columns: Sequence[Column], rows: Sequence[int]) -> set[int]:
    """Return the positions that lack a score from some reward that scored others in their group."""
    groups: dict[int, list[int]] = {}
    for position, row in enumerate(rows):
        groups.setdefault(row, []).append(position)
    out: set[int] = set()
    for group in groups.values():
        scoring = [column for column in columns if any(column[i] is not None for i in group)]
        for i in group:
            if not scoring or any(column[i] is None for column in scoring):
                out.add(i)
    return out


def _finite(value: float | None, failed: str) -> float | None:
    if value is not None and not math.isfinite(value):
        raise RewardFailed(f"{failed} returned {value}, which is not a number to learn from")
    return value


def _run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end; the thread keeps the event loop that a library may have set."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(coroutine)
