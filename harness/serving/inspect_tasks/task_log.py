"""Task log: Inspect's samples of a task as episodes.

A sample is a case, its epoch the sample of the case. One score of the task is the reward; the
others are in the record's `stats`. A failed sample has no completion: an error of a sandbox says
nothing about the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import ResultLog, ResultReader, ResultRow
from tunegate.harness.contracts.result_spec import ResultSpec, iterate_rows, read_logs
from tunegate.harness.records.answers import Completion, reported_amount
from tunegate.harness.records.episodes import EpisodeEnd, EpisodeRecord
from tunegate.harness.records.errors import UsageError

_LIMITS = {"max_tokens", "model_length", "length"}
"""Stop reasons of truncated answers."""


@dataclass(frozen=True, slots=True)
class PlayedSample:
    """One sample of a task, with either a completion or an error."""

    name: str
    """Id of its case: task and id of the sample, as `results:` names it."""
    epoch: int
    """From 1."""
    asked: str
    """The question of the data set, as text."""
    prompt_sha256: str | None
    completion: Completion | None = None
    error: str | None = None


@dataclass(frozen=True)
class TaskLog:
    """An open log."""

    path: Path
    reward: str
    """Name of the score that is the reward; empty for the first one."""
    _reader: ResultReader
    _log: ResultLog

    @classmethod
    def open(cls, path: Path, reward: str = "") -> TaskLog:
        """Open a log."""
        reader, logs = read_logs(ResultSpec(path, format="inspect"))
        return cls(path, reward, reader, logs[0])

    @property
    def notes(self) -> tuple[str, ...]:
        """Why the run ended early, in lines; empty for a whole one."""
        return self._log.notes

    def samples(self) -> Iterator[PlayedSample]:
        """Yield the readable samples."""
        yield from map(self._sample, self.rows())

    def rows(self) -> Iterator[ResultRow]:
        """Yield the readable samples as results of another tool."""
        for row in iterate_rows(ResultSpec(self.path, format="inspect"), self._log):
            if isinstance(row, ResultRow):
                yield row

    def _sample(self, row: ResultRow) -> PlayedSample:
        shared = (row.key, row.sample or 1, _text_in(row.fields.get("input")))
        if row.error is not None:
            return PlayedSample(*shared, None, error=f"Inspect: {row.error}")
        name = self.reward or next(iter(row.scores), "")
        if name not in row.scores:
            there = ", ".join(row.scores) or "none"
            raise UsageError(
                f"{self.path}: no score {name!r} in the log, which has {there}; name one with "
                "`reward = …` under [episode]"
            )
        reward = row.scores[name]
        if reward is None:
            reason = row.errors.get(name) or "no score"
            return PlayedSample(*shared, row.prompt_hash, error=f"Inspect: {name}: {reason}")
        return PlayedSample(*shared, row.prompt_hash, self._completion(row, reward))

    def _completion(self, row: ResultRow, reward: float) -> Completion:
        assert self._reader.turns is not None
        limited = bool(row.fields.get("limit")) or row.finish_reason in _LIMITS
        return Completion(
            text=row.completion or "",
            finish_reason="length" if limited else "stop",
            input_tokens=reported_amount(row.input_tokens),
            output_tokens=reported_amount(row.output_tokens),
            latency_s=reported_amount(row.latency_s),
            prompt_sha256=row.prompt_hash,
            episode=EpisodeRecord(
                turns=self._reader.turns(row.fields),
                reward=reward,
                end=EpisodeEnd.LIMIT if limited else EpisodeEnd.ANSWERED,
                stats={key: value for key, value in row.scores.items() if value is not None},
            ),
        )


def _text_in(given: Any) -> str:
    """Return the question of a sample: a text, or the last message."""
    if isinstance(given, list) and given and isinstance(given[-1], Mapping):
        return _text_in(given[-1].get("content"))
    return given if isinstance(given, str) else ""
