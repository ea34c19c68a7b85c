"""The contract of result readers: files that another tool left → its answers with their scores.

A reader is a function `<format>(path, *, options…) -> Iterable[ResultLog]` in
`harness/results/<format>.py`, or of the entry-point group `tunegate.results`, declared by

    @result_reader(files="OUT/samples_*.jsonl", recognize=is_mine)
    def mytool(path: Path, *, id: str = "") -> Iterator[ResultLog]: ...

It yields one `ResultLog` for each run in the files (a model, a provider), with what their headers
say, and `log.rows()` yields an answer at a time: `ResultRow`, or `UnreadLine` where a line cannot
be read. Rows may be asked for several times and should not be held in memory where the format can
be streamed. Options are texts, as they come from a spec: `results:a.csv?id=example`.

A reader is pure: it imports nothing of the tool, follows no path that a file names, unpacks
nothing onto the disk. It raises `UsageError` with one line (place, value, what is allowed, what to
do) for files that it cannot read and for unknown versions of a format; unknown fields are ignored.

What a reader must get right, as nothing after it can:

- `id` is the same for the same question in another run. The tool's own id where it is stable; a
  hash of the question (`content_id`) where it is a position or drawn at random.
- What failed has no score: an error of the call, a timeout, a score that was never computed. Some
  tools write 0 or `success: false` there. Say in `error` or `errors` what happened.
- A score's key is written as the tool writes it, with all that distinguishes it from others
  (`exact_match,strict-match`). Two scores of one name in a row are called `name#1` and `name#2`.

Example:
    >>> score_value("0.5"), score_value(True), score_value(float("nan"))
    ((0.5, None), (1.0, None), (None, 'the score is nan, which is no number'))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

from tunegate.harness.contracts import lookup, options
from tunegate.harness.records.episodes import EpisodeTurn
from tunegate.harness.records.errors import (
    SuiteError,
    TunegateError,
    UsageError,
    error_summary,
    unknown_name_message,
)
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.record import replace_surrogates
from tunegate.harness.records.scores import LARGEST

ROOM = "tunegate.harness.results"
LONGEST_ID = 190
"""Characters of a case id, which leave room for the number of an equal question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One answer of a run, with its scores."""

    id: str
    """Name of the question, the same in every run of the task."""
    where: str
    """Its place for messages: `samples_gsm8k.jsonl:17`, `log.eval: samples/3_epoch_1.json`."""
    task: str = ""
    """The task or data set within the run; empty where the tool has none."""
    sample: int | None = None
    """The tool's number of the repetition (epoch, trial), from whatever it starts at; None where it
    has no such number."""
    position: int | None = None
    """The tool's number of the question in its data, which orders questions that share an id; None
    where it has none."""
    prompt: str | Sequence[Mapping[str, Any]] | None = None
    """The prompt: a text, or turns with `role` and `content`; None if the file does not have it."""
    prompt_sha256: str | None = None
    """The tool's own hash of what was sent, where the prompt itself is not in the file."""
    completion: str | None = None
    """The answer; None if there is none, such as of log-likelihoods."""
    reasoning: str | None = None
    """The thoughts before the answer, where the tool keeps them apart."""
    scores: Mapping[str, float | None] = field(default_factory=dict)
    """Score key → finite number, or None if unscored; `score_value` converts."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """Score key → why it is unscored."""
    error: str | None = None
    """Why the whole answer failed; no score of such a row is read."""
    expected: str | Sequence[str] | None = None
    """The right answer, if the file has it."""
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_s: float | None = None
    """Seconds."""
    cost: float | None = None
    """US dollars."""
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The record as the tool wrote it, where tags and clusters of cases are looked up
    (`doc.subject`)."""

    @property
    def key(self) -> str:
        """Name of the question among all tasks, a valid case id: `gsm8k/1f3a`."""
        name = f"{self.task}/{self.id}" if self.task else self.id
        return name if len(name) <= LONGEST_ID else f"{name[:100]}…{content_id(name)}"

    @property
    def prompt_hash(self) -> str | None:
        """Hash by which the prompts of two runs are compared; None if nothing is known."""
        if self.prompt is None:
            return self.prompt_sha256
        text = self.prompt if isinstance(self.prompt, str) else [dict(t) for t in self.prompt]
        return content_id(text, length=64)


