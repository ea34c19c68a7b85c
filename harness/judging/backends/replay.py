"""`replay:RUN_DIR` and `replay:FILE.jsonl`: judgements that were made before, here or elsewhere.

A run folder gives the lines of its `judgements.jsonl` (`replay:RUN_DIR#SPEC` those of one judge of
a jury). Any other file has lines of the form

    {"id": "r1", "arm": "tuned", "metric": "civil", "value": 0.75, "reason": "…"}

with `error` in the place of `value` where the judge failed; `arm`, `metric`, `suite` and `sample`
may be left out where they are the same for all. For a judge of pairs the value is tuned's
advantage, from -1 to 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from tunegate.harness.errors import ModelError
from tunegate.harness.judging.contract import JudgementOutcome, JudgementTarget, JudgementTask
from tunegate.harness.records import cases
from tunegate.harness.records.cases import (
    LARGEST,
    Judgement,
    JudgementStatus,
    Record,
    Score,
    Text,
    sha256,
)
from tunegate.harness.records.files import read_records

SPEC = "replay:RUN_DIR[#SPEC] or replay:FILE.jsonl"


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
    """Why there is no value, if the judge failed."""

    @model_validator(mode="after")
    def _says_something(self) -> RecordedJudgement:
        if self.value is None and self.reason is None and self.error is None:
            raise ValueError("needs value, or reason (it abstained), or error (it failed)")
        return self

    def outcome(self) -> JudgementOutcome:
        """Return the line as what came of a task."""
        if self.error is not None:
            return JudgementOutcome(None, self.error)
        if self.value is None:
            return JudgementOutcome(Score.unscored(self.reason or ""))
        return JudgementOutcome(Score.of(self.value, self.reason, parts=self.parts))


Key = tuple[str | None, str | None, str, str | None, int]


@dataclass(frozen=True)
class ReplayJuror:
    """A juror that reads its judgements."""

    spec: str
    lines: Mapping[Key, RecordedJudgement] = field(repr=False)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The spec and how many judgements there are."""
        return {
            "spec": self.spec,
            "backend": "replay",
            "lines": len(self.lines),
            "fingerprint": self.fingerprint,
        }

    @property
    def fingerprint(self) -> str:
        """Hash of the lines."""
        return sha256([line.model_dump(mode="json") for line in self.lines.values()])

    def judge(
        self, tasks: Sequence[JudgementTask]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        """Yield the recorded outcomes; what was not recorded is a judge error, no zero."""
        for task in tasks:
            place = task.place or JudgementTarget("", task.metric, task.case.id, "")
            line = self._find(place)
            missing = f"{self.spec} has no judgement of {task.case.id!r} ({place.arm or 'any arm'})"
            yield task, JudgementOutcome(None, missing) if line is None else line.outcome()

    def _find(self, place: JudgementTarget) -> RecordedJudgement | None:
        for suite in (place.suite, None):
            for metric in (place.metric, None):
                for arm in (place.arm, None):
                    found = self.lines.get((suite, metric, place.case, arm, place.sample))
                    if found is not None:
                        return found
        return None


def replay(target: str) -> ReplayJuror:
    """Open recorded judgements.

    Raises:
        ModelError: nothing is there, or lines are broken: every one with its number.
    """
    place, _, judge = target.partition("#")
    path = Path(place)
    if path.is_dir():
        return _from_run(target, path, judge)
    if not path.is_file():
        raise ModelError(f"judge replay:{target}: no such file or run folder")
    lines: dict[Key, RecordedJudgement] = {}
    problems = []
    for number, raw in enumerate(path.read_bytes().splitlines(), start=1):
        if not raw.strip():
            continue
        try:
            line = RecordedJudgement.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "line"
            problems.append(f"{path}:{number}: {where}: {first['msg']}")
            continue
        key = (line.suite, line.metric, line.id, line.arm, line.sample)
        if key in lines:
            problems.append(f"{path}:{number}: id {line.id!r} is already judged; give an arm")
        lines.setdefault(key, line)
    if problems or not lines:
        raise ModelError(
            "\n".join(problems[:20]) or f"{path}: no lines; write one judgement a line"
        )
    return ReplayJuror(f"replay:{target}", lines)


def _from_run(target: str, folder: Path, judge: str) -> ReplayJuror:
    rows = read_records(folder / cases.FILE_NAME, Judgement)
    specs = sorted({row.judge for row in rows})
    if not rows:
        raise ModelError(f"judge replay:{target}: the run has no {cases.FILE_NAME}")
    if judge not in ("", *specs) or (not judge and len(specs) > 1):
        raise ModelError(f"judge replay:{target}: say whose, with #: {', '.join(specs)}")
    kept = [row for row in rows if row.judge == (judge or specs[0])]
    return ReplayJuror(f"replay:{target}", {_key(row): _line(row) for row in kept})


def _key(row: Judgement) -> Key:
    return (row.suite, row.metric, row.case, row.arm, row.sample)


def _line(row: Judgement) -> RecordedJudgement:
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
    )
