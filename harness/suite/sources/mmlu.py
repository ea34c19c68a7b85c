"""Cases from MMLU (Hendrycks et al. 2021, arXiv:2009.03300), or from questions of its form.

Example:
    [cases]
    from = "mmlu"
    path = "../data/mmlu"       # the original CSV folder, or parquet or JSON lines
    subjects = ["anatomy", "virology"]
    per_subject = 25
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tunegate.harness.contracts.source import make_case
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError, unknown_name_message
from tunegate.harness.suite.sources import _text
from tunegate.harness.suite.sources._table import draw_positions, read_parquet

TEMPLATE = """\
name = "{name}"

[cases]
from = "mmlu"
path = "data"              # folder with test/ and dev/: MMLU's CSV files, parquet or JSON lines
per_subject = 5            # questions of each subject, drawn by a seed; more prove smaller losses
few_shot = 5               # answered questions of the subject in front, from dev/
style = "text"             # scores the text of each answer; "letters" lists them and scores A to D

[generation]
template = "none"

[[metrics]]
use = "choice_probability" # continuous: it falls before the first answer flips

[[metrics]]
use = "choice_accuracy"    # shown, and every flipped question listed

[[gates]]
metric = "choice_probability"
tolerance = 0.02           # the right answer may lose two points of probability at most

# Accuracy takes several times the cases, and proves nothing where base may be guessing: such a gate
# stays undecided until base is proven above chance plus the tolerance.
# [[gates]]
# metric = "choice_accuracy"
# tolerance = 0.05
"""
"""`tunegate suite new --template mmlu`: text of suite.toml with a place for the suite's name."""


def mmlu(  # noqa: PLR0913 - each is a key of the suite file
    folder: Path,
    *,
    path: str,
    subjects: tuple[str, ...] = (),
    per_subject: Annotated[int, Field(ge=1)] | None = None,
    seed: int = 0,
    few_shot: Annotated[int, Field(ge=0)] = 0,
    split: Literal["test", "val", "dev"] = "test",
    style: Literal["text", "letters"] = "text",
) -> Iterator[Case]:
    """Yield one case a question, subject by subject; its tag is its subject.

    Set `template = "none"` under [generation]: the prompts are plain text.

    Args:
        folder: The suite's folder.
        path: Folder or file of the questions, from the suite's folder.
        subjects: The subjects to take; all of them if none is named.
        per_subject: How many questions of each, drawn by `seed`; all if it is not set. A smaller
            draw is part of a larger one, so what was answered for it is not asked again.
        seed: Seed of the draw; each subject draws for itself.
        few_shot: How many of the subject's `dev` questions are put in front, answered.
        split: Which part of the data.
        style: `text` hides the options and scores the text of each after "Answer:", as in
            general_knowledge; small models are at chance on letters. `letters` lists the options
            and scores A to D, with the prompt of lm-eval's mmlu.

    Raises:
        SuiteError: files, subjects or questions are missing, or rows are broken: all that is.
    """
    root = folder / path
    asked = read_questions(root, split, subjects)
    problems = [*asked.problems, *_unknown_subjects(root, subjects, asked)]
    taken = {name: found for name, found in sorted(asked.questions.items()) if found}
    problems += _too_few(root, taken, "per_subject", per_subject, split)
    shots: Mapping[str, Sequence[MmluQuestion]] = {}
    if few_shot and split == "dev":
        problems.append(f"{root}: split='dev' holds the few-shot questions; leave few_shot out")
    elif few_shot and root.is_file():
        problems.append(f"{root}: few_shot={few_shot} needs the folder that holds test and dev")
    elif few_shot:
        dev = read_questions(root, "dev", subjects)
        shots = {name: dev.questions.get(name, []) for name in taken}
        problems += [*dev.problems, *_too_few(root, shots, "few_shot", few_shot, "dev")]
    if problems:
        raise SuiteError(problems)
    for subject, questions in taken.items():
        header = _header(subject, shots.get(subject, ())[:few_shot], style)
        for question in _draw(questions, per_subject, seed):
            yield _case(question, header, style)


def _unknown_subjects(root: Path, subjects: Sequence[str], asked: MmluReading) -> Iterator[str]:
    there = tuple(sorted(asked.questions))
    for name in subjects:
        if name not in there:
            yield f"{root}: {unknown_name_message(name, there, what='subject')}"


def _too_few(
    root: Path,
    found: Mapping[str, Sequence[MmluQuestion]],
    option: str,
    wanted: int | None,
    split: str,
) -> Iterator[str]:
    """Yield one line if a subject has fewer questions than are wanted of each."""
    counts = {name: len(questions) for name, questions in found.items()}
    short = [name for name, count in counts.items() if count < (wanted or 0)]
    if short:
        least = min(short, key=lambda name: counts[name])
        more = f" (the fewest of {len(short)} subjects that fall short)" if len(short) > 1 else ""
        yield (
            f"{root}: {option}={wanted}, but {least!r} has {counts[least]} {split} questions"
            f"{more}; at most {counts[least]}"
        )