@dataclass(frozen=True, slots=True)
class UnreadLine:
    """A line or member of a file that cannot be read."""

    where: str
    problem: str
    """The problem, and the remedy."""
    cut: bool = False
    """Whether the file ends within it: the run was stopped, or is still writing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTraits:
    """Properties of a score in a tool's files; None if the files do not have them."""

    higher_is_better: bool | None = None
    range: tuple[float, float] | None = None
    """Smallest and largest possible value."""
    refused: str = ""
    """Why it cannot be compared by case, such as that it is made of the whole corpus."""


@dataclass(frozen=True, kw_only=True)
class ResultLog:
    """One run of a tool: its header and its answers."""

    tool: str
    """The tool's name."""
    rows: Callable[[], Iterator[ResultRow | UnreadLine]] = field(repr=False)
    """Yields the answers from the start each time it is called."""
    tool_version: str | None = None
    run: str = ""
    """Name of the run among those of the files (model, provider); a spec selects it behind `#`."""
    model: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that must be equal for two runs to be compared (chat template, system prompt,
    judge model, scorer options): name → value. Settings that merely differ between models do not
    belong here."""
    task_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Task → the same of that task alone (version, few-shot examples)."""
    tasks: tuple[str, ...] | None = None
    """The tasks of its rows where the header names them."""
    traits: Mapping[str, ScoreTraits] = field(default_factory=dict)
    """Score key → what is known of it; of one task, `task/key`."""
    repeats: bool = False
    """Whether the same id again is a further sample of the case. Otherwise rows with a `position`
    are questions of their own that happen to be equal, and others are an error."""
    notes: tuple[str, ...] = ()
    """Notes for the user: an older log that was not read, a run that ended early."""


ReadFunction = Callable[..., Iterable[ResultLog]]
TurnsFunction = Callable[[Mapping[str, Any]], tuple[EpisodeTurn, ...]]


@dataclass(frozen=True, slots=True)
class ResultReader:
    """A reader of one format."""

    name: str
    """Name of the format: that of its module."""
    read: ReadFunction
    """Called with the path and the options."""
    files: str
    """Which files it reads, for messages."""
    recognize: Callable[[Path], bool]
    """Whether a path holds this format, judged by names and the first bytes; raises nothing."""
    last: bool = False
    """Whether it is tried after all others, as it also takes files of theirs."""
    turns: TurnsFunction | None = None
    """Returns the turns of an episode from a row's `fields`; None where the files have none."""


def result_reader(
    *,
    files: str,
    recognize: Callable[[Path], bool],
    last: bool = False,
    turns: TurnsFunction | None = None,
) -> Callable[[ReadFunction], ResultReader]:
    """Declare a function as a reader; the arguments are the fields of `ResultReader`."""

    def declare(function: ReadFunction) -> ResultReader:
        return ResultReader(function.__name__, function, files, recognize, last, turns)

    return declare


NUMBERS: Mapping[str, float] = MappingProxyType(
    {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "pass": 1.0, "fail": 0.0}
)
"""Words that are a score in tables and exports, in small letters."""


def score_value(
    raw: Any, *, words: Mapping[str, float] = NUMBERS
) -> tuple[float | None, str | None]:
    """Return a score as a number and why there is none: exactly one of the two is None.

    Args:
        raw: What the file holds: a number, a truth value, a text of either, or nothing.
        words: Texts in small letters that are numbers, such as Inspect's `c`.
    """
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        return None, "there is no score"
    value = _number_in(raw.strip().lower(), words) if isinstance(raw, str) else raw
    if not isinstance(value, bool | int | float) or value != value or value in (_INF, -_INF):
        return None, f"the score is {_excerpt(raw)}, which is not a number"
    if abs(value) > LARGEST:
        return None, f"the score is {_excerpt(raw)}, too large to be a measurement"
    return float(value), None


def _number_in(text: str, words: Mapping[str, float]) -> float | None:
    """Return the number that a text spells; `1_000` is none."""
    if text in words:
        return words[text]
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


_INF = float("inf")


def _excerpt(raw: Any) -> str:
    """Return a value as messages write it; an int of thousands of digits cannot be written."""
    if isinstance(raw, int) and abs(raw) > LARGEST:
        return "a number of more than 100 digits"
    text = repr(raw)
    return text if len(text) <= 40 else f"{text[:39]}…"


