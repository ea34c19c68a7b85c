"""The options: each with an ini twin, bad values refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.plugin.gate_options import OPTIONS


def test_every_option_is_in_pytests_help(project: Any) -> None:
    """`pytest --help` lists each option and each ini key."""
    text = project.pytest_here("--help").stdout.str()

    for option in OPTIONS:
        assert f"--gate-{option.name}" in text
        assert (f"{option.dest} (string)" in text) is not option.typed


def test_ini_twins_do_what_the_options_do(project: Any) -> None:
    project.suite()
    values = {
        "base": project.model("base", 30),
        "tuned": project.model("tuned", 31),
        "run_dir": "out/run",
        "store": "out/cells.sqlite",
        "report": "out/page.html",
        "junit": "out/gates.xml",
        "summary": "out/summary.md",
        "max_cases": "50",
        "undecided": "neutral",
        "seed": "7",
        "dtype": "float32",
        "trace_content": "true",
        "optimizations": "none",
    }
    lines = "".join(f"gate_{key} = {value}\n" for key, value in values.items())
    project.pytester.makeini(f"[pytest]\n{lines}")

    result = project.pytest_here("suites")

    assert result.ret == 0
    verdict = project.verdict(project.path / "out/run")
    assert (verdict["verdict"], verdict["seed"]) == ("UNDECIDED", 7)
    assert verdict["suites"][0]["gates"][0]["n"] == 50
    for name in ("cells.sqlite", "page.html", "gates.xml", "summary.md"):
        assert (project.path / "out" / name).stat().st_size > 0
    traces = (project.path / "out/run/traces.jsonl").read_text(encoding="utf-8")
    assert "gen_ai.output.messages" in traces
    assert not (project.path / ".tunegate").exists()


def test_paths_in_an_ini_file_are_relative_to_it(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.suite()
    project.models()
    project.pytester.makeini(
        "[pytest]\ngate_base = scripted:base.json\ngate_tuned = scripted:tuned.json\n"
        "gate_run_dir = out/run\n"
    )
    monkeypatch.chdir(project.path / "suites")

    result = project.pytest_here("demo")

    assert result.ret == 0
    arms = project.verdict(project.path / "out/run")["arms"]
    assert arms["tuned"]["spec"] == "scripted:../tuned.json"


def test_an_option_wins_over_its_ini_twin(project: Any) -> None:
    project.suite()
    project.pytester.makeini("[pytest]\ngate_tuned = scripted:nowhere.json\ngate_seed = 1\n")

    result = project.gate(*project.models(), "--gate-seed=5")

    assert result.ret == 0
    assert project.verdict()["seed"] == 5


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--gate-max-cases=0", "--gate-max-cases='0' must be a whole number of at least 1"),
        ("--gate-max-cases=many", "--gate-max-cases='many' must be a whole number of at least 1"),
        ("--gate-seed=-1", "--gate-seed='-1' must be a whole number of at least 0"),
        ("--gate-seed=²", "--gate-seed='²' must be a whole number of at least 0"),
        ("--gate-undecided=maybe", "argument --gate-undecided: invalid choice: 'maybe'"),
        ("--gate-dtype=int3", "argument --gate-dtype: invalid choice: 'int3'"),
        (
            "--gate-optimizations=draft",
            "--gate-optimizations: unknown optimization 'draft'; did you mean 'drafts'?",
        ),
    ],
)
def test_a_bad_value_is_one_line(project: Any, option: str, line: str) -> None:
    """The option, the value and what is allowed; exit 4, no traceback."""
    project.suite()

    result = project.gate(*project.models(), option)

    assert result.ret == 4
    assert line in result.stderr.str()
    assert "Traceback" not in result.stderr.str()


@pytest.mark.parametrize(
    ("key", "value"),
    [("undecided", "maybe"), ("trace_content", "perhaps"), ("max_cases", "-3"), ("seed", "x")],
)
def test_a_bad_ini_value_is_one_line(project: Any, key: str, value: str) -> None:
    project.suite()
    project.pytester.makeini(f"[pytest]\ngate_{key} = {value}\n")

    result = project.gate(*project.models())

    assert result.ret == 4
    assert repr(value) in result.stderr.str()
    assert "Traceback" not in result.stderr.str()


def test_code_of_models_is_allowed_on_the_command_line_alone(project: Any) -> None:
    from tunegate.harness.plugin.gate_options import read_options

    project.suite()
    project.pytester.makeini("[pytest]\ngate_trust_remote_code = true\n")
    flags = ((), ("--gate-trust-remote-code",))

    configs = [project.pytester.parseconfig(*flag) for flag in flags]

    assert [read_options(one)["trust-remote-code"] for one in configs] == [None, True]


@pytest.mark.parametrize("options", [("--gate-base=scripted:x.json",), ("--gate-tuned=",)])
def test_a_run_without_a_tuned_model_is_refused(project: Any, options: tuple[str, ...]) -> None:
    project.suite()

    result = project.gate(*options)

    assert result.ret == 4
    result.stdout.fnmatch_lines(["no tuned model: *--gate-tuned SPEC*"])


def test_a_named_suite_file_asks_for_a_model(project: Any) -> None:
    """`pytest suites/demo/suite.toml` alone is a gate run without a model, not a silent pass."""
    path = project.suite()

    result = project.pytest_here(path)

    assert result.ret == 4
    result.stdout.fnmatch_lines(["no tuned model: *"])


@pytest.mark.parametrize("option", ["run-dir", "store", "report"])
def test_a_place_that_cannot_be_written_is_refused_first(project: Any, option: str) -> None:
    """Below a regular file nothing can be made: exit 4 before a model is opened."""
    project.suite()
    Path("file").write_text("", encoding="utf-8")

    result = project.pytest_here(
        "suites",
        "--gate-base=scripted:no.json",
        "--gate-tuned=scripted:no.json",
        f"--gate-{option}=file/x/y",
    )

    assert result.ret == 4
    found = [line for line in result.outlines if line.startswith(("/", "--gate"))]
    assert found
    assert "file/x" in found[0]
    assert "cannot be written (Not a directory)" in found[0]
    assert "opening" not in result.stderr.str()


def test_the_store_serves_the_next_run(project: Any) -> None:
    project.suite()
    options = "--gate-store=cells.sqlite", "--gate-early-stop=off"
    project.gate(*project.models(tuned=95), *options)
    first = project.stored(project.path / "cells.sqlite")

    result = project.gate(*project.models(tuned=94), *options)

    assert result.ret == 0
    assert "200 answers planned (100 are stored already)" in result.stderr.str()
    assert len(first) == 200
    assert len(project.stored(project.path / "cells.sqlite")) == 300
