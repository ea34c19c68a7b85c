"""Tuned beside the fine-tune that is shipped today, as verdict.json holds it."""

from __future__ import annotations

from harness.records import Record
from harness.verdict.gate_record import GateResult
from harness.verdict.status import Verdict


class SuiteStanding(Record):
    """One suite's comparison of the incumbent and tuned."""

    name: str
    """Its name in suite.toml."""
    verdict: Verdict | None
    """What its gates alone would decide; None where none compares."""
    n_unscored: dict[str, int]
    """Arm → cases without a score on some metric compared."""
    gates: tuple[GateResult, ...]
    """Its tolerances and limits, and a tolerance for each metric with a goal alone; `base` is the
    incumbent's level, `delta` is tuned − incumbent."""


class Standing(Record):
    """Incumbent and tuned: is what is to be shipped no worse than what is?"""

    verdict: Verdict
    """The worst that the run can still end with: SHIP takes proof on every suite that compares."""
    sentence: str
    """The sentence that decided it."""
    suites: tuple[SuiteStanding, ...]
    """In the order of the run."""
