"""One gate run in one pytest session: the composition root of options, engine, verdict and files.

Completions are made once a session, for all suites together, the first time a gate asks. Under
xdist every worker may ask; the one that gets the lock makes them, the others read the verdict.
"""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pytest

from harness import suite as suites
from harness.errors import Interrupted, TunegateError, UsageError
from harness.manifest import Gate
from harness.plugin.options import PREFIX, read_options
from harness.run import Run, read_record
from harness.suite import Suite
from harness.verdict.record import GateKind, GateResult, GateStatus, Verdict, VerdictRecord

ORDINARY_FAILURE = 1


@dataclass
class GateSession:
    """The state of a gate run within this process."""

    options: Mapping[str, Any]
    folder: Path
    stream: TextIO
    """Where progress goes: the terminal, past pytest's capturing."""
    command: tuple[str, ...]
    worker: str | None = None
    """xdist's name of this worker; None in the controller or without xdist."""
    loaded: dict[Path, Suite] = field(default_factory=dict)
    filtered: list[str] = field(default_factory=list)
    verdict: VerdictRecord | None = None
    error: TunegateError | None = None
    arms: dict[str, Any] = field(default_factory=dict)
    exit_status: int | None = None

    @classmethod
    def from_config(cls, config: pytest.Config) -> GateSession:
        """Make the session of a pytest run.

        Raises:
            pytest.UsageError: packages of ours are shadowed, or an option is wrong.
        """
        from harness.siblings import problem

        shadowed = problem()
        if shadowed:
            raise pytest.UsageError(shadowed)
        options = read_options(config)
        inputs: Mapping[str, Any] = getattr(config, "workerinput", {})
        folder = inputs.get("gate_run_dir") or options["run-dir"] or _new_folder(options)
        session = cls(
            options=options,
            folder=Path(folder).absolute(),
            stream=_terminal(config),
            command=tuple(map(str, config.invocation_params.args)),
            worker=inputs.get("workerid"),
        )
        if options["max-cases"]:
            session.filtered.append(f"only the first {options['max-cases']} cases of each suite")
        return session

    def load(self, path: Path) -> Suite:
        """Load a suite once."""
        key = path.resolve()
        if key not in self.loaded:
            self.loaded[key] = suites.load(path, max_cases=self.options["max-cases"])
        return self.loaded[key]

    def refuse(self, reason: str) -> None:
        """Note a user's mistake in a suite: the session ends with pytest's usage exit code."""
        self.error = UsageError(reason)

    def note_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Note gates that `-k` or the like removed."""
        from harness.plugin.collect import GateItem

        gates = [f"{i.suite}::{i.name}" for i in items if isinstance(i, GateItem)]
        if gates:
            self.filtered.append(f"{len(gates)} gates were deselected, {gates[0]} among them")

    def gate_result(self, suite: str, gate: Gate) -> GateResult:
        """Return how a gate ended; the first call makes the run."""
        verdict = self.evaluate()
        for result in (r for s in verdict.suites if s.name == suite for r in s.gates):
            if (result.metric, result.kind) == (gate.metric, gate.kind):
                return result
        raise TunegateError(verdict.sentence)

    def evaluate(self) -> VerdictRecord:
        """Return the run's verdict, made once over all collected suites."""
        if self.error is not None:
            raise self.error
        if self.verdict is None:
            try:
                self.verdict = self.run(tuple(self.loaded.values()), self.folder)
            except TunegateError as error:
                self.error = error
                raise
        return self.verdict

    def run(self, chosen: Sequence[Suite], folder: Path) -> VerdictRecord:
        """Make or, as another xdist worker, read the run in `folder`."""
        with _exclusive(folder, wait=self.worker is not None):
            if self.worker is not None and (folder / "verdict.json").is_file():
                return read_record(folder / "verdict.json", VerdictRecord)
            return self._evaluation(chosen, folder).run()

    def _evaluation(self, chosen: Sequence[Suite], folder: Path) -> Any:
        from harness.plugin.evaluate import Evaluation

        return Evaluation(
            suites=chosen,
            specs={name: self.options[name] for name in ("base", "tuned", "incumbent")},
            folder=folder,
            store_path=Path(self.options["store"]).absolute(),
            stream=self.stream,
            seed=self.options["seed"],
            dtype=self.options["dtype"],
            command=self.command,
            filtered=tuple(self.filtered),
            trace_content=bool(self.options["trace-content"]),
            arms=self.arms,
        )

    def explain(self, suite: str, result: GateResult) -> str:
        """Return the sentences of a failed gate: numbers, worst cases, where to look."""
        lines = [f"{result.status.value.upper()}: {result.sentence}."]
        worst = self._worst(suite, result)
        if worst:
            lines.append("worst cases: " + ", ".join(worst))
        lines.append(f"look: {self.folder / 'report.html'}")
        return "\n".join(lines)

    def _worst(self, suite: str, result: GateResult) -> list[str]:
        """Return the cases that speak most against the gate, three at most."""
        if not (self.folder / "scores.jsonl").is_file():
            return []
        table = Run.load(self.folder).score_table
        sign = 1 if result.higher_is_better else -1
        found = []
        for (of_suite, metric, case, arm), row in table.items():
            if (of_suite, metric, arm) == (suite, result.metric, "tuned") and row.value is not None:
                base = table.get((suite, metric, case, "base"))
                before = base.value if base and base.value is not None else row.value
                level = result.kind in (GateKind.FLOOR, GateKind.CEILING)
                found.append((sign * (row.value if level else row.value - before), case))
        return [case for _, case in sorted(found)[:3]]

    def finish(self, session: pytest.Session) -> None:
        """Write what people and CI read, and set the exit status (controller or single process)."""
        if self.worker is not None:
            return
        if self.verdict is None and (self.folder / "verdict.json").is_file():
            self.verdict = read_record(self.folder / "verdict.json", VerdictRecord)
        if self.verdict is not None and self.verdict.suites:
            self._write_reports()
        self.exit_status = self._exit_status(session)
        if self.exit_status is not None:
            session.exitstatus = self.exit_status

    def _exit_status(self, session: pytest.Session) -> int | None:
        """Return the exit code by precedence 13 > 12 > 1 > 10 > 11 > 0; None leaves pytest's own."""
        if isinstance(self.error, Interrupted):
            return 143 if "signal 15" in str(self.error) else 130
        if isinstance(self.error, UsageError):
            return int(pytest.ExitCode.USAGE_ERROR)
        if self.error is not None:
            return self.error.exit_code
        codes = [] if self.verdict is None else [self._verdict_code(self.verdict.verdict)]
        codes += _test_codes(session)
        order = (13, 12, 1, 10, 11)
        return next((code for code in order if code in codes), None if not codes else 0)

    def _verdict_code(self, verdict: Verdict) -> int:
        if verdict is Verdict.UNDECIDED and self.options["undecided"] != "fail":
            return 0
        return verdict.exit_code

    def _write_reports(self) -> None:
        from reports.bundle import write_all

        run = Run.load(self.folder)
        written = write_all(run, self.folder)
        for option, name in (("report", "report.html"), ("junit", "junit.xml"),
                             ("summary", "summary.md")):
            if self.options[option]:
                target = Path(self.options[option])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(written[name].read_text(encoding="utf-8"), encoding="utf-8")

    def summarise(self, terminal: pytest.TerminalReporter) -> None:
        """Print the verdict, the deciding sentence, the report and the next command."""
        if self.error is not None:
            terminal.section("tunegate", sep="=")
            terminal.line(str(self.error))
            if not isinstance(self.error, UsageError) and (self.folder / "manifest.json").is_file():
                terminal.line(f"go on with: tunegate resume {_relative(self.folder)}")
        elif self.verdict is not None:
            good = self.verdict.verdict is Verdict.SHIP
            terminal.section("tunegate", sep="=")
            terminal.line(
                f"{self.verdict.verdict.value.replace('_', ' ')}: {self.verdict.sentence}",
                green=good, red=not good, bold=True,
            )
            for note in (n for s in self.verdict.suites for n in s.notes):
                terminal.line(f"note: {note}")
            if (self.folder / "report.html").is_file():
                terminal.line(f"report: {_relative(self.folder / 'report.html')}")


