"""`tunegate gate` without arguments: what it would judge in this folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tunegate.harness.cli._gate_proposal import propose_gate


def write_adapter(folder: Path, base: str | None, age: int = 0) -> None:
    """Write an adapter's configuration that is some seconds old."""
    folder.mkdir(parents=True)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({"base_model_name_or_path": base}), encoding="utf-8")
    os.utime(file, (1_000_000 - age, 1_000_000 - age))


def write_suite(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "suite.toml").write_text('name = "x"\n', encoding="utf-8")


def test_the_newest_adapter_is_judged_on_the_suites_of_the_folder(tmp_path: Path) -> None:
    write_adapter(tmp_path / "out" / "first", "models/base", age=60)
    write_adapter(tmp_path / "out" / "second", "models/base")
    write_suite(tmp_path / "suites" / "mine")
    write_suite(tmp_path / "examples" / "theirs")

    assert propose_gate(tmp_path) == [
        "suites: suites",
        "adapter: out/second, trained on models/base",
        "adapter: out/first, trained on models/base",
        "next: tunegate gate suites --tuned out/second",
    ]


def test_without_suites_they_are_copied_first(tmp_path: Path) -> None:
    write_adapter(tmp_path / "my adapter", "models/base")

    assert propose_gate(tmp_path)[-1] == (
        "next: tunegate init && tunegate gate suites --tuned 'my adapter'"
    )


def test_an_adapter_that_names_no_base_needs_one(tmp_path: Path) -> None:
    write_adapter(tmp_path / "out", None)
    write_suite(tmp_path / "suites")

    assert propose_gate(tmp_path)[-1] == "next: tunegate gate suites --tuned out --base FOLDER"


def test_hidden_folders_and_installed_packages_are_not_searched(tmp_path: Path) -> None:
    write_adapter(tmp_path / ".venv" / "lib" / "adapter", "models/base")
    write_adapter(tmp_path / "lib" / "site-packages" / "adapter", "models/base")

    assert propose_gate(tmp_path) == []


def test_a_call_without_arguments_proposes_and_judges_nothing(project: Any) -> None:
    write_adapter(project.path / "out", "models/base")

    result = project.tunegate("gate")

    assert result.ret == 2
    result.stderr.fnmatch_lines(["next: tunegate * gate suites --tuned out"])
    assert not (project.path / ".tunegate").exists()
