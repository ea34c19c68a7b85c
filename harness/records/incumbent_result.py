"""Incumbent result: tuned against the fine-tune that is in use today."""

from __future__ import annotations

from collections.abc import Iterator

from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.record import Record
from tunegate.harness.records.verdict import ArmResult, Verdict


class SuiteIncumbentResult(Record):
    """One suite's comparison of the incumbent and tuned."""

    name: str
    """Its name in suite.toml."""
    verdict: Verdict | None
    """Decision by its gates alone; None if no gate compares."""
    n_unscored: dict[str, int]
    """Arm → cases without a score on some compared metric."""
    gates: tuple[GateResult, ...]
    """Its tolerances and limits, with a tolerance for each metric that only has a goal; `base` is
    the incumbent's level, `delta` is tuned − incumbent."""


class IncumbentResult(ArmResult, extra="forbid"):
    """Incumbent and tuned: SHIP requires that tuned is no worse on each suite that compares."""

    suites: tuple[SuiteIncumbentResult, ...]
    """In the order of the run."""

    def decided_gates(self) -> Iterator[tuple[str, GateResult]]:
        """Yield suite and result of each gate, with the incumbent in place of base."""
        yield from ((suite.name, gate) for suite in self.suites for gate in suite.gates)
