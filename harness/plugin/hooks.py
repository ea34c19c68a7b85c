"""pytest hooks that are always registered; they cost nothing until a gate run is requested.

Then `activate_session` registers the hooks in `active_hooks`, which do the work.
Reference: https://docs.pytest.org/en/stable/reference/reference.html#hooks
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tunegate.harness.plugin.gate_options import (
    NO_MODEL,
    SESSION,
    UNJUDGED,
    add_options,
    is_active,
)

if TYPE_CHECKING:
    from tunegate.harness.plugin.fixture import GateFixture
    from tunegate.harness.plugin.session import GateSession

OURS = ("tunegate",)
"""The package of this distribution."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options. (pytest_addoption in pytest's reference)"""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Set up a gate run if one was asked for. (pytest_configure)"""
    config.addinivalue_line(
        "markers", "gate_cases(suite): one test per case of a suite, passed as the argument `case`"
    )
    if is_active(config):
        activate_session(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Show a suite that is not judged because no model is named. (pytest_collect_file)"""
    if file_path.name != "suite.toml" or SESSION in parent.config.stash:
        return None
    from tunegate.harness.plugin.items import UnjudgedSuite

    if b"[[metrics]]" not in file_path.read_bytes():  # another tool's file
        return None
    return UnjudgedSuite.from_parent(parent, path=file_path)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many suites were not judged. (pytest_terminal_summary)"""
    skipped = terminalreporter.getreports("skipped")
    names = sorted(r.nodeid.partition("::")[0] for r in skipped if r.nodeid.endswith(UNJUDGED))
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        terminalreporter.line(f"tunegate: {names[0]}{more}: not judged: {NO_MODEL}", yellow=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test per case where the marker names a suite. (pytest_generate_tests)"""
    for marker in metafunc.definition.iter_markers("gate_cases"):
        from tunegate.harness.records.errors import SuiteError
        from tunegate.harness.suite import load_suite

        try:
            cases = load_suite(metafunc.config.rootpath / marker.args[0]).cases
        except SuiteError as error:
            raise pytest.Collector.CollectError(str(error)) from None
        metafunc.parametrize("case", cases, ids=[case.id for case in cases])


def activate_session(config: pytest.Config) -> GateSession:
    """Return the gate session of this pytest run; the first call makes and registers it."""
    if SESSION not in config.stash:
        keep_asserts_plain(config)
        from tunegate.harness.plugin.active_hooks import ActiveHooks
        from tunegate.harness.plugin.no_verdict import leave_sentence
        from tunegate.harness.plugin.session import GateSession
        from tunegate.harness.plugin.terminal import stop_workflow_commands

        try:
            state = config.stash[SESSION] = GateSession.from_config(config)
        except pytest.UsageError as error:
            folder, summary = config.getoption("gate_run_dir"), config.getoption("gate_summary")
            leave_sentence(folder, summary, str(error))
            raise
        config.pluginmanager.register(ActiveHooks(state), "tunegate-active")
        stop_workflow_commands(config, state)
    session: GateSession = config.stash[SESSION]
    return session


def keep_asserts_plain(config: pytest.Config) -> None:
    """Keep pytest from rewriting asserts in our own packages.

    It rewrites every package of a distribution with a plugin, which takes a second for our 150
    modules. There is no public way to turn it off.
    """
    hook = config.pluginmanager.rewrite_hook
    marked: set[str] = getattr(hook, "_must_rewrite", set())
    marked -= {name for name in marked if name.partition(".")[0] in OURS}


@pytest.fixture(scope="session")
def gate(request: pytest.FixtureRequest) -> GateFixture:
    """Compare base and tuned in code: `gate.compare("suites/refunds", metric="json_schema")`."""
    from tunegate.harness.plugin.fixture import GateFixture

    return GateFixture(activate_session(request.config), Path(str(request.config.rootpath)))
