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

from harness import lookup
from harness.errors import SuiteError
from harness.records import Case
from harness.source import SourcedCase, make_case
from harness.sources._mmlu import LETTERS, Question, Reading, read
from harness.sources._table import drawn


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
) -> Iterator[SourcedCase]:
    """Yield one case a question, subject by subject; its tag is its subject.

    Set `template = "none"` under [generation]: the prompts are plain text.

    Args:
        folder: The suite's folder.
        path: Folder or file of the questions, from the suite's folder.
        subjects: The subjects to take; all of them if none is named.
        per_subject: How many questions of each, drawn by `seed`; all if it is not set. A smaller
            draw is part of a larger one, so what was answered for it is not asked again.
        seed: Seed of the draw; each subject draws for itself.
        few_shot: How many of the subject's `dev` questions stand answered in front.
        split: Which part of the data.
        style: `text` hides the options and scores the text of each after "Answer:", as in
            general_knowledge; small models are at chance on letters. `letters` lists the options
            and scores A to D, with the prompt of lm-eval's mmlu.

    Raises:
        SuiteError: files, subjects or questions are missing, or rows are broken: all that is.
    """
    root = folder / path
    asked = read(root, split, subjects)
    problems = [*asked.problems, *_unknown(root, subjects, asked)]
    taken = {name: found for name, found in sorted(asked.questions.items()) if found}
    problems += _too_few(root, taken, "per_subject", per_subject, split)
    shots: Mapping[str, Sequence[Question]] = {}
    if few_shot and split == "dev":
        problems.append(f"{root}: split='dev' holds the few-shot questions; leave few_shot out")
    elif few_shot and root.is_file():
        problems.append(f"{root}: few_shot={few_shot} needs the folder that holds test and dev")
    elif few_shot:
        dev = read(root, "dev", subjects)
        shots = {name: dev.questions.get(name, []) for name in taken}
        problems += [*dev.problems, *_too_few(root, shots, "few_shot", few_shot, "dev")]
    if problems:
        raise SuiteError(problems)
    for subject, questions in taken.items():
        header = _header(subject, shots.get(subject, ())[:few_shot], style)
        for question in _draw(questions, per_subject, seed):
            yield SourcedCase(_case(question, header, style), question.where)


def _unknown(root: Path, subjects: Sequence[str], asked: Reading) -> Iterator[str]:
    there = tuple(sorted(asked.questions))
    for name in subjects:
        if name not in there:
            yield f"{root}: {lookup.unknown(name, there, what='subject')}"


def _too_few(
    root: Path,
    found: Mapping[str, Sequence[Question]],
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


def _draw(questions: Sequence[Question], count: int | None, seed: int) -> Sequence[Question]:
    """Return `count` of a subject's questions in their order."""
    if count is None:
        return questions
    taken = drawn(len(questions), count, f"{seed}:{questions[0].subject}")
    return [questions[i] for i in taken]


def _header(subject: str, shots: Sequence[Question], style: str) -> str:
    """Return what stands in front of every question of a subject."""
    answered = "".join(
        f"{_ask(shot, style)} {_choices(shot, style)[shot.answer]}\n\n" for shot in shots
    )
    if style == "text":
        return answered
    topic = subject.replace("_", " ")
    return (
        f"The following are multiple choice questions (with answers) about {topic}.\n\n{answered}"
    )


def _ask(question: Question, style: str) -> str:
    text = question.text.strip()
    if style == "text":
        return f"Question: {text}\nAnswer:"
    options = zip(LETTERS, question.choices, strict=False)
    return "\n".join([text, *(f"{letter}. {choice}" for letter, choice in options), "Answer:"])


def _choices(question: Question, style: str) -> list[str]:
    if style == "letters":
        return list(LETTERS[: len(question.choices)])
    return [choice.strip() for choice in question.choices]


def _case(question: Question, header: str, style: str) -> Case:
    choices = _choices(question, style)
    return make_case(
        {
            "id": f"mmlu:{question.subject}:{question.number}",
            "prompt": header + _ask(question, style),
            "expected": choices[question.answer],
            "choices": choices,
            "answer": question.answer,
            "tags": [question.subject],
        }
    )
