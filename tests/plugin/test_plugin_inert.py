"""A project that has tunegate installed and does not use it notices nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.early_modules import EARLY_MODULES

HEAVY = (
    "numpy",
    "scipy",
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
    project.pytester.makepyfile(TESTS)

    result = project.pytest_apart(*workers)

    result.assert_outcomes(passed=3)
    assert result.ret == 0
    lines = [line for line in result.outlines + result.errlines if "plugins:" not in line]
    assert not [line for line in lines if "tunegate" in line or "gate_" in line]
    assert not (project.path / ".tunegate").exists()


LINE = "tunegate: suites/demo/suite.toml and 1 more: not judged: no model is named*"


def test_a_suite_without_a_model_is_skipped_with_a_line(project: Any) -> None:
    project.suite()
    project.suite("second")
    (project.path / "suite.toml").write_text("[runner]\nsuites = 3\n", encoding="utf-8")
    project.pytester.makepyfile("def test_own(): pass")

    result = project.pytest_here()

    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines([LINE])
    assert result.ret == 0
    assert not (project.path / ".tunegate").exists()


@pytest.mark.parametrize(
    ("ci", "ini", "code"),
    [("true", "", 1), ("true", "skip", 0), ("", "fail", 1), ("", "skip", 0), ("false", "auto", 0)],
)
def test_a_suite_without_a_model_fails_in_ci(
    project: Any, monkeypatch: pytest.MonkeyPatch, ci: str, ini: str, code: int
) -> None:
    """A green job would have judged nothing; gate_missing says otherwise."""
    project.suite()
    monkeypatch.setenv("CI", ci)
    project.pytester.makeini(f"[pytest]\ngate_missing = {ini}")
    project.pytester.makepyfile("def test_own(): pass")

    result = project.pytest_here()

    assert result.ret == code
    assert "no model is named" in result.stdout.str()


@pytest.mark.parametrize("args", [(), ("-p", "no:tunegate")], ids=["with", "without"])
def test_own_tests_end_the_same_without_the_plugin(project: Any, args: tuple[str, ...]) -> None:
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
    project.suite()
    base, tuned = project.model("base", 30), project.model("tuned", 95)
    project.pytester.makeini(
        f"[pytest]\ngate_base = {base}\ngate_tuned = {tuned}\ngate_early_stop = off\n"
    )

    result = project.pytest_here()

    result.stdout.fnmatch_lines(["SHIP: demo: exactly right answers rose 30.0 → 95.0 %*"])
    assert result.ret == 0


def test_an_ini_key_leaves_ordinary_tests_alone(project: Any) -> None:
    project.pytester.makeini("[pytest]\ngate_tuned = scripted:nowhere.json\n")
    project.pytester.makepyfile("def test_own(): pass\ndef test_fails(): assert 0")

    result = project.pytest_here()

    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == 1
    assert "tunegate ===" not in result.stdout.str()
    assert not (project.path / ".tunegate").exists()
