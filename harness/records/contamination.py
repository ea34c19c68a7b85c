"""Contamination: which cases the fine-tune saw in training.

A case that training rows hold shows what the model remembers, not what it has learned. Such cases
are *touched*: they are asked and shown apart, and the gates rest on the others. What was not
compared is `not checked`, which is never clean.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from tunegate.harness.records.record import Number, Record, Text

MAX_TOUCHED_SHARE = 0.10
"""Share of a suite's cases that may be touched before the run is refused."""


class ContaminationMode(StrEnum):
    """What happens to touched cases."""

    GATE = "gate"
    """They are left out of the gates; the run is refused if there are too many."""
    REPORT = "report"
    """They are reported, and count in the gates like all others."""
    OFF = "off"
    """No case is compared with training rows."""


class ContaminationCoverage(StrEnum):
    """How far the training data was compared."""

    ALL = "checked"
    """Every file of the training was compared, unchanged since."""
    PART = "checked in part"
    """Some files have changed since the training, or are missing."""
    NOTHING = "not checked"
    """Nothing was compared."""


class OverlapKind(StrEnum):
    """Matches between a case and training rows, the strongest first."""

    EXACT = "exact"
    """A row's turns hold the whole prompt."""
    RUN = "13 words in a row"
    """A training text shares 13 or more consecutive words with the case."""
    SHARE = "half of its 8-grams"
    """At least half of the case's runs of 8 words occur in the rows: a near duplicate."""
    WHOLE = "whole short text"
    """A case with fewer than 13 words of its own occurs in a row, word for word."""
    SUSPECT = "a fifth of its 8-grams"
    """At least a fifth of the runs occur: listed for review, but not left out."""


class FileState(StrEnum):
    """State of a file of training rows."""

    SAME = "the file that was trained on"
    GIVEN = "given by the user"
    CHANGED = "changed since the training"
    MISSING = "not found"
    UNREADABLE = "not readable"


class TrainingDataFile(Record):
    """One file of training rows, as the run found it."""

    path: Text
    """Where it was read, or its path in the training card."""
    sha256: str | None
    """Hash of the file that was trained on if known, else of the one that was read."""
    rows: int | None
    """Rows that were compared; None if it was not compared."""
    state: FileState
    """Whether it was compared, or why not."""

    @property
    def compared(self) -> bool:
        """Whether its rows were compared with the cases."""
        return self.state in (FileState.SAME, FileState.GIVEN)


class ContaminationMatch(Record):
    """One case that overlaps with training rows."""

    case: Text
    """Its id."""
    found: OverlapKind
    """The strongest overlap."""
    share: float
    """Share of the case's own runs of 8 words that occur in the rows, to three digits."""
    longest: int
    """Words in the longest common run; 0 if it is shorter than 8."""
    where: Text
    """File and line of the row with the strongest overlap."""

    @property
    def touched(self) -> bool:
        """Whether the case is left out of the gates."""
        return self.found is not OverlapKind.SUSPECT


class SuiteContamination(Record):
    """One suite's cases against the training rows."""

    name: str
    """Its name in suite.toml."""
    n_cases: int
    """Cases that were compared."""
    n_templates: int
    """Cases without 8 consecutive words of their own, compared only as a whole."""
    matches: tuple[ContaminationMatch, ...]
    """Touched and suspect cases, in the order of the suite."""

    @property
    def touched(self) -> tuple[str, ...]:
        """Ids of the touched cases."""
        return tuple(match.case for match in self.matches if match.touched)

    @property
    def suspect(self) -> tuple[str, ...]:
        """Ids of the cases to review."""
        return tuple(match.case for match in self.matches if not match.touched)

    @property
    def too_many(self) -> bool:
        """Whether more cases are touched than a verdict tolerates."""
        return len(self.touched) > MAX_TOUCHED_SHARE * self.n_cases * (1 + 1e-9)


class ContaminationCheck(Record):
    """What a run found, before its first answer, about cases that tuned was trained on."""

    mode: ContaminationMode
    checked: ContaminationCoverage
    why: str = ""
    """Why nothing, or only a part, was compared."""
    files: tuple[TrainingDataFile, ...] = ()
    rows: int = 0
    """Training rows that were compared."""
    suites: tuple[SuiteContamination, ...] = Field(default=(), repr=False)
    """One for each suite; empty if nothing was compared."""

    @property
    def left_out(self) -> Mapping[str, frozenset[str]]:
        """Suite → cases that are left out of its gates."""
        if self.mode is not ContaminationMode.GATE:
            return {}
        return {suite.name: frozenset(suite.touched) for suite in self.suites if suite.touched}

    @property
    def touched(self) -> Mapping[tuple[str, str], ContaminationMatch]:
        """(suite, case) → its overlap with training rows; touched cases only."""
        return {(s.name, m.case): m for s in self.suites for m in s.matches if m.touched}

    @property
    def sentence(self) -> str:
        """The finding, in words."""
        if self.checked is ContaminationCoverage.NOTHING:
            return f"leakage not checked: {self.why}"
        cases = sum(suite.n_cases for suite in self.suites)
        touched = sum(len(suite.touched) for suite in self.suites)
        found = f"leakage: {touched or 'none'} of {cases} cases are in {self.rows} training rows"
        if touched:
            found += " and " + (
                "are left out of the gates"
                if self.mode is ContaminationMode.GATE
                else f"count in the gates all the same (--gate-leakage={self.mode})"
            )
        return f"{found}; {self.why}" if self.why else found


class MetricStratum(Record):
    """One metric on either the clean or the touched cases of a suite."""

    n: int
    """Complete pairs."""
    base: Number
    """Base's level; None if there are no pairs."""
    tuned: Number
    """Tuned's level, likewise."""
    delta: Number
    """tuned − base."""
    low: Number
    """Lower end of the 90 % interval; None if there are too few pairs."""
    high: Number
    """Upper end, likewise."""


class MetricStrata(Record):
    """One metric on clean and on touched cases."""

    metric: str
    """Its name within the suite."""
    clean: MetricStratum
    touched: MetricStratum


class SuiteStrata(Record):
    """One suite's metrics, with touched cases kept apart."""

    name: str
    """Its name in suite.toml."""
    n_cases: int
    """Cases that were compared with the rows."""
    touched: tuple[Text, ...]
    """Ids of the cases that are in the rows."""
    suspect: tuple[Text, ...]
    """Ids of cases with a fifth of their text in the rows; they count as clean."""
    metrics: tuple[MetricStrata, ...] = ()
    """Gated metrics; empty if no case is touched."""


class ContaminationResult(Record):
    """Which cases were in the training rows, and the metrics with and without them."""

    mode: ContaminationMode
    """What happened to touched cases: `gate` left them out."""
    checked: ContaminationCoverage
    """How far the training data was compared."""
    sentence: str
    """The finding, in words."""
    rows: int
    """Training rows that were compared."""
    files: tuple[TrainingDataFile, ...]
    """Files of training rows, including those that could not be compared."""
    suites: tuple[SuiteStrata, ...]
    """In the order of the run; empty if nothing was compared."""
