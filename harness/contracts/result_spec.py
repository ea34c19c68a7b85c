"""A spec of results, `results:PATH[?format=FORMAT&option=value][#RUN]`, and its runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from tunegate.harness.contracts import keyword_options, lookup
from tunegate.harness.contracts.result_reader import ResultLog, ResultReader, ResultRow, UnreadLine
from tunegate.harness.records.errors import (
    SuiteError,
    TunegateError,
    UsageError,
    error_summary,
    unknown_name_message,
)

ROOM = "tunegate.harness.results"


@dataclass(frozen=True, slots=True)
class ResultSpec:
    """The part of a spec after `results:`: `PATH[?format=FORMAT&option=value][#RUN]`."""

    path: Path
    run: str = ""
    """The run to select from several."""
    format: str = ""
    """The reader; empty to recognize it by the files."""
    options: tuple[tuple[str, str], ...] = ()
    """The reader's options."""

    @classmethod
    def parse(cls, text: str, *, folder: Path = Path()) -> ResultSpec:
        """Parse a spec, whose path is relative to `folder`; a path that exists is not split."""
        text = text.removeprefix("results:")
        if not text:
            raise UsageError("results: names no path; write results:FILE or results:FOLDER")
        if (folder / text).exists():
            return cls(folder / text)
        rest, _, run = text.partition("#")
        place, _, query = rest.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        name = options.pop("format", "")
        return cls(folder / place, run, name, tuple(sorted(options.items())))


def read_logs(spec: ResultSpec) -> tuple[ResultReader, list[ResultLog]]:
    """Return the reader of a spec and its runs, or the selected one.

    Raises:
        UsageError: nothing is there, no reader or several recognize it, or the reader refuses it.
    """
    if not spec.path.exists():
        raise UsageError(f"results:{spec.path}: no such file or folder")
    reader = find_reader(spec.path, spec.format)
    try:
        bound = keyword_options.bind_options(
            reader.read, dict(spec.options), skip=1, folder=Path(), where=f"results:{spec.path}"
        )
    except SuiteError as error:
        raise UsageError(str(error)) from error
    with _read_errors(spec.path, reader.name):
        logs = list(reader.read(spec.path, **bound))
    if not logs:
        raise UsageError(f"{spec.path}: no results of {reader.name}; it reads {reader.files}")
    return reader, _select_run(spec, logs)


def iterate_rows(spec: ResultSpec, log: ResultLog) -> Iterator[ResultRow | UnreadLine]:
    """Yield the rows of a log; raises UsageError if the files cannot be read any further."""
    with _read_errors(spec.path, log.tool):
        yield from log.rows()


@contextmanager
def _read_errors(path: Path, name: str) -> Iterator[None]:
    """Turn any error that another tool's files can cause into a UsageError."""
    try:
        yield
    except TunegateError:
        raise
    except (ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path}: cannot be read as results of {name} ({error_summary(error)})"
        ) from error


def _select_run(spec: ResultSpec, logs: list[ResultLog]) -> list[ResultLog]:
    runs = tuple(dict.fromkeys(log.run for log in logs))
    if spec.run:
        chosen = [log for log in logs if log.run == spec.run]
        if not chosen and runs == ("",):
            raise UsageError(f"results:{spec.path}: has one run without a name; remove #{spec.run}")
        if not chosen:
            raise UsageError(
                f"results:{spec.path}: {unknown_name_message(spec.run, runs, what='run')}"
            )
        return chosen
    if len(runs) > 1:
        named = ", ".join(f"#{run}" for run in runs[:20])
        raise UsageError(f"results:{spec.path}: has {len(runs)} runs; add one to the path: {named}")
    return logs


def find_reader(path: Path, name: str = "") -> ResultReader:
    """Return the reader called `name`, or the one that recognizes the path.

    Raises:
        UsageError: no reader recognizes it, or several do.
    """
    if name:
        return _reader(name)
    readers = [_reader(each) for each in lookup.available_names(ROOM)]
    for late in (False, True):
        matching = [reader for reader in readers if reader.last is late and reader.recognize(path)]
        if len(matching) > 1:
            names = " and ".join(reader.name for reader in matching)
            raise UsageError(f"{path}: may be {names}; name the format: results:{path}?format=NAME")
        if matching:
            return matching[0]
    forms = "; ".join(f"{reader.name} ({reader.files})" for reader in readers)
    raise UsageError(f"{path}: not recognized as results of a tool; there are: {forms}")


def _reader(name: str) -> ResultReader:
    found: ResultReader = lookup.find_object(ROOM, name, what="format of results")
    return found
