"""Both ends of the dependency ranges: what is resolved, and what is told of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import environments as benchmark
from benchmarks import test_all


def test_every_environment_is_a_part_of_make_test_all() -> None:
    run = [part.words[2:] for part in test_all.PARTS if part.words[1] == "benchmarks.environments"]

    assert [words[0] for words in run] == list(benchmark.TESTS)


def test_versions_that_are_not_the_pinned_ones_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = tmp_path / "pins.txt"
    pins.write_text(
        'numpy==2.4.6\nscipy==1.17.1; python_version < "3.12"\ntorch==2.13.0\nfoo_bar==1\n'
    )
    monkeypatch.setattr(benchmark, "PINS", pins)
    installed = "numpy==2.0.0\nscipy==1.17.1\ntorch==2.13.0+cpu\nFoo-Bar==1\nmore==3\n-e here\n"

    assert list(benchmark.differences(installed)) == ["numpy: 2.0.0 (pinned: 2.4.6)"]


@pytest.mark.parametrize(("lowest", "runs"), [(True, 2), (False, 1)])
def test_tools_are_resolved_around_the_lowest_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lowest: bool, runs: int
) -> None:
    calls: list[tuple[str, ...]] = []

    def output(*words: str) -> str:
        calls.append((*words, Path(words[words.index("--constraint") + 1]).read_text()))
        return f"resolved=={len(calls)}\n"

    monkeypatch.setattr(benchmark, "_output", output)
    make: Any = vars(benchmark)["_resolve"]

    found = make("python", tmp_path, lowest=lowest)

    assert found == f"resolved=={runs}\n"
    assert ("--resolution" in calls[0], "--group" in calls[-1]) == (lowest, True)
    assert calls[-1][-1].startswith("resolved==1" if lowest else "torch==")


def test_an_environment_that_is_kept_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Parts of the tests run in one environment; nothing is installed a second time."""
    monkeypatch.setattr(benchmark, "ROOT", tmp_path)
    with pytest.raises(SystemExit) as end:
        benchmark.main(["lowest", "--keep", "tests/stats"])

    assert end.value.code == 2
    assert ".venv-lowest/bin/python: run without --keep first" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "run"), [((), ["tests"]), (("a", "b::c"), ["a", "b::c"])])
def test_parts_of_the_tests_run_with_the_environments_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], run: list[str]
) -> None:
    """The marks of the environment hold for parts, too; the exit code is pytest's."""
    (tmp_path / ".venv-highest" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv-highest" / "bin" / "python"
    python.write_text(
        f"#!{sys.executable}\nimport sys\n"
        "if sys.argv[2] == 'pytest':\n"
        "    print(*sys.argv[1:], sep='\\n', file=open('words', 'w'))\n"
        "    sys.exit(5)\n"
    )
    python.chmod(0o755)
    monkeypatch.setattr(benchmark, "ROOT", tmp_path)

    assert benchmark.main(["highest", *given, "--keep"]) == 5
    words = (tmp_path / "words").read_text().splitlines()
    assert words[:2] == ["-m", "pytest"]
    assert words[-len(benchmark.TESTS["highest"]) - len(run) :] == [
        *run,
        *benchmark.TESTS["highest"],
    ]
