r"""The results of one run of another tool, by case and sample.

Rows with the same key are samples of one case if the tool repeats questions (`ResultLog.repeats`).
Otherwise they are separate cases that happen to be equal, `gsm8k/1f3a` and `gsm8k/1f3a#2`, in the
order of their positions in the data. Cases and samples do not depend on the order of the lines.

Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.csv")
    ...     _ = path.write_text("id,sample,score\nr1,0,1\nr1,1,0\n")
    ...     found = read_results(str(path))
    >>> found.cases, found.samples, found.answers["r1", 1].scores
    (('r1',), 2, {'score': 0.0})
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    ScoreTraits,
    UnreadLine,
    content_id,
)
from tunegate.harness.contracts.result_spec import ResultSpec, iterate_rows, read_logs
from tunegate.harness.records.answers import Completion, reported_amount
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.hashing import canonical_json, sha256
from tunegate.harness.records.recorded_answer import RecordedRequest
from tunegate.harness.records.wording import count_noun

MOST_PROBLEMS = 20


@dataclass(frozen=True)
class ScoreSummary:
    """The values of one score in one task."""

    task: str
    key: str
    values: int
    """Samples that have a number."""
    unscored: int
    """Samples without one, including failed answers."""
    reason: str
    """Why one of them is unscored; empty if all are scored."""
    low: float
    high: float
    binary: bool
    """Whether all values are 0 or 1."""
    traits: ScoreTraits


@dataclass(frozen=True)
class ResultSet:
    """The results of one run."""

    spec: ResultSpec
    logs: tuple[ResultLog, ...] = field(repr=False)
    answers: Mapping[tuple[str, int], ResultRow] = field(repr=False)
    """(case, sample from 0) → answer, sorted. It has no prompt and fields, and hashes instead of
    the right answer and the values of its rules."""
    unread: tuple[UnreadLine, ...] = ()
    """Lines that could not be read."""

    @property
    def tool(self) -> str:
        """The tool's name."""
        return self.logs[0].tool

    @cached_property
    def cases(self) -> tuple[str, ...]:
        """The case ids, sorted."""
        return tuple(dict.fromkeys(case for case, _ in self.answers))

    @cached_property
    def case_set(self) -> frozenset[str]:
        """The case ids."""
        return frozenset(self.cases)

    @cached_property
    def tasks(self) -> Mapping[str, int]:
        """Task → its cases."""
        return Counter(row.task for (_, sample), row in self.answers.items() if sample == 0)

    @cached_property
    def samples(self) -> int:
        """How many samples most cases have."""
        counts = Counter(Counter(case for case, _ in self.answers).values())
        return max(counts, key=lambda size: (counts[size], size), default=1)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The models that the headers name."""
        return tuple(dict.fromkeys(log.model for log in self.logs if log.model))

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user about the files."""
        lines = [note for log in self.logs for note in log.notes]
        lines += [f"{line.where}: {line.problem}; the file ends there" for line in self._cut]
        broken = [line for line in self.unread if not line.cut]
        if broken:
            lines.append(
                f"{count_noun(len(broken), 'line')} cannot be read, {broken[0].where} for example"
            )
        return tuple(lines)

    @property
    def _cut(self) -> list[UnreadLine]:
        return [line for line in self.unread if line.cut]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all answers and scores, in any order of lines and under any file name."""
        digest = [
            sha256(canonical_json([case, sample, *_content(row)]))
            for (case, sample), row in self.answers.items()
        ]
        return sha256("".join(digest))

    def settings(self, task: str) -> dict[str, Any]:
        """Return the settings that must be equal in another run of the task: name → value.

        None is a setting that was not set; an absent one is unknown.
        """
        settings: dict[str, Any] = {}
        for log in self.logs:
            if log.tasks is None or task in log.tasks:
                settings |= log.settings
                settings |= log.task_settings.get(task, {})
        return {
            name: None if value in _EMPTY else without_addresses(value)
            for name, value in settings.items()
        }

    def traits(self, task: str, key: str) -> ScoreTraits:
        """Return the properties of a score in the files."""
        traits = ScoreTraits()
        for log in self.logs:
            for name in (key, f"{task}/{key}"):
                traits = log.traits.get(name, traits)
        return traits

    @cached_property
    def scores(self) -> tuple[ScoreSummary, ...]:
        """Every score of every task, in the order of tasks and keys."""
        values: dict[tuple[str, str], list[float]] = {}
        reasons: dict[tuple[str, str], str] = {}
        counts = Counter(row.task for row in self.answers.values())
        for row in self.answers.values():
            for key, value in row.scores.items():
                seen = values.setdefault((row.task, key), [])
                if value is not None and row.error is None:
                    seen.append(value)
                else:
                    why = row.error or row.errors.get(key) or "the tool left it unscored"
                    reasons.setdefault((row.task, key), why)
        return tuple(
            ScoreSummary(
                task=task,
                key=key,
                values=len(seen),
                unscored=counts[task] - len(seen),
                reason=reasons.get(
                    (task, key), "" if len(seen) == counts[task] else "the tool wrote none"
                ),
                low=min(seen, default=0.0),
                high=max(seen, default=0.0),
                binary=bool(seen) and set(seen) <= {0.0, 1.0},
                traits=self.traits(task, key),
            )
            for (task, key), seen in sorted(values.items())
        )

    def rows(self) -> Iterator[tuple[str, ResultRow]]:
        """Yield each case with the whole row of its first sample, in the order of the files."""
        first = {row.where: case for (case, sample), row in self.answers.items() if sample == 0}
        for log in self.logs:
            for row in iterate_rows(self.spec, log):
                if isinstance(row, ResultRow) and row.where in first:
                    yield first[row.where], row

    def request(self, case: str) -> RecordedRequest | None:
        """Return what the files say about a case besides its texts; None if it has no result."""
        row = self.answers.get((case, 0))
        if row is None:
            return None
        settings, definitions = self._rules[row.task]
        rules = {key: (rule, row.score_rules.get(key)) for key, rule in definitions.items()}
        return RecordedRequest(
            content_sha256=row.prompt_sha256,
            expected_sha256=None if row.expected is None else str(row.expected),
            rules={**row.rules, **settings},
            score_rules={key: content_id(rules[key]) for key in rules if any(rules[key])},
        )

    @cached_property
    def requests(self) -> Mapping[str, RecordedRequest | None]:
        """Case → what the files say about it, with its prompt: all files are read again."""
        requests = {}
        for case, row in self.rows():
            request = self.request(case)
            if request is not None and row.prompt is not None:
                text = isinstance(row.prompt, str)
                prompt = {"prompt": row.prompt} if text else {"messages": tuple(row.prompt)}
                request = request.model_copy(update=prompt)
            requests[case] = request
        return requests

    @property
    def failures(self) -> dict[tuple[str, str, int], str]:
        """(any suite, case, sample) → why the answer has no score."""
        failures = {}
        for (case, sample), row in self.answers.items():
            if (case, self.samples) in self.answers:  # which of them count is not known
                why = f"{self.tool}: more than {count_noun(self.samples, 'sample')} of the case"
                failures["", case, sample] = why
            elif row.error is not None:
                failures["", case, sample] = f"{self.tool}: {row.error}"
        return failures

    @cached_property
    def _rules(self) -> Mapping[str, tuple[Mapping[str, str], Mapping[str, Any]]]:
        """Task → hash of its settings, and score → what made it."""
        rules = {}
        for task in self.tasks:
            settings = self.settings(task)
            keys = sorted({summary.key for summary in self.scores if summary.task == task})
            rules[task] = (
                {"settings": content_id(settings)} if settings else {},
                {key: without_addresses(self.traits(task, key).rule) for key in keys},
            )
        return rules

    def row(self, case: str) -> ResultRow | None:
        """Return the first sample of a case, read again from the file; None if it is not there."""
        return next((row for name, row in self.rows() if name == case), None)


def read_results(spec: str | ResultSpec) -> ResultSet:
    """Read the results of a spec, with or without `results:`.

    Raises:
        UsageError: the files cannot be read, or rows contradict each other.
    """
    parsed = ResultSpec.parse(spec) if isinstance(spec, str) else spec
    _, logs = read_logs(parsed)
    unread: list[UnreadLine] = []
    samples: dict[str, list[ResultRow]] = {}
    equals: dict[str, list[ResultRow]] = {}
    for log in logs:
        groups = samples if log.repeats else equals
        for row in iterate_rows(parsed, log):
            if isinstance(row, UnreadLine):
                unread.append(row)
            else:
                groups.setdefault(row.key, []).append(_without_texts(row))
    answers = _number_answers(samples, equals)
    if not answers:
        where = f", {unread[0].where}: {unread[0].problem}" if unread else ""
        raise UsageError(f"results:{parsed.path}: no results that can be read{where}")
    return ResultSet(parsed, tuple(logs), dict(sorted(answers.items())), tuple(unread))


def _number_answers(
    samples: Mapping[str, list[ResultRow]], equals: Mapping[str, list[ResultRow]]
) -> dict[tuple[str, int], ResultRow]:
    """Return (case, sample) → row, for rows by key: repetitions, and equal questions."""
    problems: list[str] = [
        f"{rows[0].where}: {key!r} is in a log with repetitions and at {equals[key][0].where}"
        for key, rows in samples.items()
        if key in equals
    ]
    answers: dict[tuple[str, int], ResultRow] = {}
    for key, rows in samples.items():
        problems += _sample_problems(key, rows)
        answers |= {(key, at): row for at, row in enumerate(_sort_samples(rows))}
    for key, rows in equals.items():
        problems += _position_problems(key, rows)
        ordered = sorted(rows, key=lambda row: (row.position or 0, row.where))
        for number, row in enumerate(ordered, start=1):
            name = key if number == 1 else f"{key}#{number}"
            if (name, 0) in answers:
                problems.append(f"{row.where}: the id {name!r} is taken; rename it")
            answers[name, 0] = row
    _refuse(problems)
    return answers


@dataclass(frozen=True, slots=True)
class ResultCompletions(Mapping[tuple[str, str, int], Completion]):
    """(any suite, case, sample) → completion, made when it is asked for: rows take less memory."""

    answers: Mapping[tuple[str, int], ResultRow]

    def __getitem__(self, key: tuple[str, str, int]) -> Completion:
        suite, case, sample = key
        if suite:
            raise KeyError(key)
        return completion_of(self.answers[case, sample])

    def __iter__(self) -> Iterator[tuple[str, str, int]]:
        return (("", case, sample) for case, sample in self.answers)

    def __len__(self) -> int:
        return len(self.answers)


def completion_of(row: ResultRow) -> Completion:
    """Return a row as a completion with its scores."""
    return Completion(
        text=row.completion,
        reasoning=row.reasoning,
        reasoning_closed=None if row.reasoning is None else bool((row.completion or "").strip()),
        finish_reason=row.finish_reason,
        input_tokens=reported_amount(row.input_tokens),
        output_tokens=reported_amount(row.output_tokens),
        latency_s=reported_amount(row.latency_s),
        cost=reported_amount(row.cost),
        scores=dict(row.scores),
        errors=dict(row.errors) or None,
        prompt_sha256=row.prompt_sha256,
        beyond_text=None if row.whole else True,
    )


def _without_texts(row: ResultRow) -> ResultRow:
    """Return a row with hashes instead of texts that are only compared: two runs fit in memory."""
    return replace(
        row,
        prompt=None,
        # The prompt of a failure may be incomplete.
        prompt_sha256=None if row.error else row.prompt_hash,
        expected=None if row.expected is None else expected_hash(row.expected),
        rules=_hashes(row.rules),
        score_rules=_hashes(row.score_rules),
        fields={},
        task=sys.intern(row.task),
        scores={sys.intern(key): value for key, value in row.scores.items()},
    )


def _hashes(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        sys.intern(name): sys.intern(content_id(without_addresses(value)))
        for name, value in values.items()
    }


def expected_hash(expected: str | Sequence[str]) -> str:
    """Return the hash of a right answer, or of several in any order."""
    several = [expected] if isinstance(expected, str) else expected
    return content_id(sorted({str(one).strip() for one in several}))


_EMPTY: tuple[Any, ...] = ("", [], {}, ())
"""What versions of a tool write, besides None, for a setting that was not set."""
_ADDRESS = re.compile(r"(?<= at )0x[0-9a-fA-F]+")


def without_addresses(value: Any) -> Any:
    """Return a value whose texts do not have the addresses of objects, new in each process."""
    if isinstance(value, str):
        return _ADDRESS.sub("…", value)
    if isinstance(value, Mapping):
        return {key: without_addresses(item) for key, item in value.items()}
    return [without_addresses(item) for item in value] if isinstance(value, list | tuple) else value


def _content(row: ResultRow) -> list[Any]:
    """Return what identifies an answer."""
    scores = {key: row.scores[key] for key in sorted(row.scores)}
    thoughts = [] if row.reasoning is None else [row.reasoning]
    return [row.completion, row.error, scores, row.prompt_sha256, *thoughts]


def _sort_samples(rows: list[ResultRow]) -> list[ResultRow]:
    """Return the samples by the tool's number, or else by content."""
    return sorted(rows, key=lambda row: (row.sample or 0, canonical_json(_content(row)), row.where))


