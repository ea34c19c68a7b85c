"""Results of verifiers: `traces.jsonl`, one episode per line.

An episode holds a trace for each agent, with rewards, metrics and messages. Scores are the weighted
reward (`reward`), each reward by its name (`reward.NAME`) and each metric (`metric.NAME`). A reward
that was not computed and an episode that failed are unscored.

The id of a task is its `id`, or else its key, which verifiers makes from the row and its position
in the task set: run both arms on the same selection. Episodes of the same task are samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.reasoning import message_thoughts
from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    content_id,
    result_reader,
    score_value,
    value_at,
)
from tunegate.harness.records.errors import UsageError
from tunegate.harness.results._files import json_lines
from tunegate.harness.results._values import (
    convert_scores,
    dict_at,
    fields_of,
    is_conversation,
    list_at,
    read_rows,
    row_fields,
    sampling_of,
    text_of,
)

NAME = "traces.jsonl"
VERSION = 1
LIMITS = (
    "harness.id", "max_turns", "max_input_tokens", "max_output_tokens", "max_total_tokens",
    "timeout",
)  # fmt: skip
"""Parts of an agent's configuration at which it ends."""
ASKED = ("idx", "prompt", "system_prompt")
"""Parts of a task that are its place, or that are compared as the prompt."""


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
    """Yield the run of a file."""
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
        rows=lambda: read_rows(json_lines(file), partial(_row, agent)),
        model=text_of(value_at(trace, "agent.config.model")),
        settings=_settings(first, agent),
        repeats=True,
    )


def _settings(episode: Mapping[str, Any], agent: str) -> dict[str, Any]:
    """Return the environment, and the sampling and limits of the agent that is scored."""
    name = value_at(episode, "env.id")
    wanted = [trace for trace in _traces(episode) if not agent or _agent(trace) == agent]
    config = dict_at(wanted[0], "agent.config") if wanted else {}
    return {
        **({"environment": name} if name else {}),
        **({"sampling": sampling_of(config.get("sampling"))} if config else {}),
        **fields_of(config, LIMITS),
    }


def _traces(episode: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in list_at(episode, "traces") if isinstance(one, dict)]


def _agent(trace: Mapping[str, Any]) -> str:
    return text_of(value_at(trace, "agent.name")) or "agent"


def _row(agent: str, where: str, episode: Mapping[str, Any]) -> ResultRow:
    traces = [trace for trace in _traces(episode) if not agent or _agent(trace) == agent]
    version = value_at(traces[0], "version") if traces else VERSION
    if version != VERSION:
        raise UsageError(f"{where}: version {version!r} of traces; this reader knows {VERSION}")
    if len(traces) > 1:
        raise ValueError(f"{len(traces)} traces of one agent in an episode; name one")
    trace = traces[0] if traces else {}
    task = episode.get("task")
    data = dict_at(task, "data")
    prompt = _prompt(data)
    scores, errors = _scores(trace)
    weights = {
        f"weight of reward {key}": weight
        for key, reward in dict_at(trace, "rewards").items()
        if (weight := value_at(reward, "weight")) is not None
    }
    name = text_of(data.get("id")) or text_of(value_at(task, "key")) or content_id(data)
    return ResultRow(
        id=name,
        where=where,
        prompt=prompt,
        completion=_completion(trace),
        reasoning=message_thoughts(_last_message(trace) or {}),
        scores=scores,
        errors=errors,
        error=_failure(episode, trace),
        rules={
            "task": {key: value for key, value in data.items() if key not in ASKED},
            **weights,
        },
        whole=sum(value_at(node, "sampled") is True for node in list_at(trace, "nodes")) == 1,
        fields=data,
        **row_fields(
            trace,
            finish_reason="stop_condition",
            input_tokens="num_input_tokens",
            output_tokens="num_output_tokens",
            latency_s="timing.agent.model.duration",
        ),
    )


def _prompt(data: Mapping[str, Any]) -> str | Sequence[Mapping[str, Any]] | None:
    """Return what the task asks, with its system prompt."""
    prompt, system = data.get("prompt"), data.get("system_prompt")
    turns = is_conversation(prompt)
    if prompt is None or not (system or turns):
        return text_of(prompt)
    first = [{"role": "system", "content": system}] if system else []
    return [*first, *(prompt if turns else [{"role": "user", "content": text_of(prompt)}])]


def _completion(trace: Mapping[str, Any]) -> str | None:
    reply = trace.get("root_reply")
    if reply is not None:
        return text_of(reply)
    message = _last_message(trace)
    return None if message is None else text_of(message.get("content")) or ""


def _last_message(trace: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the last message that a model call produced."""
    for node in reversed(list_at(trace, "nodes")):
        message = dict_at(node, "message")
        if value_at(node, "sampled") and message.get("role") == "assistant":
            return message
    return None


def _scores(trace: Mapping[str, Any]) -> tuple[dict[str, float | None], dict[str, str]]:
    rewards = dict_at(trace, "rewards")
    raw = {f"reward.{name}": value_at(reward, "score") for name, reward in rewards.items()}
    raw |= {f"metric.{name}": value for name, value in dict_at(trace, "metrics").items()}
    scores, errors = convert_scores(raw)
    weighted: list[float] = []
    for name, reward in rewards.items():
        raw_weight = value_at(reward, "weight")
        weight, _ = score_value(1.0 if raw_weight is None else raw_weight)
        value = scores[f"reward.{name}"]
        if value is not None and weight is not None:
            weighted.append(value * weight)
    if rewards:
        failed = len(weighted) < len(rewards)
        failures = {"reward": "a reward was not computed"} if failed else {}
        total, problem = convert_scores({"reward": sum(weighted)}, failures)
        scores, errors = scores | total, errors | problem
    return scores, errors


def _failure(episode: Mapping[str, Any], trace: Mapping[str, Any]) -> str | None:
    """Return why the episode has no valid result, or None."""
    parts = [part for part in (trace, episode) if part]
    if trace and all(part.get("ok") is True for part in parts):
        return None
    for part in parts:
        last = next(reversed(list_at(part, "errors")), None)
        if isinstance(last, dict):
            return f"{last.get('type')}: {last.get('message')}"
    if any(part.get("is_timeout") is True for part in parts):
        return "the episode ran into its time limit"
    return "the episode did not end well" if trace else "the episode has no trace"
