"""Suites that a command line names: those of a stored run, or exactly one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.records.errors import UsageError

if TYPE_CHECKING:
    from tunegate.harness.suite import Suite

RunSuites = Annotated[
    list[Path] | None,
    typer.Option(
        "--suite",
        metavar="DIR",
        help="Suite of the run, or a folder of them. Its code is run. May be repeated.",
    ),
]
"""Needed because paths in a run folder are data and never read."""


def suite_paths(given: Sequence[Path] | None) -> list[Path]:
    """Return the suite.toml files that the option names."""
    from tunegate.harness.suite.find import find_suites

    return [Path(file) for word in given or () for file in find_suites(str(word))]


def load_one_suite(word: str, max_cases: int | None) -> Suite:
    """Load the suite that a word names, or its first cases."""
    from tunegate.harness.suite import load_suite
    from tunegate.harness.suite.find import find_suites

    paths = find_suites(word)
    if len(paths) > 1:
        raise UsageError(f"{word}: holds {len(paths)} suites; name one of them, such as {paths[0]}")
    return load_suite(Path(paths[0]), max_cases=max_cases)
