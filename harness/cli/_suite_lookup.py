"""Suite lookup: the bundled suites, and the suite files that a command-line argument names."""

from __future__ import annotations

import shutil
from pathlib import Path

from tunegate.harness.errors import UsageError
from tunegate.harness.lookup import unknown_name_message

HOME = Path(__file__).resolve().parents[2] / "suites"

_OURS = ("*.py", "__pycache__", "material")
"""What writes a bundled suite; a copy is edited by hand."""


def suite_names() -> tuple[str, ...]:
    """Return the names of the bundled suites, sorted."""
    return tuple(sorted(path.parent.name for path in HOME.glob("*/suite.toml")))


def suite_folder(name: str) -> Path:
    """Return the folder of a bundled suite.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in suite_names():
        raise UsageError(unknown_name_message(name, suite_names(), what="bundled suite"))
    return HOME / name


def copy_suite(name: str, to: Path) -> list[str]:
    """Copy a bundled suite into a folder that is not there yet, and return the files' names.

    Raises:
        UsageError: there is no suite of that name.
        OSError: the folder is there, or cannot be written.
    """
    shutil.copytree(suite_folder(name), to, ignore=shutil.ignore_patterns(*_OURS))
    return sorted(path.name for path in to.iterdir())


def suite_purpose(name: str) -> str:
    """Return what a suite is for: the paragraph under the title of its README, on one line."""
    text = (suite_folder(name) / "README.md").read_text(encoding="utf-8")
    return " ".join(text.split("\n\n")[1].split()).rstrip(".")


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
        if place not in suite_names():
            raise UsageError(f"{place}: no such suite; name a folder that holds a {FILE_NAME}")
        path = suite_folder(place)
    if path.is_file():
        return [word]
    found = [path / FILE_NAME] if (path / FILE_NAME).is_file() else sorted(path.rglob(FILE_NAME))
    if not found:
        raise UsageError(
            f"{place}: no {FILE_NAME} in this folder; `tunegate suite new DIR` makes a suite"
        )
    return [f"{file}{colons}{gate}" for file in found]
