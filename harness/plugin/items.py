"""pytest items: one per gate of a suite.toml, decided by the session's one verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts.quantity import format_score, format_scores
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.plugin.exit_status import (
    FailureReason,
    GateFailed,
    UnevaluatedGate,
    escape_control,
)
from tunegate.harness.plugin.gate_options import (
    NO_MODEL,
    SESSION,
    UNJUDGED,
    missing_fails,
    read_options,
)
from tunegate.harness.records.errors import RunInterrupted, TunegateError, UsageError
from tunegate.harness.records.files import relative_path
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict


class SuiteFile(pytest.File):
    """A collected suite.toml."""

    def collect(self) -> Iterator[pytest.Collector]:
        """Yield a node for every gated metric."""
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
            return FailureReason(escape_control(str(excinfo.value)))
        return super().repr_failure(excinfo)


class MetricNode(pytest.Collector):
    """The gates of one metric, so that each part of an id selects tests."""

    def __init__(self, *, gates: Sequence[Gate], suite: str, **kwargs: Any) -> None:
        """Keep the gates and their suite's name."""
        super().__init__(**kwargs)
        self.gates = gates
        self.suite = suite

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one item a gate."""
        for gate in self.gates:
            # As pytest names parameters, so that an id with a tag selects this gate.
            tag = "" if gate.tag is None else f"[{escape_control(' '.join(gate.tag.split()))}]"
            kind = gate.kind if gate.against is None else f"{gate.kind}@{gate.against}"
            yield GateItem.from_parent(self, name=f"{kind}{tag}", gate=gate, suite=self.suite)


class GateItem(pytest.Item):
    """One gate of one suite."""

    def __init__(self, *, gate: Gate, suite: str, **kwargs: Any) -> None:
        """Keep the gate and its suite's name."""
        super().__init__(**kwargs)
        self.gate = gate
        self.suite = suite

    def runtest(self) -> None:
        """Look the gate up in the session's verdict, which is made once."""
        state = self.config.stash[SESSION]
        try:
            suite, result = state.gate_result(self.suite, self.gate)
        except TunegateError as error:
            if isinstance(error, (RunInterrupted, UsageError)):
                self.session.shouldstop = "the gates cannot be judged"
            raise UnevaluatedGate(escape_control(str(error))) from None
        if result is None:
            pytest.skip(f"base does nothing that {self.gate.metric} guards")
        if result.status is GateStatus.PASS:
            return
        if suite.verdict is Verdict.SHIP or result.advisory:
            pytest.skip(f"the verdict does not rest on it: {escape_control(result.sentence)}")
        if result.status is GateStatus.UNDECIDED and state.options["undecided"] != "fail":
            if state.options["undecided"] == "neutral":
                pytest.skip(escape_control(result.sentence))
            return
        raise GateFailed(explain_failure(state.folder, self.suite, result))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return sentences for a failed gate; a defect of ours keeps its traceback."""
        if excinfo.errisinstance(UnevaluatedGate):
            return FailureReason(str(excinfo.value))
        if excinfo.errisinstance(GateFailed):
            return str(excinfo.value)
        return excinfo.getrepr(style="native")

    def reportinfo(self) -> tuple[Any, int, str]:
        """Return file, line and name of the gate, as pytest prints them."""
        line = self.gate.where.rpartition(":")[2]
        name = f"{self.suite}::{self.gate.metric}::{self.name}"
        return self.path, int(line) - 1 if line.isdigit() else 0, name


class UnjudgedSuite(pytest.File):
    """A suite.toml in a session in which no model is named."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one item for all gates of the suite."""
        yield UnjudgedItem.from_parent(self, name=UNJUDGED.rpartition("::")[2])


class UnjudgedItem(pytest.Item):
    """All gates of such a suite."""

    def runtest(self) -> None:
        """Skip, or fail where that is asked for: nothing was judged."""
        if not missing_fails(read_options(self.config)):
            pytest.skip(NO_MODEL)
        raise UsageError(f"{NO_MODEL}; gate_missing = skip where another job judges the suite")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the one line."""
        return str(excinfo.value)


WORST = 3
"""Cases to name below a failed gate."""


def explain_failure(folder: Path, suite: str, result: GateResult) -> str:
    """Return the sentences of a failed gate: numbers, worst cases, where to look."""
    lines = [f"{result.status.value.upper()}: {result.sentence}."]
    worst = [escape_control(text).replace("\n", " ") for text in _worst(folder, suite, result)]
    if worst:
        lines.append("worst cases: " + ", ".join(worst))
    lines.append(f"report: {relative_path(folder / 'report.html')}")
    return escape_control("\n".join(lines))


def _worst(folder: Path, suite: str, result: GateResult) -> list[str]:
    """Return the cases that count most against the gate, with their scores."""
    scores = folder / "scores.jsonl"
    if not scores.is_file():
        return []
    run, rows = _stored_scores(folder, scores.stat().st_mtime_ns)
    leakage = run.manifest.leakage
    left_out = set(leakage.left_out.get(suite, ())) if leakage else set()
    left_out |= {c.id for c in run.cases_of[suite] if not c.counts_for(result.tag)}
    kind = gate_kind(result.kind)
    found = []
    base = rows.get((suite, result.metric, result.against or "base"), {})
    for case, value in rows.get((suite, result.metric, "tuned"), {}).items():
        if case in left_out:
            continue
        before = base.get(case)
        against = kind.contradiction(result, before, value)
        if against > 0:
            both = format_scores(before, value, rate=result.rate)
            shown = format_score(value, rate=result.rate) if kind.reads_level else both
            found.append((-against, f"{case} ({shown})"))
    return [text for _, text in sorted(found)[:WORST]]


@lru_cache(maxsize=1)
def _stored_scores(
    folder: Path, written_ns: int
) -> tuple[Run, Mapping[tuple[str, str, str], Mapping[str, float]]]:
    """Return a run and its scores by suite, metric and arm: read once for all failed gates."""
    run = Run.load(folder)
    rows: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    for (suite, metric, case, arm), row in run.score_table.items():
        if row.value is not None:
            rows[suite, metric, arm][case] = row.value
    return run, rows
