"""The suites that come with tunegate: what there is, where it is, and a copy to start from."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import UsageError
from harness.lookup import unknown

HOME = Path(__file__).resolve().parents[2] / "suites"

_OURS = ("*.py", "__pycache__", "material")
"""What writes a bundled suite; a copy is edited by hand."""


def names() -> tuple[str, ...]:
    """Return the names of the bundled suites, sorted."""
    return tuple(sorted(path.parent.name for path in HOME.glob("*/suite.toml")))


def folder(name: str) -> Path:
    """Return the folder of a bundled suite.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in names():
        raise UsageError(unknown(name, names(), what="bundled suite"))
    return HOME / name


def copy(name: str, to: Path) -> list[str]:
    """Copy a bundled suite into a folder that is not there yet, and return the files' names.

    Raises:
        UsageError: there is no suite of that name.
        OSError: the folder is there, or cannot be written.
    """
    shutil.copytree(folder(name), to, ignore=shutil.ignore_patterns(*_OURS))
    return sorted(path.name for path in to.iterdir())


def purpose(name: str) -> str:
    """Return what a suite is for: the paragraph under the title of its README, on one line."""
    text = (folder(name) / "README.md").read_text(encoding="utf-8")
    return " ".join(text.split("\n\n")[1].split()).rstrip(".")
