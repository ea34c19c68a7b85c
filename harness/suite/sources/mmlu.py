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
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tunegate.harness.contracts.source import make_case
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError, unknown_name_message
from tunegate.harness.suite.sources._mmlu_questions import (
    LETTERS,
    MmluQuestion,
    read_questions,
)
from tunegate.harness.suite.sources._table import draw_positions

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
"""suite.toml of `tunegate suite new --template mmlu`."""


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
    """Yield one case a question, subject by subject, tagged with its subject.

    Set `template = "none"` under [generation]: the prompts are plain text.

    Args:
        folder: The suite's folder.
        path: Folder or file of the questions, from the suite's folder.
        subjects: The subjects to take; by default all.
        per_subject: Number of questions of each subject, drawn by `seed`; by default all. A smaller
            draw is part of a larger one, so its answers are reused.
        seed: Seed of the draw, made separately for each subject.
        few_shot: Number of the subject's `dev` questions put in front, with answers.
        split: Which part of the data.
        style: `text` hides the options and scores the text of each after "Answer:", as in
            general_knowledge; small models are at chance on letters. `letters` lists the options
            and scores A to D, with the prompt of lm-eval's mmlu.

    Raises:
        SuiteError: files, subjects or questions are missing, or rows are broken.
    """
    root = folder / path
    question_set = read_questions(root, split, subjects)
    there = tuple(sorted(question_set.questions))
    unknown = [unknown_name_message(s, there, what="subject") for s in subjects if s not in there]
    problems = [*question_set.problems, *(f"{root}: {message}" for message in unknown)]
    taken = {
        name: of_subject
        for name, of_subject in sorted(question_set.questions.items())
        if of_subject
    }
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


def _too_few(
    root: Path,
    by_subject: Mapping[str, Sequence[MmluQuestion]],
    option: str,
    wanted: int | None,
    split: str,
) -> Iterator[str]:
    """Yield a line if a subject has fewer questions than wanted."""
    counts = {name: len(questions) for name, questions in by_subject.items()}
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
    """Return the text in front of every question of a subject."""
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
