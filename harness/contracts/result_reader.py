"""The contract of result readers: another tool's files → its answers with their scores.

A reader is a function `<format>(path, *, options…) -> Iterable[ResultLog]` in
`harness/results/<format>.py`, or of the entry-point group `tunegate.results`, declared by

    @result_reader(files="OUT/samples_*.jsonl", recognize=is_mine)
    def mytool(path: Path, *, id: str = "") -> Iterator[ResultLog]: ...

It yields one `ResultLog` for each run in the files (a model, a provider), with the facts of their
headers. `log.rows()` yields the answers: `ResultRow`, or `UnreadLine` if a line cannot be read. It
may be called several times, and should stream if the format allows it. Options are texts, as in the
spec `results:a.csv?id=example`.

A reader is pure: it does not import the tool, follow paths in files, or unpack onto the disk. It
raises `UsageError` with one line (place, value, what is allowed, what to do) for files that it
cannot read and for unknown versions of a format; unknown fields are ignored.

A reader must get these right:

- `id` is the same for the same question in another run: the tool's own id if it is stable, or a
  hash of the question (`content_id`) if it is a position or random.
- What failed has no score: an error of the call, a timeout, a score that was never computed, even
  if the tool writes 0 or `success: false` there. Say in `error` or `errors` what happened.
- A score's key is the tool's, with everything that distinguishes it from others
  (`exact_match,strict-match`). Two scores of one name in a row are called `name#1` and `name#2`.
- All that the files say about the right answers and the rule that scored is in `expected`, `rules`,
  `score_rules`, `settings` and `ScoreTraits.rule`: filters, assertions, arguments of metrics,
  judges, limits, sampling. None is a setting that was not set; leave out what the files do not say.
  Names of models, dates, paths, devices and batch sizes may differ between two honest runs and do
  not belong there.

Example:
    >>> score_value("0.5"), score_value(True), score_value(float("nan"))
    ((0.5, None), (1.0, None), (None, 'the score is nan, which is not a number'))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tunegate.harness.records.episodes import EpisodeTurn
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.record import replace_surrogates
from tunegate.harness.records.scores import LARGEST

LONGEST_ID = 190
"""Characters of a case id, with room for the number of an equal question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One answer of a run, with its scores."""

    id: str
    """Name of the question, the same in every run of the task."""
    where: str
    """Its place for messages: `samples_gsm8k.jsonl:17`, `log.eval: samples/3_epoch_1.json`."""
    task: str = ""
    """The task or data set within the run; empty if the tool has none."""
    sample: int | None = None
    """The tool's number of the repetition (epoch, trial), with any start; None if it has none."""
    position: int | None = None
    """The tool's number of the question in its data, which orders questions that share an id."""
    prompt: str | Sequence[Mapping[str, Any]] | None = None
    """A text, or turns with `role` and `content`; None if the file does not have it."""
    prompt_sha256: str | None = None
    """The tool's own hash of what was sent, if the prompt is not in the file."""
    completion: str | None = None
    """The answer; None without text, such as for log-likelihoods."""
    reasoning: str | None = None
    """The thoughts before the answer, if the tool keeps them apart."""
    scores: Mapping[str, float | None] = field(default_factory=dict)
    """Score key → finite number, or None if unscored; `score_value` converts."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """Score key → why it is unscored."""
    error: str | None = None
    """Why the whole answer failed; the row's scores are then ignored."""
    expected: str | Sequence[str] | None = None
    """The right answer, or several that all count, if the file has them."""
    rules: Mapping[str, Any] = field(default_factory=dict)
    """What this answer alone was generated or scored by (its limit, its variables): name → value,
    which must be equal in both runs."""
    score_rules: Mapping[str, Any] = field(default_factory=dict)
    """Score key → what made this score alone (its assertions, its judge)."""
    whole: bool = True
    """Whether a scorer can read nothing but `completion` and `reasoning`; False for an agent, whose
    calls count as well, and for one of several answers that are scored together."""
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_s: float | None = None
    """Seconds."""
    cost: float | None = None
    """US dollars."""
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The tool's record, in which tags and clusters of cases are looked up (`doc.subject`)."""

    @property
    def key(self) -> str:
        """Name of the question among all tasks, a valid case id: `gsm8k/1f3a`."""
        name = f"{self.task}/{self.id}" if self.task else self.id
        return name if len(name) <= LONGEST_ID else f"{name[:100]}…{content_id(name)}"

    @property
    def prompt_hash(self) -> str | None:
        """Hash by which the prompts of two runs are compared; None if unknown."""
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
    """Whether the file ends within it, since the run was stopped or is still writing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTraits:
    """Properties of a score in a tool's files; None if the files do not have them."""

    higher_is_better: bool | None = None
    range: tuple[float, float] | None = None
    """Smallest and largest possible value."""
    refused: str = ""
    """Why it cannot be compared by case, such as being a corpus score."""
    rule: Mapping[str, Any] | None = None
    """What made this score alone (its metric with all arguments, its filter): name → value."""
    deterministic: bool | None = None
    """False if equal answers may get other scores, as from a judge or for times."""


