"""pytest hooks of a gate run, registered only when one is requested; each body delegates.

Reference: https://docs.pytest.org/en/stable/reference/reference.html#hooks
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tunegate.harness.plugin import exit_status, terminal
from tunegate.harness.plugin.delivery import deliver
from tunegate.harness.plugin.exit_status import say_once
from tunegate.harness.plugin.items import GateItem, SuiteFile

if TYPE_CHECKING:
    from tunegate.harness.plugin.session import GateSession


@dataclass(frozen=True, eq=False)
class ActiveHooks:
    """The hooks of one gate session."""

    state: GateSession

    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> pytest.Collector | None:
        """Collect suite.toml files. (pytest_collect_file)"""
        if file_path.name != "suite.toml":
            return None
        if file_path.is_relative_to(parent.config.rootpath):
            return SuiteFile.from_parent(parent, path=file_path)
        # pytest's node id has no file name for a file outside of the root, such as a bundled suite.
        name = f"{file_path.parent.name}/{file_path.name}"
        return SuiteFile.from_parent(parent, path=file_path, nodeid=name)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note which gates were filtered out. (pytest_collection_finish)"""
        self.state.note_selected([i for i in session.items if isinstance(i, GateItem)])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Mark failures that stand for another exit code than 1. (pytest_runtest_makereport)"""
        report = yield
        if call.excinfo is not None and report.failed:
            exit_status.mark_report(
                report,
                call.excinfo,
                gate=isinstance(item, GateItem),
                undecided=self.state.options["undecided"],
            )
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Print problems of a suite at the end of the run. (pytest_collectreport)"""
        say_once(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the exit code that a failure stands for. (pytest_runtest_logreport)"""
        say_once(report)
        self.state.codes |= exit_status.codes_of_report(report)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note that the user stopped pytest itself. (pytest_keyboard_interrupt)"""
        if excinfo.type is KeyboardInterrupt:
            self.state.note_interrupt()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Let the verdict decide the exit status, and send it on. (pytest_sessionfinish)"""
        self.state.finish(session)
        if not self.state.worker:
            self.state.delivered = deliver(self.state)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the verdict, the sentence that decided it and what to do next."""
        terminal.write_section(self.state, terminalreporter)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell xdist's workers which run is theirs. (pytest_configure_node of pytest-xdist)"""
        node.workerinput |= self.state.for_worker()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Merge a worker's results. (pytest_testnodedown of pytest-xdist)"""
        self.state.merge(getattr(node, "workeroutput", {}))
