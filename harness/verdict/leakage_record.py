"""What verdict.json says of cases that the fine-tune was trained on."""

from __future__ import annotations

from harness.leakage import Checked, DataFile, Mode
from harness.records import Record, Text
from harness.verdict.gate_record import Number


class Stratum(Record):
    """One metric on the clean or on the touched cases of a suite."""

    n: int
    """Complete pairs."""
    base: Number
    """Base's level; None without a pair."""
    tuned: Number
    """Tuned's level, likewise."""
    delta: Number
    """tuned − base."""
    low: Number
    """Lower end of the 90 % interval; None where there is too little for one."""
    high: Number
    """Upper end, likewise."""


class MetricStrata(Record):
    """One metric, apart on clean and on touched cases."""

    metric: str
    """Its name within the suite."""
    clean: Stratum
    """On the cases that no row holds."""
    touched: Stratum
    """On those that one does."""


class SuiteStrata(Record):
    """One suite's cases, those that stand in the training rows apart."""

    name: str
    """Its name in suite.toml."""
    n_cases: int
    """Cases that were compared with the rows."""
    touched: tuple[Text, ...]
    """Ids of the cases that stand in the rows."""
    suspect: tuple[Text, ...]
    """Ids of cases with a fifth of their text in the rows; they count as clean."""
    metrics: tuple[MetricStrata, ...] = ()
    """Gated metrics; none where no case is touched."""


class LeakageResult(Record):
    """Training rows against cases, and the difference with and without what was seen before."""

    mode: Mode
    """What was done with touched cases: `gate` left them out."""
    checked: Checked
    """How far the training data was compared."""
    sentence: str
    """What was found, in words."""
    rows: int
    """Training rows that were compared."""
    files: tuple[DataFile, ...]
    """Their files, and those that could not be compared."""
    suites: tuple[SuiteStrata, ...]
    """In the order of the run; none if nothing was compared."""
