"""New suite over a task of Inspect: its samples as cases, its scores as metrics.

The task is played once by a model that writes nothing. Its log has the names of samples and scores,
and the prompts. The scores of such a model show whether the task rewards doing nothing.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.inspect_task import InspectTask
from tunegate.harness.contracts.result_reader import ResultRow
from tunegate.harness.engine.sharding import InMemoryAnswers
from tunegate.harness.episodes.null_policy import NullPolicy
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.wording import count_noun
from tunegate.harness.serving.batch_server import BatchServer
from tunegate.harness.serving.endpoint import EndpointSettings
from tunegate.harness.serving.inspect_tasks.store_relay import StoreRelay
from tunegate.harness.serving.inspect_tasks.task_log import TaskLog
from tunegate.harness.serving.inspect_tasks.task_process import (
    OUTPUT,
    TaskProcess,
    last_line,
    newest_log,
)

PREFIX = "inspect:"
"""Prefix of a task of Inspect."""
_ARM = "null"
_TOML = """\
name = {name}
cases = "cases.jsonl"         # the task's samples; write the suite again if its data change

[episode]
inspect = {task}
reward = {reward:<20} # one of the scores {scores}
tools = "template"            # "system" for a model whose chat template shows no tools
# python = "…/bin/python"     # with inspect-ai; or set TUNEGATE_INSPECT_PYTHON

[generation]
temperature = 0.7
samples = 2                   # episodes of each task and model: Inspect's epochs
max_new_tokens = 1024         # of a turn

[[metrics]]
{metric}

[[metrics]]
use = "tool_errors"

[[gates]]
metric = {gated}
gain = 0.10                   # tuned must beat base by more than this
"""


@dataclass(frozen=True, slots=True)
class SilentPlay:
    """A task played by a model that writes nothing."""

    rows: tuple[ResultRow, ...]
    """The first epoch of each sample, by name."""

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the task's scores, in its order."""
        return tuple(dict.fromkeys(key for row in self.rows for key in row.scores))

    def rewards(self, score: str) -> list[float]:
        """Return the values of a score, without missing ones."""
        values = (row.scores.get(score) for row in self.rows if row.error is None)
        return [value for value in values if value is not None]


def play_silently(task: InspectTask) -> SilentPlay:
    """Play every sample of a task once with a model that writes nothing."""
    task.version()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        relay = StoreRelay(InMemoryAnswers({}))
        server = BatchServer({_ARM: NullPolicy()}, 0, relay)
        endpoint = EndpointSettings(secrets.token_urlsafe(24))
        status = TaskProcess(task, _ARM, folder, ("--epochs", "1"), endpoint).run(server, relay)
        file = newest_log(folder)
        if status or file is None:
            why = last_line(folder / OUTPUT)
            raise UsageError(f"inspect={task.spec!r}: Inspect ended with exit code {status}: {why}")
        log = TaskLog.open(file)
        if log.notes:
            raise UsageError(f"inspect={task.spec!r}: {' '.join(log.notes)}")
        return SilentPlay(tuple(sorted(log.rows(), key=lambda row: row.key)))


def start_inspect_suite(spec: str, folder: Path, *, name: str) -> list[str]:
    """Write suite.toml and cases.jsonl of a task; return lines on what was written."""
    task_spec = spec.removeprefix(PREFIX)
    task = InspectTask(task_spec, str(Path.cwd()))
    problems = list(task.problems())
    if problems:
        raise UsageError("\n".join(problems))
    played = play_silently(task)
    if not played.scores:
        reason = next((row.error for row in played.rows if row.error), "its samples have none")
        raise UsageError(f"inspect={task_spec!r}: the task has no score ({reason})")
    reward = played.scores[0]
    folder.mkdir(parents=True)
    text = "".join(f"{json.dumps(_case(row), ensure_ascii=False)}\n" for row in played.rows)
    (folder / "cases.jsonl").write_text(text, encoding="utf-8")
    (folder / "suite.toml").write_text(
        _suite_text(task_spec, folder, played, name), encoding="utf-8"
    )
    paid = played.rewards(reward)
    earned = sum(value > 0 for value in paid)
    mean = f" (mean {sum(paid) / len(paid):.3g})" if paid else ""
    failed = [row for row in played.rows if row.error is not None]
    lines = [
        f"wrote {folder}/suite.toml and {folder}/cases.jsonl: {len(played.rows)} cases, scores "
        f"{', '.join(played.scores)}",
        f"a model that writes nothing gets {reward} above 0 on {earned} of {len(paid)} cases{mean}",
    ]
    if failed:
        count = count_noun(len(failed), "case")
        lines.append(f"{count} failed, for example {failed[0].key}: {failed[0].error}")
    return [*lines, f"next: edit its gates, then `tunegate suite check {folder}`"]


def _suite_text(task: str, folder: Path, played: SilentPlay, name: str) -> str:
    file, at, function = task.partition("@")
    place = f"{os.path.relpath(file, folder)}@{function}" if at else task
    binary = set(played.rewards(played.scores[0])) <= {0.0, 1.0}
    metric = "episode_pass" if binary else "episode_reward"
    lines = [f'use = "{metric}"']
    if not binary:
        lines.append("# range = [0, 1]              # the log does not say what is possible")
    return _TOML.format(
        name=json.dumps(name),
        task=json.dumps(place),
        reward=json.dumps(played.scores[0]),
        scores=", ".join(played.scores),
        metric="\n".join(lines),
        gated=json.dumps(metric),
    )


def _case(row: ResultRow) -> dict[str, Any]:
    """Return a line of cases.jsonl."""
    prompt: str | Sequence[Any] = row.prompt or row.key
    key = "prompt" if isinstance(prompt, str) else "messages"
    expected = {} if row.expected is None else {"expected": row.expected}
    sample = {"sample": str(row.fields["id"])}
    return {"id": row.key, key: prompt, **expected, "row": sample}
