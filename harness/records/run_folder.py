"""A run folder: everything that a run left, self-contained and movable.

```
.tunegate/runs/<id>/
    manifest.json     suites, identities, plan: written before the first completion
    cases.jsonl       the cases as the models saw them
    images/           their images, named by hash, if they have any
    cells.jsonl       every completion, or why it failed
    judgements.jsonl  the judges' replies, if a metric asks a judge
    labels.jsonl      people's labels of answers, if there are any
    votes.jsonl       people's votes on pairs of answers, if there are any
    scores.jsonl      every metric's value on every case and arm, without the votes
    verdict.json      the decision
    traces.jsonl, logs.jsonl, metrics.jsonl   the same for OpenTelemetry; compressed in large runs
```
Reports, CI files and history are made from these files alone, without a model.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pydantic import Field

from tunegate.harness.records.answers import WRITTEN, StoredAnswer
from tunegate.harness.records.ballots import VOTES_FILE, Ballot, vote_scores
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError, refuse_unreadable
from tunegate.harness.records.files import read_record
from tunegate.harness.records.jsonl import IndexedRecords, JsonlRecords, read_records
from tunegate.harness.records.judgements import JUDGEMENTS_FILE, Judgement
from tunegate.harness.records.labels import LABELS_FILE, Label
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.record import Record, Text
from tunegate.harness.records.recorded_answer import RecordedRequest
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import VerdictRecord


class RunCase(Record):
    """A case of a run with the prompt as it was rendered; one line of `cases.jsonl`."""

    suite: str
    case: Case
    where: Text
    """File and line of the case."""
    rendered: Text | None = None
    """The prompt after the chat template, as both arms saw it; None if base was recorded."""
    prompt_sha256: str | None = None
    """Hash of the prompt's token ids, equal in all arms."""
    asked: dict[str, RecordedRequest] = Field(default_factory=dict, exclude_if=operator.not_)
    """Recorded arm → what its files say about the case."""


@dataclass(frozen=True)
class Run:
    """The records of one run folder; cases and cells are read from disk when asked for."""

    folder: Path
    manifest: Manifest
    cases: Mapping[tuple[str, str], RunCase] = field(repr=False)
    """(suite, case id) → case, in plan order."""
    cells: Sequence[StoredAnswer] = field(repr=False)
    scores: tuple[ScoreRow, ...] = field(repr=False)
    verdict: VerdictRecord
    judgements: tuple[Judgement, ...] = field(default=(), repr=False)
    labels: tuple[Label, ...] = field(default=(), repr=False)
    ballots: tuple[Ballot, ...] = field(default=(), repr=False)

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Read a finished run.

        Raises:
            UsageError: it has no finished run, or one that is damaged or of another version.
        """
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such run folder; `tunegate history` lists the runs")
        refuse_links(folder)
        for name in ("manifest.json", "verdict.json"):
            if not (folder / name).is_file():
                raise UsageError(
                    f"{folder}: no {name}: not a finished run; `tunegate resume {folder}` "
                    "finishes an interrupted one"
                )
        cases = JsonlRecords(folder / "cases.jsonl", RunCase)
        manifest = read_record(folder / "manifest.json", Manifest)
        ballots = read_records(folder / VOTES_FILE, Ballot)
        return cls(
            folder=folder,
            manifest=manifest,
            cases=IndexedRecords.of(cases, lambda row: (row.suite, row.case.id)),
            cells=JsonlRecords(folder / "cells.jsonl", StoredAnswer),
            scores=_with_votes(read_records(folder / "scores.jsonl", ScoreRow), ballots, manifest),
            verdict=read_record(folder / "verdict.json", VerdictRecord),
            judgements=read_records(folder / JUDGEMENTS_FILE, Judgement),
            labels=read_records(folder / LABELS_FILE, Label),
            ballots=ballots,
        )

    @cached_property
    def cases_of(self) -> Mapping[str, tuple[Case, ...]]:
        """Suite → its cases, in plan order."""
        found: dict[str, list[Case]] = {suite.name: [] for suite in self.manifest.suites}
        for (suite, _), row in self.cases.items():
            found.setdefault(suite, []).append(row.case)
        return {suite: tuple(cases) for suite, cases in found.items()}

    @cached_property
    def completions(self) -> Mapping[tuple[str, str, str], StoredAnswer]:
        """(suite, case, arm) → the first sample's written answer."""
        return IndexedRecords.of(self.cells, _first_sample_key)

    @cached_property
    def score_table(self) -> Mapping[tuple[str, str, str, str], ScoreRow]:
        """(suite, metric, case, arm) → score."""
        return {(s.suite, s.metric, s.case, s.arm): s for s in self.scores}


def refuse_links(folder: Path) -> None:
    """Refuse a run folder with links: what they lead to would be shown to others.

    Raises:
        UsageError: an entry is neither a plain file nor a folder.
    """
    with refuse_unreadable(folder):
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
            raise UsageError(
                f"{folder / entry.name}: a link or not a plain file; a run folder must contain "
                "its files: put the file there"
            )


def _with_votes(
    scores: tuple[ScoreRow, ...], ballots: Iterable[Ballot], manifest: Manifest
) -> tuple[ScoreRow, ...]:
    """Return the scores with those that people's votes give."""
    voted = {(s.name, m.name) for s in manifest.suites for m in s.metrics if m.votes}
    rows = tuple(row for row in vote_scores(ballots) if (row.suite, row.metric) in voted)
    replaced = {(row.suite, row.metric) for row in rows}
    return (*(row for row in scores if (row.suite, row.metric) not in replaced), *rows)


def _first_sample_key(stored: StoredAnswer) -> tuple[str, str, str] | None:
    """Return suite, case and arm of a first sample that is written text, else None."""
    cell = stored.cell
    first = cell.kind in WRITTEN and cell.sample == 0
    return (cell.suite, cell.case, cell.arm) if first else None
