"""The option that names the suites of a stored run: paths in the run folder itself are not read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

RunSuites = Annotated[
    list[Path] | None,
    typer.Option(
        "--suite",
        metavar="DIR",
        help="Suite of the run, or a folder of them. Its code is run. May be repeated.",
    ),
]


def suite_paths(given: Sequence[Path] | None) -> list[Path]:
    """Return the suite.toml files that the option names.

    Raises:
        UsageError: a folder holds no suite.
    """
    from tunegate.harness.suite.find import find_suites

    return [Path(file) for word in given or () for file in find_suites(str(word))]