def _sample_problems(key: str, rows: list[ResultRow]) -> Iterator[str]:
    numbers: dict[int, ResultRow] = {}
    first: ResultRow | None = None
    for row in rows:
        if row.prompt_sha256 is not None:
            first = first or row
            if row.prompt_sha256 != first.prompt_sha256:
                yield (
                    f"{row.where}: {key!r} has another prompt than at {first.where}; an id must "
                    "be one question"
                )
                return
        if row.sample is None:
            continue
        if row.sample in numbers:
            yield (
                f"{row.where}: {key!r}, sample {row.sample}, is already at "
                f"{numbers[row.sample].where}; remove one"
            )
            return
        numbers[row.sample] = row


def _position_problems(key: str, rows: list[ResultRow]) -> Iterator[str]:
    taken: dict[int | None, ResultRow] = {}
    for row in rows:
        if row.position in taken:
            yield (
                f"{row.where}: {key!r} is already at {taken[row.position].where}; remove one, or "
                "name the field that numbers the repetitions"
            )
            return
        taken[row.position] = row


def _refuse(problems: list[str]) -> None:
    if problems:
        more = len(problems) - MOST_PROBLEMS
        raise UsageError(
            "\n".join([*problems[:MOST_PROBLEMS], *([f"… and {more} more"] if more > 0 else [])])
        )


def results_of(arm: object) -> ResultSet | None:
    """Return the results of another tool that an arm answers from; None of any other arm."""
    found: ResultSet | None = getattr(arm, "results", None)
    return found
