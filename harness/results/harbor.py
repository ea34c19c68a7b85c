"""Results of Harbor: the folder of a job, with a `result.json` for each trial.

Scores are the rewards by their names. A trial that ended in an exception keeps its reward only if
the exception is the agent's fault (it ran out of time or context). Harbor's verifier also grades
the empty folder that a refused API call leaves, as 0. Trials of one task are samples. The checksum
of a task's files stands for its prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    UnreadLine,
    result_reader,
    value_at,
)
from tunegate.harness.records.errors import UsageError
from tunegate.harness.results._files import first_bytes, json_document
from tunegate.harness.results._values import (
    convert_scores,
    dict_at,
    fields_of,
    list_at,
    read_rows,
    row_fields,
    text_of,
)

NAME = "result.json"
VERSION = 1
OWN = frozenset(
    {
        "AgentSafetyRefusalError", "AgentTimeoutError", "ContentPolicyViolationError",
        "ContextLengthExceededError", "ContextWindowExceededError", "NonZeroAgentExitCodeError",
        "OutputLengthExceededError", "OutputTokenExceededError",
    }
)  # fmt: skip
"""Exceptions after which Harbor 0.26 considers a reward valid. It does so for unknown names, too;
here those are unscored."""
SETTINGS = ("timeout_multiplier", "agent_timeout_multiplier", "verifier_timeout_multiplier",
            "agent.override_timeout_sec", "agent.max_timeout_sec",
            "verifier.override_timeout_sec", "verifier.max_timeout_sec", "verifier.disable",
            "environment.override_cpus", "environment.override_memory_mb")  # fmt: skip
"""Parts of a trial's configuration that both runs must share."""
ADDRESSES = ("api_base", "base_url", "api_key")
"""Arguments of an agent that only say where its model is."""


def _files(path: Path) -> list[Path]:
    folder = path.parent if path.name == NAME else path
    marks = (b'"trial_name"', b'"task_name"')
    files = ((file, first_bytes(file)) for file in folder.glob(f"*/{NAME}"))
    return sorted(file for file, head in files if all(mark in head for mark in marks))


@result_reader(
    files="the folder of a job with TRIAL/result.json", recognize=lambda path: bool(_files(path))
)
def harbor(path: Path) -> Iterator[ResultLog]:
    """Yield a run for each agent and model of a job."""
    runs: dict[tuple[str, str], list[Path]] = {}
    unread: list[UnreadLine] = []
    for file in _files(path):
        trial = _trial(file)
        if isinstance(trial, UnreadLine):
            unread.append(trial)
        else:
            agent = text_of(value_at(trial, "agent_info.name")) or "agent"
            model = text_of(value_at(trial, "agent_info.model_info.name")) or ""
            runs.setdefault((agent, model), []).append(file)
    agents = {agent for agent, _ in runs}
    for (agent, model), files in runs.items():
        named = model if len(agents) == 1 else f"{agent}/{model}"
        yield ResultLog(
            tool="Harbor",
            rows=partial(_rows, files, unread),
            run="" if len(runs) == 1 else named,
            model=model or None,
            settings=_settings(_trial(files[0]), agent),
            repeats=True,
        )


def _trial(file: Path) -> dict[str, Any] | UnreadLine:
    """Return the record of a trial."""
    try:
        trial = json_document(file)
    except UsageError as error:
        return UnreadLine(str(file), str(error).removeprefix(f"{file}: "), cut=True)
    if not isinstance(trial, dict) or trial.get("task_name") is None:
        return UnreadLine(str(file), "not a result of a trial")
    version = trial.get("schema_version", VERSION)
    if version != VERSION:
        raise UsageError(f"{file}: schema_version {version!r}; this reader knows {VERSION}")
    return trial


def _settings(trial: Mapping[str, Any] | UnreadLine, agent: str) -> dict[str, Any]:
    config = value_at(trial, "config")
    return {
        "agent": agent,
        "agent version": value_at(trial, "agent_info.version"),
        **fields_of(config, SETTINGS),
        "arguments of the agent": {
            name: value
            for name, value in dict_at(config, "agent.kwargs").items()
            if name not in ADDRESSES
        },
    }


def _rows(files: list[Path], unread: list[UnreadLine]) -> Iterator[ResultRow | UnreadLine]:
    yield from unread
    yield from read_rows(((str(file), _trial(file)) for file in files), _row)


def _row(where: str, trial: Mapping[str, Any]) -> ResultRow:
    scores, errors = convert_scores(dict_at(trial, "verifier_result.rewards"))
    return ResultRow(
        id=str(trial["task_name"]),
        where=where,
        task=text_of(trial.get("source")) or "",
        scores=scores,
        errors=errors,
        error=_failure(trial) or (None if scores else "the verifier gave no reward"),
        latency_s=_seconds(trial.get("agent_execution")),
        fields=trial,
        **row_fields(
            trial,
            prompt_sha256="task_checksum",
            input_tokens="agent_result.n_input_tokens",
            output_tokens="agent_result.n_output_tokens",
            cost="agent_result.cost_usd",
        ),
    )


def _failure(trial: Mapping[str, Any]) -> str | None:
    """Return an exception that is not the agent's fault, or None."""
    for part in (trial, *list_at(trial, "step_results")):
        info = dict_at(part, "exception_info")
        if not info:
            continue
        kind = text_of(info.get("exception_type")) or "an exception"
        valid = value_at(info, "policy_override.has_valid_reward")
        if valid is True or (kind in OWN and valid is not False):
            continue
        lines = (text_of(info.get("exception_message")) or "").strip().splitlines()
        return f"{kind}: {lines[0]}" if lines else kind
    return None


def _seconds(timing: Any) -> float | None:
    """Return how long a phase of a trial took; None if the file does not have it."""
    try:
        start, end = (
            datetime.fromisoformat(str(value_at(timing, name)))
            for name in ("started_at", "finished_at")
        )
        return max(0.0, (end - start).total_seconds())
    except (TypeError, ValueError):
        return None
