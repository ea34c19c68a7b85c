"""`replay:RUN_DIR` and `replay:FILE.jsonl`: recorded judgements.

A run folder gives its `judgements.jsonl` (`replay:RUN_DIR#SPEC` one judge model of a jury). Any
other file has lines of the form

    {"id": "r1", "arm": "tuned", "metric": "civil", "value": 0.75, "reason": "…"}

with `error` instead of `value` if the judge failed; `arm`, `metric`, `suite` and `sample` are
optional if they are the same for all. For a judge of pairs the value is tuned's advantage, from -1
to 1.

A line may name its answer, as `completion` (its text) or `completion_sha256`, and then belongs to
that text only; a line without either belongs to the answer of its arm. A run folder has the texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from tunegate.harness.judges.asking.judge_model import (
    JudgementOutcome,
    JudgementTarget,
    JudgementTask,
)
from tunegate.harness.records import judgements
from tunegate.harness.records.answers import CellKind, StoredAnswer
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.files import numbered_lines, read_record, split_fragment
from tunegate.harness.records.hashing import canonical_json, sha256
from tunegate.harness.records.jsonl import JsonlRecords, read_records
from tunegate.harness.records.judgements import Judgement, JudgementStatus
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.problems import summarize_problems, validation_problem
from tunegate.harness.records.record import Record, Text
from tunegate.harness.records.run_folder import refuse_links
from tunegate.harness.records.scores import LARGEST, Score

SPEC = "replay:RUN_DIR[#SPEC] or replay:FILE.jsonl"
CALL = "nothing"
"""Unit of a call, for forecasts: a question, a whole answer, or nothing."""


class RecordedJudgement(Record):
    """One recorded judgement."""

    id: str
    suite: str | None = None
    metric: str | None = None
    arm: str | None = None
    sample: int = Field(default=0, ge=0)
    value: float | None = Field(default=None, ge=-LARGEST, le=LARGEST)
    reason: Text | None = None
    parts: dict[str, float] | None = None
    error: Text | None = None
    """Why the judge failed."""
    completion: Text | None = None
    """The answer that was judged; for a judge of pairs, tuned's."""
    completion_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """SHA-256 of its UTF-8 bytes."""
    base_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """SHA-256 of base's answer, for a judge of pairs."""

    @model_validator(mode="after")
    def _says_something(self) -> RecordedJudgement:
        if self.value is None and self.reason is None and self.error is None:
            raise ValueError("needs value, or reason (it abstained), or error (it failed)")
        digest = self.completion_sha256
        if self.completion is not None and digest not in (None, sha256(self.completion)):
            raise ValueError("completion_sha256 is not that of completion: leave one of them out")
        return self

    def without_text(self) -> RecordedJudgement:
        """Return the line with its completion's text replaced by the hash."""
        if self.completion is None:
            return self
        digest = sha256(self.completion)
        return self.model_copy(update={"completion": None, "completion_sha256": digest})

    def is_of(self, texts: Sequence[str | None]) -> bool:
        """Return whether it may be about these answers."""
        hashes = (self.base_sha256, self.completion_sha256)[-len(texts) :]
        return all(
            digest is None or digest == sha256(text or "")
            for digest, text in zip(hashes, texts, strict=True)
        )

    def outcome(self) -> JudgementOutcome:
        """Return the line as a task's outcome."""
        if self.error is not None:
            return JudgementOutcome(None, self.error)
        if self.value is None:
            return JudgementOutcome(Score.unscored(self.reason or ""))
        return JudgementOutcome(Score.of(self.value, self.reason, parts=self.parts))


Key = tuple[str | None, str | None, str, str | None, int, str | None]


