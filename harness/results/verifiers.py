"""Results of verifiers: `traces.jsonl`, an episode a line.

An episode holds the trace of each agent, a trace its rewards, metrics and messages. Scores are the
trace's weighted reward (`reward`), each reward by its name (`reward.NAME`) and each metric
(`metric.NAME`). A reward that was not computed is no 0, and an episode that failed is unscored.

A task is known by its `id` where it has one, else by its key, which verifiers makes of the row
and of its place in the task set: run both arms on the same selection. Episodes of the same
task are samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    UnreadLine,
    content_id,
    result_reader,
    score_value,
    value_at,
)
from tunegate.harness.contracts.thoughts import message_thoughts
from tunegate.harness.records.errors import UsageError
from tunegate.harness.results._files import (
    json_lines,
    text_of,
    token_count,
)

NAME = "traces.jsonl"
VERSION = 1


def _file(path: Path) -> Path:
    return path / NAME if path.is_dir() else path


def _is_traces(path: Path) -> bool:
    file = _file(path)
    if file.name != NAME or not file.is_file():
        return False
    try:
        _, first = next(json_lines(file), ("", None))
    except UsageError:
        return False
    return isinstance(first, dict) and isinstance(first.get("traces"), list)


@result_reader(files="traces.jsonl of an eval", recognize=_is_traces)
def verifiers(path: Path, *, agent: str = "") -> Iterator[ResultLog]:
    """Yield the run of a file.

    Args:
        path: The file, or the folder of the run.
        agent: The agent that is scored, where an episode has several.

    Raises:
        UsageError: there are several agents and none or another is named.
    """
    file = _file(path)
    first = next((line for _, line in json_lines(file) if isinstance(line, dict)), {})
    names = list(dict.fromkeys(_agent(trace) for trace in _traces(first)))
    if agent and names and agent not in names:
        raise UsageError(f"results:{path}?agent={agent}: there are: {', '.join(names)}")
    if not agent and len(names) > 1:
        raise UsageError(
            f"{file}: {len(names)} agents in an episode; name one: results:{path}?agent=NAME, one "
            f"of {', '.join(names)}"
        )
    trace = next(iter(_traces(first)), {})
    yield ResultLog(
        tool="verifiers",
        tool_version=text_of(value_at(trace, "verifiers.version")),
        rows=lambda: _rows(file, agent),
        model=text_of(value_at(trace, "agent.config.model")),
        settings=_settings(first),
        repeats=True,
    )


def _settings(episode: Mapping[str, Any]) -> dict[str, Any]:
    name = value_at(episode, "env.id")
    return {"environment": name} if name else {}


def _traces(episode: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    several = episode.get("traces")
    return [one for one in several if isinstance(one, dict)] if isinstance(several, list) else []


def _agent(trace: Mapping[str, Any]) -> str:
    return text_of(value_at(trace, "agent.name")) or "agent"


def _rows(file: Path, agent: str) -> Iterator[ResultRow | UnreadLine]:
    for where, episode in json_lines(file):
        if isinstance(episode, UnreadLine):
            yield episode
            continue
        wanted = [t for t in _traces(episode) if not agent or _agent(t) == agent]
        version = value_at(wanted[0], "version") if wanted else VERSION
        if version != VERSION:
            raise UsageError(f"{where}: version {version!r} of traces; this reader knows {VERSION}")
        if len(wanted) > 1:
            yield UnreadLine(where, f"{len(wanted)} traces of one agent in an episode; name one")
            continue
        yield _row(where, episode, wanted[0] if wanted else {})


def _row(where: str, episode: Mapping[str, Any], trace: Mapping[str, Any]) -> ResultRow:
    task = episode.get("task")
    data = value_at(task, "data")
    data = data if isinstance(data, dict) else {}
    prompt = _prompt(data)
    scores, errors = _scores(trace)
    name = text_of(data.get("id")) or text_of(value_at(task, "key")) or content_id(data)
    return ResultRow(
        id=name,
        where=where,
        prompt=prompt,
        completion=_completion(trace),
        reasoning=_thoughts(trace),
        scores=scores,
        errors=errors,
        error=_failure(episode, trace),
        finish_reason=text_of(trace.get("stop_condition")),
        input_tokens=token_count(trace.get("num_input_tokens")),
        output_tokens=token_count(trace.get("num_output_tokens")),
        latency_s=score_value(value_at(trace, "timing.agent.model.duration"))[0],
        fields=data,
    )


def _prompt(data: Mapping[str, Any]) -> str | Sequence[Mapping[str, Any]] | None:
    """Return what the task asks, with its system prompt."""
    given, system = data.get("prompt"), data.get("system_prompt")
    turns = isinstance(given, list) and all(isinstance(t, dict) and "role" in t for t in given)
    if given is None or not (system or turns):
        return text_of(given)
    first = [{"role": "system", "content": system}] if system else []
    return [*first, *(given if turns else [{"role": "user", "content": text_of(given)}])]


def _completion(trace: Mapping[str, Any]) -> str | None:
    """Return the last message that a model call produced."""
    reply = trace.get("root_reply")
    if reply is not None:
        return text_of(reply)
    nodes = trace.get("nodes")
    for node in reversed(nodes if isinstance(nodes, list) else []):
        if value_at(node, "sampled") and value_at(node, "message.role") == "assistant":
            return text_of(value_at(node, "message.content")) or ""
    return None


def _thoughts(trace: Mapping[str, Any]) -> str | None:
    """Return the thoughts before the last message that a model call produced."""
    nodes = trace.get("nodes")
    for node in reversed(nodes if isinstance(nodes, list) else []):
        message = value_at(node, "message")
        if value_at(node, "sampled") and value_at(message, "role") == "assistant":
            return message_thoughts(message)
    return None


def _scores(trace: Mapping[str, Any]) -> tuple[dict[str, float | None], dict[str, str]]:
    scores: dict[str, float | None] = {}
    errors: dict[str, str] = {}

    def add(key: str, raw: Any) -> float | None:
        scores[key], problem = score_value(raw)
        if problem is not None:
            errors[key] = problem
        return scores[key]

    rewards = trace.get("rewards")
    values: list[float | None] = []
    for name, reward in (rewards if isinstance(rewards, dict) else {}).items():
        value = add(f"reward.{name}", value_at(reward, "score"))
        given = value_at(reward, "weight")
        weight, _ = score_value(1.0 if given is None else given)
        values.append(None if value is None or weight is None else value * weight)
    known = [value for value in values if value is not None]
    if values and len(known) == len(values):
        add("reward", sum(known))
    elif values:
        scores["reward"] = None
        errors["reward"] = "a reward was not computed"
    metrics = trace.get("metrics")
    for name, value in (metrics if isinstance(metrics, dict) else {}).items():
        add(f"metric.{name}", value)
    return scores, errors


def _failure(episode: Mapping[str, Any], trace: Mapping[str, Any]) -> str | None:
    """Return why the episode has no valid result; None if it has."""
    parts = [part for part in (trace, episode) if part]
    if trace and all(part.get("ok") is True for part in parts):
        return None
    for part in parts:
        errors = part.get("errors")
        last = errors[-1] if isinstance(errors, list) and errors else None
        if isinstance(last, dict):
            return f"{last.get('type')}: {last.get('message')}"
    if any(part.get("is_timeout") is True for part in parts):
        return "the episode ran into its time limit"
    return "the episode did not end well" if trace else "the episode has no trace"