def _draw(
    questions: Sequence[MmluQuestion], count: int | None, seed: int
) -> Sequence[MmluQuestion]:
    """Return `count` of a subject's questions in their order."""
    if count is None:
        return questions
    taken = draw_positions(len(questions), count, f"{seed}:{questions[0].subject}")
    return [questions[i] for i in taken]


def _header(subject: str, shots: Sequence[MmluQuestion], style: str) -> str:
    """Return what is in front of every question of a subject."""
    answered = "".join(
        f"{_ask(shot, style)} {_choices(shot, style)[shot.answer]}\n\n" for shot in shots
    )
    if style == "text":
        return answered
    topic = subject.replace("_", " ")
    return (
        f"The following are multiple choice questions (with answers) about {topic}.\n\n{answered}"
    )


def _ask(question: MmluQuestion, style: str) -> str:
    text = question.text.strip()
    if style == "text":
        return f"Question: {text}\nAnswer:"
    options = zip(LETTERS, question.choices, strict=False)
    return "\n".join([text, *(f"{letter}. {choice}" for letter, choice in options), "Answer:"])


def _choices(question: MmluQuestion, style: str) -> list[str]:
    if style == "letters":
        return list(LETTERS[: len(question.choices)])
    return [choice.strip() for choice in question.choices]


def _case(question: MmluQuestion, header: str, style: str) -> Case:
    choices = _choices(question, style)
    return make_case(
        {
            "id": f"mmlu:{question.subject}:{question.number}",
            "prompt": header + _ask(question, style),
            "expected": choices[question.answer],
            "choices": choices,
            "answer": question.answer,
            "tags": [question.subject],
        },
        question.where,
    )


# The questions of MMLU, in whichever form they are on the disk.
#
# Three forms are read: the original folder of CSV files without a header
# (`test/<subject>_test.csv`: question, A, B, C, D, answer letter), the hub's parquet files, and
# JSON lines; the latter two with `question`, `subject`, `choices` and `answer`. A question's
# number counts from 0 within its subject, which is the same in all three.


SPLITS = {"test": ("test",), "val": ("val", "validation"), "dev": ("dev",)}
"""Our name of a split → the names that files go by."""
PLACES = (
    "{0}/*_{0}.csv", "*_{0}.csv", "all/{0}-*.parquet", "*/{0}-*.parquet", "{0}*.parquet",
    "{0}.jsonl",
)  # fmt: skip
"""Where a split's files are in a folder; the first place that has any counts."""
COLUMNS = "question, A, B, C, D, answer letter"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class MmluQuestion:
    """A multiple-choice question and its place."""

    subject: str
    number: int
    """Position within the subject's questions, from 0."""
    text: str
    choices: tuple[str, ...]
    answer: int
    """Index of the right choice."""
    where: str


@dataclass
class MmluReading:
    """Rows that were read, and their problems."""

    wanted: Sequence[str]
    """The subjects to keep; all of them if there are none."""
    questions: dict[str, list[MmluQuestion]] = field(default_factory=dict)
    """Subject → its questions, in the order of the files."""
    problems: list[str] = field(default_factory=list)

    def rows(self, rows: Iterator[_text.Row], subject: str = "") -> None:
        """Add rows, each with its place; a text in place of a row is its error message."""
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
    """Return the files of a split: `root` itself, or those that are in it.

    Raises:
        SuiteError: there are none.
    """
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise SuiteError([f"{root}: no such file or folder; paths start at the suite's folder"])
    for name in SPLITS[split]:
        for place in PLACES:
            found = sorted(root.glob(place.format(name)))
            if found:
                return found
    raise SuiteError(
        [
            f"{root}: no questions of the split {split!r}; expected {split}/<subject>_{split}.csv, "
            f"{split}-*.parquet or {split}.jsonl"
        ]
    )


def read_questions(root: Path, split: str, wanted: Sequence[str]) -> MmluReading:
    """Return the questions of a split.

    Args:
        root: File or folder.
        split: `test`, `val` or `dev`.
        wanted: The subjects to read; the others are known by name only. All if there are none.
    """
    reading = MmluReading(wanted)
    for path in split_files(root, split):
        if path.suffix == ".csv":
            subject = _subject_of(path)
            reading.questions.setdefault(subject, [])
            if not wanted or subject in wanted:
                reading.rows(_csv(path), subject)
        elif path.suffix == ".parquet":
            reading.rows(_parquet_rows(path))
        elif path.suffix == ".jsonl":
            reading.rows(_text.json_rows(path, form="write one question a line"))
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


def _parquet_rows(path: Path) -> Iterator[_text.Row]:
    for number, row in enumerate(read_parquet(path).to_pylist(), start=1):
        yield f"{path}: row {number}", row


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
