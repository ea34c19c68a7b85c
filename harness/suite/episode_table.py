"""The key `episode` of suite.toml, and cases and metrics that contradict it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tunegate.harness.contracts.episode_environment import EnvironmentSource, EpisodePlan
from tunegate.harness.contracts.inspect_task import InspectTask
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.episodes.transcript import opening_case
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeSettings
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.suite.toml_file import TomlFile


def read_episodes(
    source: TomlFile, cases: Sequence[Case], generation: GenerationSettings
) -> tuple[EpisodePlan | None, list[str]]:
    """Return how the suite's episodes are played, and what is wrong with its `episode` key."""
    episode = source.data["episode"]
    table = {"environment": episode} if isinstance(episode, str) else dict(episode)
    settings = EpisodeSettings.model_validate(table)
    if settings.inspect:
        played, problems = _read_inspect(source, settings)
    else:
        played, problems = _read_environment(source, settings, cases)
    with_tools = next((case for case in cases if case.tools is not None), None)
    if with_tools is not None:
        problems.append(
            f"{with_tools.where}: tools: an episode's tools come from its environment; remove it"
        )
    if generation.template != "chat":
        problems.append(
            f"{source.where('generation', 'template')}: template={generation.template!r}: an "
            "episode is a conversation, which needs a chat template; remove the key"
        )
    return (None if problems else played), problems


def _read_environment(
    source: TomlFile, settings: EpisodeSettings, cases: Sequence[Case]
) -> tuple[EpisodePlan | None, list[str]]:
    keys = () if isinstance(source.data["episode"], str) else ("environment",)
    place = source.where("episode", *keys)
    if not settings.environment:
        return None, [f'{place}: name the `environment` ("file.py:Class"), or a task to `inspect`']
    environment = EnvironmentSource(
        settings.environment, str(source.path.parent.absolute()), dict(settings.options)
    )
    environment_problems = list(environment.problems(cases))
    problems = [
        text if ".jsonl:" in text[:200] else f"{place}: {text}" for text in environment_problems
    ]
    problems += _other_keys(source, _OF_INSPECT, "needs `inspect`")
    if problems:
        return None, problems
    settings = settings.model_copy(update={"sha256": environment.sha256})
    return EpisodePlan(settings, environment, environment.tools), []


def _read_inspect(
    source: TomlFile, settings: EpisodeSettings
) -> tuple[EpisodePlan | None, list[str]]:
    task = InspectTask(
        settings.inspect,
        str(source.path.parent.absolute()),
        settings.python,
        settings.flags,
        dict(settings.options),
    )
    place = source.where("episode", "inspect")
    problems = [f"{place}: {text}" for text in task.problems()]
    problems += _other_keys(source, _OF_CLASSES, "belongs to an environment, but Inspect plays")
    if problems:
        return None, problems
    settings = settings.model_copy(update={"sha256": task.sha256, "deterministic": False})
    return EpisodePlan(settings, task, ()), []


_OF_INSPECT = ("python", "flags", "reward")
_OF_CLASSES = ("environment", "max_turns", "max_tokens", "tool_timeout_s", "deterministic")
"""Keys that only one of the two ways to play has."""


def _other_keys(source: TomlFile, names: Sequence[str], why: str) -> Iterator[str]:
    table = source.data["episode"]
    for name in names:
        if isinstance(table, Mapping) and name in table:
            yield f"{source.where('episode', name)}: {name} {why}; remove it"


def open_cases(
    plan: EpisodePlan, cases: Sequence[Case], generation: GenerationSettings
) -> tuple[Case, ...]:
    """Return the tasks as the model first sees them; Inspect makes its own prompts."""
    if plan.settings.inspect:
        return tuple(cases)
    return tuple(
        opening_case(case, plan.settings, plan.tools, generation.system).with_place(case.where)
        for case in cases
    )


def episode_metric_problems(
    source: TomlFile, metrics: Mapping[int, Metric], generation: GenerationSettings
) -> Iterator[str]:
    """Yield metrics that cannot score the suite's completions; `metrics` are by table."""
    played = "episode" in source.data
    for index, used in metrics.items():
        place = f"{source.where('metrics', index, 'use')}: metric {used.name!r}"
        if used.episodes and not played:
            yield f'{place} scores episodes; add `episode = "file.py:Class"`, or remove it'
        elif played and used.needs is not CellKind.GENERATE:
            yield f"{place} needs {used.needs.value}, but a suite with `episode` only has episodes"
