"""Find suites by what a user names: a file, a folder, a folder of suites, or a bundled suite."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tunegate.harness.records.errors import UsageError, refuse_unreadable, unknown_name_message

if TYPE_CHECKING:
    from tunegate.harness.suite.suite import Suite

BUNDLED = Path(__file__).resolve().parents[2] / "suites"
FILE_NAME = "suite.toml"
LEDGER_NAME = "tunegate.ledger.jsonl"
"""Name of the ledger, which lies beside the suites: `suites/*` names it, too."""
NONE_NAMED = f"no suites; name at least one folder that holds a {FILE_NAME}"


def suite_names() -> tuple[str, ...]:
    """Return the names of the bundled suites and folders of suites, sorted."""
    found = {path.relative_to(BUNDLED).parts[0] for path in BUNDLED.rglob(FILE_NAME)}
    return tuple(sorted(found))


def suite_folder(name: str) -> Path:
    """Return the folder of a bundled suite, or of several."""
    if name not in suite_names():
        raise UsageError(unknown_name_message(name, suite_names(), what="bundled suite"))
    return BUNDLED / name


def find_suites(word: str) -> list[str]:
    """Return the suite.toml files of a file, a folder, a folder of suites or a bundled name.

    A gate after `::` is kept with each of them. The ledger holds no suite.
    """
    place, colons, gate = word.partition("::")
    path = Path(place)
    if path.name == LEDGER_NAME:
        return []
    if not path.exists():
        if place not in suite_names():
            raise UsageError(
                f"{place}: no such suite; name a folder that holds a {FILE_NAME} (`tunegate suite "
                f"new {path.name}` makes one)"
            )
        path = suite_folder(place)
    if problem := cases_file_problem(path):
        raise UsageError(problem)
    if path.is_file():
        return [word]
    with refuse_unreadable(place):
        is_suite = (path / FILE_NAME).is_file()
    files = [path / FILE_NAME] if is_suite else sorted(path.rglob(FILE_NAME))
    if not files:
        raise UsageError(
            f"{place}: no {FILE_NAME} in this folder; `tunegate suite new DIR` makes a suite"
        )
    return [f"{file}{colons}{gate}" for file in files]


def refuse_shared_name(suites: Iterable[Suite]) -> None:
    """Refuse two suites of one name: reports and gates could not tell them apart."""
    places: dict[str, Path] = {}
    for suite in suites:
        first = places.setdefault(suite.name, suite.path)
        if first != suite.path:
            folders = " and ".join(os.path.relpath(path.parent) for path in (first, suite.path))
            raise UsageError(
                f"{folders}: two suites are called {suite.name!r}; give one of them another name "
                f"in its {FILE_NAME}"
            )


def cases_file_problem(path: Path) -> str | None:
    """Return what to name instead of a suite's data file; None for other paths."""
    if path.suffix not in (".jsonl", ".json", ".csv", ".parquet") or not path.is_file():
        return None
    if (path.parent / FILE_NAME).is_file():
        return f"{path}: a file of a suite; name the suite's folder: {path.parent}"
    return f"{path}: not a suite; name a folder that holds a suite.toml"
