"""From suite.toml to pytest items: one item a gate, decided by the session's one verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from harness.errors import Interrupted, TunegateError, UsageError
from harness.manifest import Gate
from harness.plugin.summary import explain
from harness.plugin.text import inert
from harness.verdict.record import GateStatus, Verdict

UNJUDGED = "tunegate_unjudged"
"""Mark on the report of a gate that could not be judged; it travels with the report."""


class GateFailed(Exception):
    """A gate did not pass; the message is made of sentences."""


class Unjudged(GateFailed):
    """The run ended before the gate could be judged; the message says of what."""


class Reason:
    """Why something failed, which the end of the run tells: the terminal has it once.

    As text it is whole, for JUnit's files and whatever else reads reports.
    """

    def __init__(self, text: str) -> None:
        """Keep the reason."""
        self.text = text

    def __str__(self) -> str:
        """Return the reason."""
        return self.text

    def toterminal(self, terminal: Any) -> None:
        """Write where it stands."""
        terminal.line("not judged; why stands below, under tunegate")


def say_once(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a text that came from an xdist worker the reason that it was there."""
    unread = report.failed and report.nodeid.endswith("suite.toml")
    if isinstance(report.longrepr, str) and (unread or vars(report).get(UNJUDGED)):
        report.longrepr = Reason(report.longrepr)  # type: ignore[assignment]  # pytest takes any


class SuiteFile(pytest.File):
    """A collected suite.toml."""

    def collect(self) -> Iterator[pytest.Collector]:
        """Yield a node for every gated metric.

        Raises:
            CollectError: the suite has problems; every one is named.
        """
        from harness.plugin.hooks import SESSION

        session = self.config.stash[SESSION]
        try:
            suite = session.load(self.path)
        except TunegateError as error:
            session.refuse(str(error))
            raise self.CollectError(str(error)) from None
        for name in dict.fromkeys(gate.metric for gate in suite.gates):
            gates = [gate for gate in suite.gates if gate.metric == name]
            yield MetricNode.from_parent(self, name=name, gates=gates, suite=suite.name)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the problems, a line each, without a traceback."""
        if isinstance(excinfo.value, self.CollectError):
            return Reason(inert(str(excinfo.value)))
        return super().repr_failure(excinfo)


class MetricNode(pytest.Collector):
    """The gates of one metric, so that an id can be given to pytest again, part by part."""

    def __init__(self, *, gates: Sequence[Gate], suite: str, **kwargs: Any) -> None:
        """Keep the gates and their suite's name."""
        super().__init__(**kwargs)
        self.gates = gates
        self.suite = suite

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one item a gate."""
        for gate in self.gates:
            yield GateItem.from_parent(self, name=gate.kind.value, gate=gate, suite=self.suite)


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
            Unjudged: it could not be judged.
        """
        from harness.plugin.hooks import SESSION

        state = self.config.stash[SESSION]
        try:
            suite, result = state.gate_result(self.suite, self.gate)
        except TunegateError as error:
            if isinstance(error, (Interrupted, UsageError)):
                self.session.shouldstop = "the gates cannot be judged"
            raise Unjudged(inert(str(error))) from None
        if result.status is GateStatus.PASS:
            return
        if suite.verdict is Verdict.SHIP or result.advisory:
            pytest.skip(f"the verdict does not rest on it: {inert(result.sentence)}")
        if result.status is GateStatus.UNDECIDED and state.options["undecided"] != "fail":
            if state.options["undecided"] == "neutral":
                pytest.skip(inert(result.sentence))
            return
        raise GateFailed(explain(state.folder, self.suite, result))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return sentences for a failed gate; a defect of ours keeps its traceback."""
        if excinfo.errisinstance(Unjudged):
            return Reason(str(excinfo.value))
        if excinfo.errisinstance(GateFailed):
            return str(excinfo.value)
        return excinfo.getrepr(style="native")

    def reportinfo(self) -> tuple[Any, int, str]:
        """Return file, line and name of the gate, as pytest prints them."""
        line = self.gate.where.rpartition(":")[2]
        return self.path, int(line) - 1 if line.isdigit() else 0, f"{self.suite}::{self.gate.id}"
