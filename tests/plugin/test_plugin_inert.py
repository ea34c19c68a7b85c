"""A project that has tunegate installed and does not use it notices nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.early_modules import EARLY_MODULES

HEAVY = (
    "numpy",
    "scipy",
    "statsmodels",
    "pydantic",
    "torch",
    "transformers",
    "jinja2",
    "opentelemetry",
    "jsonschema",
    "filelock",
    "typer",
)

TESTS = f"""
    import signal, sys

    def test_nothing_heavy_is_loaded():
        assert not [name for name in {HEAVY!r} if name in sys.modules]

    def test_only_our_hooks_are_loaded():
        ours = {{n for n in sys.modules if n.partition(".")[0] == "tunegate"}}
        assert ours == set({EARLY_MODULES!r})

    def test_the_signal_handlers_are_pythons():
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
"""


def test_nothing_is_loaded_printed_or_written(project: Any, workers: tuple[str, ...]) -> None:
    """Without an option nothing heavy is imported, no line printed, no file made."""
    project.pytester.makepyfile(TESTS)

    result = project.pytest_apart(*workers)

    result.assert_outcomes(passed=3)
    assert result.ret == 0
    lines = [line for line in result.outlines + result.errlines if "plugins:" not in line]
    assert not [line for line in lines if "tunegate" in line or "gate_" in line]
    assert not (project.path / ".tunegate").exists()


def test_a_suite_file_alone_is_not_collected(project: Any) -> None:
    """A folder with a suite.toml stays a folder until a model is named."""
    project.suite()
    project.pytester.makepyfile("def test_own(): pass")

    result = project.pytest_here()

    result.assert_outcomes(passed=1)
    assert not (project.path / ".tunegate").exists()


@pytest.mark.parametrize("args", [(), ("-p", "no:tunegate")], ids=["with", "without"])
def test_own_tests_end_the_same_without_the_plugin(project: Any, args: tuple[str, ...]) -> None:
    """Failures, skips and a fixture that is called gate are the user's own."""
    project.pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def gate():
            return "mine"

        def test_mine(gate): assert gate == "mine"
        def test_fails(): assert 1 == 2
        def test_skips(): pytest.skip("later")
        """
    )

    result = project.pytest_here(*args)

    result.assert_outcomes(passed=1, failed=1, skipped=1)
    assert result.ret == 1


def test_an_ini_key_makes_a_gate_run(project: Any) -> None:
    """With gate_tuned in pytest.ini, plain pytest judges the suites it finds."""
    project.suite()
    base, tuned = project.model("base", 30), project.model("tuned", 95)
    project.pytester.makeini(
        f"[pytest]\ngate_base = {base}\ngate_tuned = {tuned}\ngate_early_stop = off\n"
    )

    result = project.pytest_here()

    result.stdout.fnmatch_lines(["SHIP: demo: exactly right answers rose 30.0 → 95.0 %*"])
    assert result.ret == 0


def test_an_ini_key_leaves_ordinary_tests_alone(project: Any, workers: tuple[str, ...]) -> None:
    """In a project with models in its ini file, a run without suites makes no run folder."""
    project.pytester.makeini("[pytest]\ngate_tuned = scripted:nowhere.json\n")
    project.pytester.makepyfile("def test_own(): pass\ndef test_fails(): assert 0")

    result = project.pytest_apart(*workers)

    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == 1
    assert "tunegate ===" not in result.stdout.str()
    assert not (project.path / ".tunegate").exists()