@dataclass(frozen=True)
class ReplayedJudgeModel:
    """A judge model that replays recorded judgements."""

    spec: str
    lines: Sequence[RecordedJudgement] = field(repr=False)
    """In any order."""
    recorded: Literal[True] = True

    @property
    def identity(self) -> Mapping[str, Any]:
        """The spec and how many judgements there are."""
        return {
            "spec": self.spec,
            "backend": "replay",
            "lines": len(self.lines),
            "fingerprint": self.fingerprint,
        }

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the lines, in any order."""
        rows = [line.model_dump(mode="json", exclude_none=True) for line in self.lines]
        return sha256(sorted(map(canonical_json, rows)))

    @cached_property
    def _by_case(self) -> Mapping[tuple[str | None, str | None, str], list[RecordedJudgement]]:
        """(suite, metric, case) → sorted lines."""
        by_case: dict[tuple[str | None, str | None, str], list[RecordedJudgement]] = {}
        for line in self.lines:
            by_case.setdefault((line.suite, line.metric, line.id), []).append(line)
        for lines in by_case.values():
            lines.sort(key=lambda x: (x.arm or "", x.sample, x.completion_sha256 or ""))
        return by_case

    @cached_property
    def _ids(self) -> frozenset[str]:
        """The cases that have a judgement."""
        return frozenset(line.id for line in self.lines)

    def judge(
        self, tasks: Sequence[JudgementTask]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        """Yield the recorded outcomes; a missing one is a judge error, not a zero."""
        for task in tasks:
            yield task, self._outcome(task)

    def _outcome(self, task: JudgementTask) -> JudgementOutcome:
        place = task.target or JudgementTarget("", task.metric, task.case.id, "")
        texts = [completion.text for completion in task.completions]
        other = False
        for suite in dict.fromkeys((place.suite, None)):
            for metric in dict.fromkeys((place.metric, None)):
                lines = self._by_case.get((suite, metric, place.case), ())
                line = _line_about(lines, place, texts)
                if line is not None:
                    return line.outcome()
                other |= any(not line.is_of(texts) for line in lines)
        whose = f"{task.case.id!r} ({place.arm or 'any arm'})"
        if other:
            missing = f"{self.spec} judged a different answer to {whose}"
        elif not place.arm and place.case in self._ids:
            missing = (
                f"{self.spec} judged answers to {task.case.id!r} by arm; name the label's "
                "arm, or give the judgement its completion"
            )
        else:
            missing = f"{self.spec} has no judgement of {whose}"
        return JudgementOutcome(None, missing)


def _line_about(
    lines: Sequence[RecordedJudgement], place: JudgementTarget, texts: Sequence[str | None]
) -> RecordedJudgement | None:
    """Return the line about a completion: by its text where lines hold it, else by its arm."""
    matching = [x for x in lines if x.completion_sha256 is not None and x.is_of(texts)]
    for arm in (place.arm, None):
        for line in matching:
            if line.arm == arm and line.sample == place.sample:
                return line
    if matching:  # the same text of another arm or sample
        return matching[0]
    for arm in (place.arm, None):
        for line in lines:
            named = line.completion_sha256 is not None
            if not named and (line.arm, line.sample) == (arm, place.sample) and line.is_of(texts):
                return line
    return None


def replay(target: str) -> ReplayedJudgeModel:
    """Open recorded judgements.

    Raises:
        ModelError: nothing is there, or lines are broken (every one is listed).
    """
    path, judge = split_fragment(target)
    if path.is_dir():
        return _from_run(target, path, judge)
    if not path.is_file():
        raise ModelError(f"judge replay:{target}: no such file or run folder")
    lines: dict[Key, RecordedJudgement] = {}
    problems = []
    for number, raw in numbered_lines(path):
        if not raw.strip():
            continue
        try:
            line = RecordedJudgement.model_validate_json(raw).without_text()
        except ValidationError as error:
            why = validation_problem(RecordedJudgement, error, other_names={"score": "value"})
            problems.append(f"{path}:{number}: {why}")
            continue
        text = line.completion_sha256
        key = (line.suite, line.metric, line.id, line.arm, line.sample, text)
        if key in lines:
            problems.append(
                f"{path}:{number}: id {line.id!r} is already judged; give an arm, or the completion"
            )
        lines.setdefault(key, line)
    if problems or not lines:
        raise ModelError(
            "\n".join(summarize_problems(problems))
            or f"{path}: the file is empty; write one judgement per line"
        )
    return ReplayedJudgeModel(f"replay:{target}", tuple(lines.values()))


def _from_run(target: str, folder: Path, judge: str) -> ReplayedJudgeModel:
    refuse_links(folder)
    rows = read_records(folder / judgements.JUDGEMENTS_FILE, Judgement)
    specs = sorted({row.judge for row in rows})
    if not rows:
        raise ModelError(f"judge replay:{target}: the run has no {judgements.JUDGEMENTS_FILE}")
    if judge not in ("", *specs) or (not judge and len(specs) > 1):
        raise ModelError(f"judge replay:{target}: name the judge after #: {', '.join(specs)}")
    kept = [row for row in rows if row.judge == (judge or specs[0])]
    texts = _texts_of(folder)
    paired = _paired_metrics(folder)
    lines = [_line(row, texts, pairs=(row.suite, row.metric) in paired) for row in kept]
    return ReplayedJudgeModel(f"replay:{target}", tuple(lines))


Texts = Mapping[tuple[str, str, str, int], str]
"""(suite, case, arm, sample) → SHA-256 of the answer's text."""


def _texts_of(folder: Path) -> Texts:
    """Return the hashes of a run's answers, if the folder has any."""
    return {
        (cell.suite, cell.case, cell.arm, cell.sample): sha256(done.text)
        for row in JsonlRecords(folder / "cells.jsonl", StoredAnswer)
        for cell, done in [(row.cell, row.completion)]
        if cell.kind is CellKind.GENERATE and done is not None and done.text is not None
    }


def _paired_metrics(folder: Path) -> set[tuple[str, str]]:
    """Return suite and metric of the judges of pairs, if there is a manifest."""
    path = folder / "manifest.json"
    if not path.is_file():
        return set()
    suites = read_record(path, Manifest).suites
    return {(s.name, m.name) for s in suites for m in s.metrics if m.judge and m.judge.pairs}


def _line(row: Judgement, texts: Texts, *, pairs: bool) -> RecordedJudgement:
    failed = row.status is JudgementStatus.JUDGE_ERROR
    return RecordedJudgement(
        id=row.case,
        suite=row.suite,
        metric=row.metric,
        arm=row.arm,
        sample=row.sample,
        value=row.value,
        reason=None if failed else row.reason,
        parts=row.parts,
        error=(row.reason or "it failed") if failed else None,
        completion_sha256=texts.get((row.suite, row.case, row.arm, row.sample)),
        base_sha256=texts.get((row.suite, row.case, "base", row.sample)) if pairs else None,
    )
