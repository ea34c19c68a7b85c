"""The suites that a word of the command line stands for."""

from __future__ import annotations

from pathlib import Path

from harness.cli import bundled
from harness.errors import UsageError

FILE_NAME = "suite.toml"

NONE_NAMED = f"no suites; name at least one folder that holds a {FILE_NAME}"


def suite_files(word: str) -> list[str]:
    """Return the suite.toml files of a file, a folder, a folder of suites or a bundled name.

    What follows `::` names a gate and stays behind each of them.

    Raises:
        UsageError: there are none.
    """
    place, colons, gate = word.partition("::")
    path = Path(place)
    if not path.exists():
        if place not in bundled.names():
            raise UsageError(f"{place}: no such suite; name a folder that holds a {FILE_NAME}")
        path = bundled.folder(place)
    if path.is_file():
        return [word]
    found = [path / FILE_NAME] if (path / FILE_NAME).is_file() else sorted(path.rglob(FILE_NAME))
    if not found:
        raise UsageError(
            f"{place}: no {FILE_NAME} in this folder; `tunegate suite new DIR` makes a suite"
        )
    return [f"{file}{colons}{gate}" for file in found]
