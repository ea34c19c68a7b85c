"""Attempt ledger: as which candidate a suite judges a fine-tune, by the lines of its ledger file.

An attempt is a candidate, judged on certain cases with a certain seed. What attempts cost is in
`tunegate.harness.decision.gating.attempts`.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tunegate.harness.decision.verdict import promotions
from tunegate.harness.engine.answer_cache import AnswerCache, JudgedAttempt, SuiteVersion
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import relative_path
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.jsonl import record_lines
from tunegate.harness.records.manifest import LedgerState
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run.case_sketch import CaseSketch
from tunegate.harness.run.ledger_file import (
    LedgerLine,
    append_lines,
    ledger_file,
    read_ledger,
    why_unwritable,
)
from tunegate.harness.suite import Suite

COPY = "attempts.jsonl"
"""Name of the copy of every line beside the store. CI keeps it; nobody commits its ledger."""
_PAST_RUNS = 200
"""Newest run folders that are compared with the ledger."""


@dataclass(frozen=True, slots=True)
class AttemptLedger:
    """The ledgers of the suites of one run, as they were when it began."""

    sketches: Mapping[str, CaseSketch]
    """Suite → its cases."""
    files: Mapping[str, Path]
    """Suite → its ledger, which may not be there yet."""
    lines: Mapping[Path, Sequence[LedgerLine]]
    candidate: str
    seed: int
    whole: bool
    kept: Path | None = None
    """The copy beside the store."""

    @classmethod
    def of(
        cls,
        suites: Iterable[Suite],
        candidate: str,
        seed: int,
        *,
        whole: bool,
        kept: Path | None = None,
        answers: Sequence[StoredAnswer] = (),
    ) -> AttemptLedger:
        """Read the ledgers of suites."""
        suites = tuple(suites)
        files = {suite.name: ledger_file(suite) for suite in suites}
        lines = {path: read_ledger(path) for path in dict.fromkeys(files.values())}
        if kept is not None:
            lines[kept] = _read_copy(kept)
        sketches = {
            suite.name: CaseSketch.of(suite).with_answers(answers, recorded=True)
            for suite in suites
        }
        return cls(sketches, files, lines, candidate, seed, whole, kept)

    def attempt(self, name: str) -> JudgedAttempt:
        """Return which candidate of a suite this one is, and how often it was judged before."""
        related, candidate = self._related(name), self.candidate_on(name)
        order = dict.fromkeys(line.candidate for line in related)
        number = [*order, candidate].index(candidate) + 1
        numbers = (line.attempt for line in related if line.candidate == candidate)
        return JudgedAttempt(max(number, *numbers, 1), self._earlier_versions(name))

    def candidate_on(self, name: str) -> str:
        """Return the fingerprint under which a suite knows the fine-tune.

        A recorded one has that of the first file with the same answers. If a few answers differ, it
        is the same fine-tune on other cases or with another seed, which costs a share of the error
        there; on the same cases it is a candidate of its own, or edited answers would be free.
        """
        sketch, related = self.sketches[name], self._related(name)
        if any(line.candidate == self.candidate for line in related):
            return self.candidate
        for line in related:
            if sketch.has_all_answers_of(line):
                return line.candidate
        alike = [line for line in related if sketch.has_answers_of(line)]
        if not alike or any(self._is_same_attempt(sketch, line) for line in alike):
            return self.candidate
        return alike[0].candidate

    def _related(self, name: str) -> list[LedgerLine]:
        """Return the lines about a suite, oldest first."""
        kept = () if self.kept is None else self.lines.get(self.kept, ())
        lines = dict.fromkeys((*self.lines[self.files[name]], *kept))
        about = filter(self.sketches[name].is_of, lines)
        return sorted(about, key=lambda line: (line.judged, line.candidate))

    def _earlier_versions(self, name: str) -> int:
        """Return how many other cases or seeds judged the candidate before these first did.

        Judging all cases after a look at some of them is not an extension: the look decided
        nothing. Another seed is one: picking the best of ten seeds is choosing the answers.
        """
        sketch, candidate = self.sketches[name], self.candidate_on(name)
        of_candidate = [
            line
            for line in self._related(name)
            if line.whole or line.seed != self.seed
            if line.candidate == candidate or sketch.has_answers_of(line)
        ]
        same = [line for line in of_candidate if self._is_same_attempt(sketch, line)]
        since = min((line.judged for line in same), default="9999")
        earlier = {
            (line.n_cases, line.seed, "" if sketch.has_cases_of(line) else line.cases)
            for line in of_candidate
            if line not in same and line.judged < since
        }
        return max([len(earlier), *(line.extended for line in same)])

    def _is_same_attempt(self, sketch: CaseSketch, line: LedgerLine) -> bool:
        return line.seed == self.seed and sketch.has_cases_of(line)

    def state(self, name: str, runs: Path | None = None) -> LedgerState:
        """Return the notes of a verdict on a suite's ledger."""
        path, sketch = self.files[name], self.sketches[name]
        related = [line for line in self.lines[path] if sketch.is_of(line)]
        candidate = self.candidate_on(name)
        same = [
            line
            for line in related
            if line.candidate == candidate and self._is_same_attempt(sketch, line)
        ]
        versions = {line.suite_sha256 for line in same}
        known_runs = {
            (entry.run_id, entry.suite, entry.suite_sha256, entry.seed)
            for entry in self.lines[path]
        }
        shipped = promotions.read_promotions(Path(promotions.FILE_NAME))
        promoted = (entry.run_id for entry in shipped if name in entry.suites)
        named = {line.run_id for line in related}
        return LedgerState(
            file=str(relative_path(path)),
            first=len(same) == len(related),
            unwritable=why_unwritable(path),
            unknown_runs=tuple(
                run for run, line in _judged_runs(runs, name) if line not in known_runs
            ),
            unknown_promotions=tuple(run for run in promoted if run not in named),
            edited=len(versions - {sketch.suite_sha256}),
        )

    def record(
        self,
        verdict: VerdictRecord,
        scores: Iterable[ScoreRow],
        extended: Mapping[str, int] = MappingProxyType({}),
        answers: Iterable[StoredAnswer] = (),
    ) -> list[str]:
        """Write a line for each suite of a verdict; return the notes for the user.

        A line that is there already is not written again: the same run, judged in the same way.

        Args:
            verdict: The verdict.
            scores: The scores of its run.
            extended: Hash of a suite → how many other cases or seeds had judged the candidate.
            answers: The answers of the run, by which a recorded copy of them is recognised.
        """
        sketched = {i for sketch in self.sketches.values() for ids in sketch.places for i in ids}
        tuned = [a for a in answers if a.cell.arm == "tuned" and a.cell.case in sketched]
        digest = sha256("".join(record_lines(scores)))
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
        new: dict[Path, list[LedgerLine]] = {}
        for result in verdict.suites:
            path, sketch = self.files[result.name], self.sketches[result.name]
            if not sketch.answers:
                sketch = sketch.with_answers(tuned, recorded=False)
            line = LedgerLine(
                suite=result.name,
                suite_sha256=result.hash,
                n_cases=sketch.n_cases,
                cases=sketch.hashes,
                candidate=self.candidate_on(result.name),
                answers=sketch.answers,
                answers_sha256=sketch.answers_sha256,
                seed=self.seed,
                whole=self.whole,
                run_id=verdict.run_id,
                scores_sha256=digest,
                verdict=result.verdict,
                judged=now,
                attempt=max(1, verdict.attempts.get(result.hash, 1)),
                extended=extended.get(result.hash, 0),
            )
            if _identity(line) not in map(_identity, self.lines[path]):
                new.setdefault(path, []).append(line)
        if self.kept is not None:
            kept_lines = {*map(_identity, _read_copy(self.kept))}
            lines = [
                line for of in new.values() for line in of if _identity(line) not in kept_lines
            ]
            if lines:
                list(append_lines(self.kept, lines))  # its notes are about files to commit
        notes = [note for path in new for note in self._judged_meanwhile(path)]
        return notes + [note for path, lines in new.items() for note in append_lines(path, lines)]

    def _judged_meanwhile(self, path: Path) -> Iterator[str]:
        """Yield the verdicts that other runs recorded on the same suites since this one began."""
        with suppress(UsageError):
            new = set(read_ledger(path)) - set(self.lines[path])
            for name, sketch in self.sketches.items():
                if self.files[name] == path and (
                    others := [line.run_id for line in new if sketch.is_of(line)]
                ):
                    yield (
                        f"{relative_path(path)}: other runs have judged {name} since this one "
                        f"began ({', '.join(sorted(others)[:3])}); its attempts do not count them"
                    )


