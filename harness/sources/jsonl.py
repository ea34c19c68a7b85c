"""Cases from a JSON-lines file: one case a line, in the form of case.schema.json."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.errors import SuiteError
from harness.source import SourcedCase, make_case
from harness.sources import _text


def jsonl(folder: Path, *, file: str) -> Iterator[SourcedCase]:
    """Yield the cases of `file`, a path that starts at the suite's folder; blank lines are skipped.

    Raises:
        SuiteError: the file is missing, too large or not UTF-8, or lines are broken: every one
            with its number.
    """
    path = folder / file
    problems: list[str] = []
    for number, line in _text.lines(_text.read(path, form="write one case a line")):
        where = f"{path}:{number}"
        try:
            yield SourcedCase(make_case(_text.json_object(line)), where)
        except ValueError as error:
            problems.append(f"{where}: {error}")
    if problems:
        raise SuiteError(problems)
