"""Results of tau2-bench: its results as one JSON file, or a folder with `simulations/`.

Scores are the reward and its parts (`reward.DB`, `reward.COMMUNICATE`). A simulation that ended in
an error of the infrastructure or of the simulated user is unscored; tau2 writes 0 for the latter.
An end that is the agent's fault (`agent_error`, `max_steps`) keeps its 0. Trials are samples. Runs
with different simulated users, policies or step limits are not comparable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    ScoreTraits,
    UnreadLine,
    content_id,
    result_reader,
    score_value,
    value_at,
)
from tunegate.harness.records.errors import UsageError
from tunegate.harness.results._files import first_bytes, json_document
from tunegate.harness.results._values import (
    convert_scores,
    dict_at,
    fields_of,
    list_at,
    row_fields,
    sampling_of,
    text_of,
    token_count,
)

NAME = "results.json"
HEAD = re.compile(rb'\s*\{\s*("timestamp":[^,]*,\s*)?"info":\s*\{\s*"git_commit"')
FAILURES = frozenset({"infrastructure_error", "unexpected_error", "user_error"})
"""Ends of a simulation that say nothing about the agent."""
SETTINGS = ("max_steps", "max_errors", "retrieval_config", "speech_complexity")


def _file(path: Path) -> Path:
    return path / NAME if path.is_dir() else path


@result_reader(
    files="a results file of tau2-bench, or its folder",
    recognize=lambda path: bool(HEAD.match(first_bytes(_file(path)))),
)
def tau2(path: Path) -> Iterator[ResultLog]:
    """Yield the run of a file or folder."""
    file = _file(path)
    document = json_document(file)
    info, tasks = value_at(document, "info"), value_at(document, "tasks")
    if not isinstance(info, dict) or not isinstance(tasks, list):
        raise UsageError(f"{file}: no info and tasks; name a results file of tau2-bench")
    by_id = {str(value_at(task, "id")): task for task in tasks}
    domain = text_of(value_at(info, "environment_info.domain_name")) or ""
    yield ResultLog(
        tool="tau2-bench",
        rows=lambda: _rows(file, document, domain, by_id),
        model=text_of(value_at(info, "agent_info.llm")),
        settings=_settings(info),
        tasks=(domain,),
        traits={
            key: ScoreTraits(higher_is_better=True, range=(0.0, 1.0))
            for key in ("reward", *(f"reward.{kind}" for kind in REWARDS))
        },
        repeats=True,
        notes=_notes(document),
    )


REWARDS = ("DB", "ENV_ASSERTION", "NL_ASSERTION", "ACTION", "COMMUNICATE")


def _settings(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be equal in both runs."""
    user = value_at(info, "user_info")
    return {
        "agent": value_at(info, "agent_info.implementation"),
        "settings of the agent's model": sampling_of(value_at(info, "agent_info.llm_args")),
        "simulated user": value_at(user, "llm"),
        "settings of the simulated user": sampling_of(value_at(user, "llm_args")),
        "guidelines of the simulated user": _hash(value_at(user, "global_simulation_guidelines")),
        "policy": _hash(value_at(info, "environment_info.policy")),
        **{name: info.get(name) for name in SETTINGS},
    }


def _hash(text: Any) -> str | None:
    return None if text is None else content_id(text)


def _prompt(task: Any) -> str:
    """Return the simulated user's instructions and the initial state."""
    instructions = value_at(task, "user_scenario.instructions")
    parts = (
        instructions.items() if isinstance(instructions, dict) else [("instructions", instructions)]
    )
    lines = [f"{name}: {text_of(part)}" for name, part in parts if part]
    for name in ("user_scenario.persona", "initial_state", "ticket"):
        value = value_at(task, name)
        lines += [] if value is None else [f"{name}: {text_of(value)}"]
    return "\n".join(lines)


def _notes(document: Mapping[str, Any]) -> tuple[str, ...]:
    wanted = value_at(document, "info.num_trials")
    index = document.get("simulations", document.get("simulation_index"))
    wanted = wanted * len(document["tasks"]) if isinstance(wanted, int) else 0
    missing = wanted - len(index) if isinstance(index, list) else 0
    if missing <= 0:
        return ()
    return (f"{missing} of {wanted} simulations are missing; the run did not end",)


def _rows(
    file: Path, document: Mapping[str, Any], domain: str, tasks: Mapping[str, Any]
) -> Iterator[ResultRow | UnreadLine]:
    for where, simulation in _simulations(file, document):
        if not isinstance(simulation, dict) or simulation.get("task_id") is None:
            yield UnreadLine(where, "not a simulation of a task")
            continue
        reward = simulation.get("reward_info")
        parts = {f"reward.{kind}": v for kind, v in dict_at(reward, "reward_breakdown").items()}
        scores, errors = convert_scores({"reward": value_at(reward, "reward"), **parts})
        said = [m for m in list_at(simulation, "messages") if value_at(m, "role") == "assistant"]
        tokens = [token_count(value_at(message, "usage.completion_tokens")) for message in said]
        name = str(simulation["task_id"])
        yield ResultRow(
            id=name,
            where=where,
            task=domain,
            prompt=_prompt(tasks[name]) if name in tasks else None,
            completion=_completion(said),
            rules=fields_of(tasks.get(name), ("evaluation_criteria",)),
            whole=False,
            scores=scores,
            errors=errors,
            error=_failure(simulation),
            output_tokens=sum(filter(None, tokens)) or None,
            cost=score_value(simulation.get("agent_cost"))[0] or None,
            fields=simulation,
            **row_fields(simulation, sample="trial", finish_reason="termination_reason"),
        )


def _simulations(file: Path, document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each simulation, from the file itself or the files next to it."""
    inside = document.get("simulations")
    if isinstance(inside, list):
        yield from (
            (f"{file}: simulations[{at}]", simulation) for at, simulation in enumerate(inside)
        )
        return
    for path in sorted((file.parent / "simulations").glob("*.json")):
        yield str(path), json_document(path)


def _completion(said: list[Any]) -> str | None:
    for message in reversed(said):
        if value_at(message, "content") is not None:
            return text_of(value_at(message, "content"))
    return "" if said else None


def _failure(simulation: Mapping[str, Any]) -> str | None:
    """Return why a simulation says nothing about the agent, or None."""
    end = text_of(simulation.get("termination_reason"))
    if end not in FAILURES:
        return None
    reason = text_of(value_at(simulation, "info.error"))
    return f"{end}: {reason.splitlines()[0]}" if reason and reason.strip() else end