@dataclass(frozen=True, slots=True)
class CountedAttempts:
    """The attempt of a fine-tune on each suite of a run; empty where the run counts none."""

    ledger: AttemptLedger | None = None
    by_suite: Mapping[str, JudgedAttempt] = field(default_factory=dict)
    """Suite hash → the attempt."""

    @classmethod
    def count(
        cls,
        store: AnswerCache,
        suites: Sequence[Suite],
        candidate: str,
        seed: int,
        *,
        whole: bool,
        answers: Sequence[StoredAnswer] = (),
    ) -> CountedAttempts:
        """Count by the ledger and by the store, whichever knows of more.

        The store knows the runs whose verdict is still to come, the ledger those of other machines.
        """
        kept = store.path.with_name(COPY)
        ledger = AttemptLedger.of(suites, candidate, seed, whole=whole, kept=kept, answers=answers)
        stored: dict[str, JudgedAttempt] = {}
        for suite in suites:
            version = SuiteVersion(suite.hash, suite.rule_hash, len(suite.cases))
            judged_as = ledger.candidate_on(suite.name)
            stored |= store.record_attempt([version], judged_as, whole=whole)
        recorded = {suite.hash: ledger.attempt(suite.name) for suite in suites}
        return cls(
            ledger,
            {
                name: JudgedAttempt(
                    max(attempt.number, recorded[name].number),
                    max(attempt.extended, recorded[name].extended),
                )
                for name, attempt in stored.items()
            },
        )

    @property
    def numbers(self) -> dict[str, int]:
        """Suite hash → number of candidates that it has judged so far."""
        return {suite: attempt.number for suite, attempt in self.by_suite.items()}

    @property
    def extended(self) -> dict[str, int]:
        """Suite hash → other cases or seeds that judged this candidate before."""
        return {suite: attempt.extended for suite, attempt in self.by_suite.items()}

    def ledger_states(self, runs: Path | None = None) -> dict[str, LedgerState]:
        """Return suite → what its verdict notes about the ledger."""
        if self.ledger is None:
            return {}
        return {name: self.ledger.state(name, runs) for name in self.ledger.sketches}

    def record(
        self,
        verdict: VerdictRecord,
        scores: Iterable[ScoreRow],
        answers: Iterable[StoredAnswer] = (),
    ) -> list[str]:
        """Write the verdict to the ledger; return the notes for the user."""
        if self.ledger is None:
            return []
        return self.ledger.record(verdict, scores, self.extended, answers)


def _read_copy(path: Path) -> tuple[LedgerLine, ...]:
    with suppress(UsageError):  # it is only a copy
        return read_ledger(path)
    return ()


def _judged_runs(runs: Path | None, suite: str) -> Iterator[tuple[str, tuple[str, str, str, int]]]:
    """Yield the stored runs that counted as an attempt on a suite of that name.

    Each with what its line in the ledger must say: run, suite, the suite's hash and the seed.
    """
    if runs is None or not runs.is_dir():
        return
    for path in sorted(runs.glob("*/verdict.json"))[-_PAST_RUNS:]:
        with suppress(OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
            verdict = json.loads(path.read_bytes())
            for suite_result in verdict["suites"] if verdict["attempts"] else ():
                if suite_result["name"] == suite:
                    run = str(verdict["run_id"])
                    yield run, (run, suite, suite_result["hash"], verdict["seed"])


def _identity(line: LedgerLine) -> tuple[object, ...]:
    """Return all but the line's time and counts. In CI, every run folder has the same name."""
    same = (line.run_id, line.suite, line.suite_sha256, line.candidate, line.seed, line.whole)
    return (*same, line.scores_sha256, line.verdict)
