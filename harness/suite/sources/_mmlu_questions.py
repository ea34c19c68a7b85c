"""MMLU's questions, in each of the three forms in which they are distributed.

The forms are the original folder of CSV files without a header (`test/<subject>_test.csv`:
question, A, B, C, D, answer letter), the hub's parquet files, and JSON lines; the latter two have
`question`, `subject`, `choices` and `answer`. A question's number counts from 0 within its subject,
which is the same in all three.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import SuiteError
from tunegate.harness.suite.sources import _text
from tunegate.harness.suite.sources.parquet import read_parquet

SPLITS = {"test": ("test",), "val": ("val", "validation"), "dev": ("dev",)}
"""Our name of a split → its names in files."""
PLACES = (
    "{0}/*_{0}.csv", "*_{0}.csv", "all/{0}-*.parquet", "*/{0}-*.parquet", "{0}*.parquet",
    "{0}.jsonl",
)  # fmt: skip
"""Where a split's files may be; the first place with files counts."""
COLUMNS = "question, A, B, C, D, answer letter"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class MmluQuestion:
    """A multiple-choice question and its place."""

    subject: str
    number: int
    """Position within the subject, from 0."""
    text: str
    choices: tuple[str, ...]
    answer: int
    """Index of the right choice."""
    where: str


@dataclass
class MmluReading:
    """Rows that were read, and their problems."""

    wanted: Sequence[str]
    """The subjects to keep; empty keeps all."""
    questions: dict[str, list[MmluQuestion]] = field(default_factory=dict)
    """Subject → its questions, in the order of the files."""
    problems: list[str] = field(default_factory=list)

    def add_rows(self, rows: Iterator[_text.Row], subject: str = "") -> None:
        """Add rows with their places; a text instead of a row is its error."""
        for where, row in rows:
            try:
                if isinstance(row, str):
                    raise ValueError(row)
                name = subject or _subject(row)
                mine = self.questions.setdefault(name, [])
                if not self.wanted or name in self.wanted:
                    mine.append(_question(row, name, len(mine), where))
            except ValueError as error:
                self.problems.append(f"{where}: {error}")


def split_files(root: Path, split: str) -> list[Path]:
    """Return the files of a split: `root` itself, or those inside it.

    Raises:
        SuiteError: the split has no files.
    """
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise SuiteError([f"{root}: no such file or folder; paths start at the suite's folder"])
    for name in SPLITS[split]:
        for place in PLACES:
            files = sorted(root.glob(place.format(name)))
            if files:
                return files
    raise SuiteError(
        [
            f"{root}: no questions of the split {split!r}; expected {split}/<subject>_{split}.csv, "
            f"{split}-*.parquet or {split}.jsonl"
        ]
    )


def read_questions(root: Path, split: str, wanted: Sequence[str]) -> MmluReading:
    """Return the questions of a split (`test`, `val` or `dev`) on the wanted subjects.

    Of other subjects only the names are read. An empty `wanted` reads all.
    """
    reading = MmluReading(wanted)
    for path in split_files(root, split):
        if path.suffix == ".csv":
            subject = _subject_of(path)
            reading.questions.setdefault(subject, [])
            if not wanted or subject in wanted:
                reading.add_rows(_csv(path), subject)
        elif path.suffix == ".parquet":
            rows = enumerate(read_parquet(path).to_pylist(), start=1)
            reading.add_rows((f"{path}: row {number}", row) for number, row in rows)
        elif path.suffix == ".jsonl":
            reading.add_rows(_text.json_rows(path, form="write one question a line"))
        else:
            raise SuiteError([f"{path}: unknown form; give .csv, .parquet or .jsonl"])
    return reading


def _subject_of(path: Path) -> str:
    """Return the subject of `anatomy_test.csv`."""
    names = (name for spellings in SPLITS.values() for name in spellings)
    return next(
        (path.stem.removesuffix(f"_{n}") for n in names if path.stem.endswith(f"_{n}")), path.stem
    )


def _csv(path: Path) -> Iterator[_text.Row]:
    text = _text.read_text(path, form=f"one question a line: {COLUMNS}")
    for line, fields in _text.csv_lines(text):
        where = f"{path}:{line}"
        if isinstance(fields, str):
            yield where, fields
        elif len(fields) == 6:
            question, *choices, letter = fields
            yield where, {"question": question, "choices": choices, "answer": letter}
        else:
            yield (
                where,
                f"{len(fields)} columns, expected 6 ({COLUMNS}); quote a text that has commas in "
                "it",
            )


def _subject(row: Mapping[str, Any]) -> str:
    subject = row.get("subject")
    if not isinstance(subject, str) or not subject:
        raise ValueError(f"subject={subject!r} must be a text")
    return subject


def _question(row: Mapping[str, Any], subject: str, number: int, where: str) -> MmluQuestion:
    text, choices, answer = (row.get(key) for key in ("question", "choices", "answer"))
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"question={text!r} must be a text")
    if not isinstance(choices, list) or not 2 <= len(choices) <= len(LETTERS):
        raise ValueError(f"choices={choices!r} must be a list of 2 to {len(LETTERS)} texts")
    if not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise ValueError(f"choices={choices!r}: each must be a text")
    letters = LETTERS[: len(choices)]
    if isinstance(answer, str) and len(answer.strip()) == 1 and answer.strip() in letters:
        answer = letters.index(answer.strip())
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise ValueError(
            f"answer={answer!r} must be a letter from A to {letters[-1]}, or an index from 0 to "
            f"{len(choices) - 1}"
        )
    return MmluQuestion(subject, number, text, tuple(choices), answer, where)