def content_id(content: Any, *, length: int = 16) -> str:
    """Return a name made of a question's content: the first hex digits of its SHA-256.

    `content` is a text or a JSON value; numbers that JSON lacks are hashed by their text.
    """
    return sha256(_plain(replace_surrogates(content)))[:length]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def value_at(record: Any, place: str) -> Any:
    """Return a field of a record, one within another (`doc.subject`, `choices.0`), else None.

    A field whose own name has dots is found, too.
    """
    if isinstance(record, Mapping) and place in record:
        return record[place]
    value = record
    for step in place.split("."):
        if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return value


@dataclass(frozen=True, slots=True)
class ResultSpec:
    """The part of a spec after `results:`: `PATH[?format=FORMAT&option=value][#RUN]`."""

    path: Path
    run: str = ""
    """The wanted run of several."""
    format: str = ""
    """The reader; empty to recognise it by the files."""
    options: tuple[tuple[str, str], ...] = ()
    """The reader's options."""

    @classmethod
    def parse(cls, text: str, *, folder: Path = Path()) -> ResultSpec:
        """Return the parts of a spec; a path that exists as it is written is taken whole.

        Args:
            text: The spec without `results:`.
            folder: Where a relative path starts.

        Raises:
            UsageError: it is empty.
        """
        text = text.removeprefix("results:")
        if not text:
            raise UsageError("results: names no path; write results:FILE or results:FOLDER")
        if (folder / text).exists():
            return cls(folder / text)
        rest, _, run = text.partition("#")
        place, _, query = rest.partition("?")
        given = dict(parse_qsl(query, keep_blank_values=True))
        name = given.pop("format", "")
        return cls(folder / place, run, name, tuple(sorted(given.items())))


def read_logs(spec: ResultSpec) -> tuple[ResultReader, list[ResultLog]]:
    """Return the reader of a spec and the runs that it found, those of the selected name.

    Raises:
        UsageError: nothing is there, no reader or several recognise it, or the reader refuses it.
    """
    if not spec.path.exists():
        raise UsageError(f"results:{spec.path}: no such file or folder")
    reader = find_reader(spec.path, spec.format)
    try:
        bound = options.bind_options(
            reader.read, dict(spec.options), given=1, folder=Path(), where=f"results:{spec.path}"
        )
    except SuiteError as error:
        raise UsageError(str(error)) from error
    with _read_errors(spec.path, reader.name):
        logs = list(reader.read(spec.path, **bound))
    if not logs:
        raise UsageError(f"{spec.path}: no results of {reader.name}; it reads {reader.files}")
    return reader, _select_run(spec, logs)


def iterate_rows(spec: ResultSpec, log: ResultLog) -> Iterator[ResultRow | UnreadLine]:
    """Yield the rows of a log.

    Raises:
        UsageError: the files cannot be read any further, in one line.
    """
    with _read_errors(spec.path, log.tool):
        yield from log.rows()


@contextmanager
def _read_errors(path: Path, name: str) -> Iterator[None]:
    """Turn what foreign files can make a reader raise into one line; ours pass as they are."""
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
        found = [log for log in logs if log.run == spec.run]
        if not found and runs == ("",):
            raise UsageError(
                f"results:{spec.path}: holds one run without a name; remove #{spec.run}"
            )
        if not found:
            raise UsageError(
                f"results:{spec.path}: {unknown_name_message(spec.run, runs, what='run')}"
            )
        return found
    if len(runs) > 1:
        named = ", ".join(f"#{run}" for run in runs[:20])
        raise UsageError(
            f"results:{spec.path}: holds {len(runs)} runs; name one behind the path: {named}"
        )
    return logs


def find_reader(path: Path, name: str = "") -> ResultReader:
    """Return the reader called `name`, or the one that recognises the path.

    Raises:
        UsageError: none is called so, none recognises it, or more than one.
    """
    if name:
        return _reader(name)
    known = [_reader(each) for each in lookup.available_names(ROOM)]
    for late in (False, True):
        found = [one for one in known if one.last is late and one.recognize(path)]
        if len(found) > 1:
            names = " and ".join(one.name for one in found)
            raise UsageError(f"{path}: may be {names}; name the format: results:{path}?format=NAME")
        if found:
            return found[0]
    forms = "; ".join(f"{one.name} ({one.files})" for one in known)
    raise UsageError(f"{path}: not recognised as results of a tool; there are: {forms}")


def _reader(name: str) -> ResultReader:
    found: ResultReader = lookup.find_object(ROOM, name, what="format of results")
    return found
