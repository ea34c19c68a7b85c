"""From suite.toml to pytest items: one item a gate, decided by the session's one verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.errors import TunegateError
from harness.manifest import Gate
from harness.verdict.record import GateResult, GateStatus


class GateFailed(Exception):
    """A gate did not pass; the message is made of sentences."""


class SuiteFile(pytest.File):
    """A collected suite.toml."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one item a gate.

        Raises:
            pytest.UsageError: the suite has problems; every one is named.
        """
        from harness.plugin.hooks import SESSION

        session = self.config.stash[SESSION]
        try:
            suite = session.load(self.path)
        except TunegateError as error:
            session.refuse(str(error))
            raise self.CollectError(str(error)) from None
        for gate in suite.gates:
            yield GateItem.from_parent(self, name=gate.id, gate=gate, suite=suite.name)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> str:
        """Return the problems, a line each, without a traceback."""
        return str(excinfo.value)


class GateItem(pytest.Item):
    """One gate of one suite."""

    def __init__(self, *, gate: Gate, suite: str, **kwargs: Any) -> None:
        """Keep the gate and its suite's name."""
        super().__init__(**kwargs)
        self.gate = gate
        self.suite = suite

    def runtest(self) -> None:
        """Look the gate up in the session's verdict, which is made once.

        Raises:
            GateFailed: the gate did not pass.
        """
        from harness.plugin.hooks import SESSION

        session = self.config.stash[SESSION]
        try:
            result = session.gate_result(self.suite, self.gate)
        except TunegateError as error:
            raise GateFailed(str(error)) from None
        if result.status is GateStatus.UNDECIDED and session.options["undecided"] != "fail":
            if session.options["undecided"] == "neutral":
                pytest.skip(result.sentence)
            return
        if result.status is not GateStatus.PASS:
            raise GateFailed(session.explain(self.suite, result))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return sentences for a failed gate; a defect of ours keeps its traceback."""
        if excinfo.errisinstance(GateFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Any, int, str]:
        """Return file, line and name of the gate, as pytest prints them."""
        line = self.gate.where.rpartition(":")[2]
        return self.path, int(line) - 1 if line.isdigit() else 0, f"{self.suite}::{self.name}"


__all__ = ["GateFailed", "GateItem", "GateResult", "SuiteFile"]