def _test_codes(session: pytest.Session) -> list[int]:
    """Return the exit codes of ordinary tests: 1 for a failure, 10 for an undecided assert."""
    from harness.plugin.collect import GateItem

    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return [ORDINARY_FAILURE] if session.testsfailed else []
    gates = {i.nodeid for i in session.items if isinstance(i, GateItem)} if session.items else set()
    codes = []
    for report in reporter.stats.get("failed", []) + reporter.stats.get("error", []):
        if "suite.toml::" in report.nodeid or report.nodeid in gates:
            continue
        undecided = ("tunegate", "undecided") in getattr(report, "user_properties", [])
        codes.append(Verdict.UNDECIDED.exit_code if undecided else ORDINARY_FAILURE)
    return codes


def _new_folder(options: Mapping[str, Any]) -> Path:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    return Path(options["store"]).parent / "runs" / f"{now}-{os.getpid() % 10_000:04}"


def _terminal(config: pytest.Config) -> TextIO:
    """Return the real terminal: pytest's capturing has replaced sys.stderr."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    stream: TextIO = getattr(getattr(reporter, "_tw", None), "_file", sys.__stderr__ or sys.stderr)
    return stream


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _exclusive(folder: Path, *, wait: bool) -> Any:
    """Return a lock on the run folder; a second run on it is refused, another worker waits."""
    from harness.plugin.lock import RunLock

    return RunLock(folder, timeout=-1 if wait else 1)


__all__ = ["PREFIX", "GateSession", "GateStatus"]