@dataclass(frozen=True, kw_only=True)
class ResultLog:
    """One run of a tool: its header and its answers."""

    tool: str
    """The tool's name."""
    rows: Callable[[], Iterator[ResultRow | UnreadLine]] = field(repr=False)
    """Yields the answers from the start each time it is called."""
    tool_version: str | None = None
    run: str = ""
    """Name of the run in the files (model, provider), which a spec selects after `#`."""
    model: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that must be equal for two runs to be compared (chat template, system prompt, judge
    model, scorer options): name → value, None if not set. Settings that may differ between models
    do not belong here, and names that the files do not have are absent: they are unknown."""
    task_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Task → settings of that task alone (version, few-shot examples)."""
    tasks: tuple[str, ...] | None = None
    """The tasks of its rows, if the header names them."""
    traits: Mapping[str, ScoreTraits] = field(default_factory=dict)
    """Score key, or `task/key`, → its properties."""
    repeats: bool = False
    """Whether rows with the same id are samples of one case. If not, those with a `position` are
    separate questions that happen to be equal, and others are an error."""
    notes: tuple[str, ...] = ()
    """Notes for the user: an older log that was not read, a run that ended early."""


ReadFunction = Callable[..., Iterable[ResultLog]]
TurnsFunction = Callable[[Mapping[str, Any]], tuple[EpisodeTurn, ...]]


@dataclass(frozen=True, slots=True)
class ResultReader:
    """A reader of one format."""

    name: str
    """Name of the format, and of its module."""
    read: ReadFunction
    """Called with the path and the options."""
    files: str
    """Which files it reads, for messages."""
    recognize: Callable[[Path], bool]
    """Whether a path has this format, by names and the first bytes; raises nothing."""
    last: bool = False
    """Whether it is tried after all others, since it also takes their files."""
    turns: TurnsFunction | None = None
    """Returns the turns of an episode from a row's `fields`; None if the files have none."""


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
"""Words that are scores in tables and exports, in lower case."""


def score_value(
    raw: Any, *, words: Mapping[str, float] = NUMBERS
) -> tuple[float | None, str | None]:
    """Return a score as a number, or else the reason why it is missing.

    Args:
        raw: The value in the file: a number, a bool, a text of either, or None.
        words: Lower-case texts that are numbers, such as Inspect's `c`.
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
    """Return the number that a text spells, or None; `1_000` is not a number."""
    if text in words:
        return words[text]
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


_INF = float("inf")


def _excerpt(raw: Any) -> str:
    """Return a value for a message; Python refuses to write ints of thousands of digits."""
    if isinstance(raw, int) and abs(raw) > LARGEST:
        return "a number of more than 100 digits"
    text = repr(raw)
    return text if len(text) <= 40 else f"{text[:39]}…"


def content_id(content: Any, *, length: int = 16) -> str:
    """Return a name for a question: the first hex digits of the SHA-256 of its text or JSON value.

    Numbers that JSON lacks are hashed by their text.
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
    """Return a field of a record (`doc.subject`, `choices.0`, or a name with dots), else None."""
    if isinstance(record, Mapping) and place in record:
        return record[place]
    value = record
    for step in place.split("."):
        if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return value
