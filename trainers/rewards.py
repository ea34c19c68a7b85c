"""Rewards: the metrics that gate, so that what is optimised is what is measured.

```yaml
rewards:
  - {use: json_schema, schema: ticket.schema.json, weight: 1.0}
  - {use: numeric}
  - {use: "my_package.rewards:polite"}
```
An entry is a `[[metrics]]` table of a suite with a `weight`: options, names and `pkg.mod:fn` mean
what they mean there, and paths start at the configuration's folder. A function that takes
`completions` is one of TRL's own kind and is called as TRL calls it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import consistency, lookup
from harness import metric as metric_contract
from harness.checks.weights import file_sha256
from harness.errors import UnknownName, UsageError
from harness.metric import Metric
from harness.records import CellKind
from harness.source import SourcedCase
from trainers import yaml_file


@dataclass(frozen=True, slots=True)
class Reward:
    """One reward: a metric of ours, or a function of TRL's kind."""

    name: str
    """What TRL's logs call it."""
    use: str
    weight: float
    """Its share in the sum, positive: more of it is always better."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The metric's options as the configuration has them."""
    metric: Metric | None = None
    function: Callable[..., Any] | None = None
    """A function of TRL's kind, where it is no metric."""

    @property
    def signed_weight(self) -> float:
        """The weight as TRL takes it: negative where less of the metric is better."""
        lower = self.metric is not None and not self.metric.higher_is_better
        return -self.weight if lower else self.weight

    def record(self) -> dict[str, Any]:
        """Return what the training's record says of it, files by their content."""
        options = self.metric.options if self.metric else {}
        files = {k: file_sha256(v) for k, v in options.items() if isinstance(v, Path)}
        plain = {"name": self.name, "use": self.use, "weight": self.signed_weight}
        return {**plain, "options": dict(self.settings), "files": files}


def load(entries: Sequence[Any], *, folder: Path, where: str) -> tuple[Reward, ...]:
    """Return the rewards that a configuration or flags name.

    Args:
        entries: names, `{use: …}` mappings, or such a mapping as YAML text.
        folder: paths among the options start here.
        where: place for messages, such as `grpo.yaml: rewards`.

    Raises:
        UsageError: an entry cannot be used; every problem, one a line.
    """
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


def check(rewards: Sequence[Reward], cases: Sequence[SourcedCase], *, where: str) -> None:
    """Refuse rows that lack what a reward needs, by the metrics' own rules.

    Raises:
        UsageError: every problem, one a line.
    """
    metrics = [reward.metric for reward in rewards if reward.metric is not None]
    problems = consistency.lacking_problems(where, cases, metrics)
    if not problems:
        for metric in metrics:
            problems += consistency.metric_problems(where, metric, cases)
    if problems:
        raise UsageError("\n".join(problems))


def _table(entry: Any, place: str) -> dict[str, Any]:
    """Return an entry as a mapping with `use`."""
    value = entry
    if isinstance(entry, str):
        value = yaml_file.value(entry, where=place) if entry.lstrip().startswith("{") else entry
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
            f"{place}: weight={weight!r} must be a number above 0; a metric of which less is "
            "better is turned round by itself"
        )
    name = settings.pop("name", use.rpartition(":")[2])
    found = lookup.find("harness.metrics", use, what="reward") if ":" in use else None
    if found is not None and _is_of_trl(found):
        if settings:
            raise UsageError(f"{place}: {use!r} is called as TRL calls it and takes no options")
        return Reward(name, use, float(weight), function=found)
    metric = metric_contract.load(use, settings, name=name, folder=folder, where=place)
    if metric.judge is not None or metric.needs is not CellKind.GENERATE:
        asks = "a judge" if metric.judge is not None else f"{metric.needs.value} questions"
        raise UsageError(
            f"{place}: {use!r} needs {asks}; a reward is a metric that reads the completion alone"
        )
    return Reward(name, use, float(weight), settings, metric=metric)


def _is_of_trl(found: Any) -> bool:
    """Return whether a function takes a batch of completions, as TRL's reward functions do."""
    if isinstance(found, Metric) or not callable(found):
        return False
    try:
        return "completions" in inspect.signature(found).parameters
    except (TypeError, ValueError):
        return False
