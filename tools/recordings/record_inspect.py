"""Records what Inspect writes into `tests/results/recorded/inspect/`.

    PYTHON tools/recordings/record_inspect.py

PYTHON is that of an environment with inspect-ai (0.3.285 wrote the files). The model is Inspect's
own `mockllm`; tasks, scorers, errors and files are Inspect's.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from inspect_ai import Task, eval  # type: ignore[import-not-found]  # another environment
from inspect_ai.dataset import MemoryDataset, Sample  # type: ignore[import-not-found]
from inspect_ai.model import (  # type: ignore[import-not-found]
    ContentReasoning,
    ContentText,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.scorer import (  # type: ignore[import-not-found]
    Score,
    Target,
    accuracy,
    match,
    mean,
    model_graded_qa,
    scorer,
)
from inspect_ai.solver import TaskState, generate, solver  # type: ignore[import-not-found]

RECORDED = Path(__file__).resolve().parents[2] / "tests/results/recorded/inspect"
QUESTIONS = [f"What is {n} + {n}?" for n in range(1, 9)]


def draw(*parts: object) -> int:
    """Return a number that is the same in every run."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16)


@scorer(metrics=[mean()])
def tone() -> Any:
    """Give a number, and NaN for one question."""

    async def score(state: TaskState, target: Target) -> Score:
        if "3 + 3" in state.input_text:
            return Score(value=float("nan"), explanation="the rater did not answer")
        return Score(value=draw(state.output.completion) % 100 / 100)

    return score


@scorer(metrics={"brief": [mean()], "polite": [mean()]})
def style() -> Any:
    """Give several numbers at once."""

    async def score(state: TaskState, target: Target) -> Score:
        return Score(value={"brief": 1, "polite": draw(state.output.completion) % 2})

    return score


@scorer(metrics=[accuracy()])
def graded() -> Any:
    """Give letters, partial ones too."""

    async def score(state: TaskState, target: Target) -> Score:
        return Score(value="CIPN"[draw(state.output.completion) % 4])

    return score


OUTAGE: list[bool] = []
"""Whether the sandbox fails on every question; not an argument, which a log would hold."""


@solver
def failing(which: str) -> Any:
    """Raise on questions that hold a text, and on all during an outage."""
    inner = generate()

    async def solve(state: TaskState, generate: Any) -> TaskState:
        if which in state.input_text or OUTAGE:
            raise RuntimeError("the sandbox timed out")
        return await inner(state, generate)  # type: ignore[no-any-return]

    return solve


def with_usage(output: Any) -> Any:
    """Return an output with tokens, which Inspect would count with a tokenizer that it fetches."""
    output.usage = ModelUsage(input_tokens=5, output_tokens=1, total_tokens=6)
    return output


def model(name: str, skill: int, *, thinks: bool = False) -> Any:
    """Return a mock model that is right on `skill` of 10 questions, with or without thoughts."""

    def answer(messages: list[Any], *_: Any) -> ModelOutput:
        if "GRADE" in messages[-1].text:
            text = "It is right.\n\nGRADE: C"
            return with_usage(ModelOutput.from_content(f"mockllm/{name}", text))
        number = int(re.findall(r"\d+", messages[-1].text)[0])
        answer.calls += 1  # type: ignore[attr-defined]
        right = draw(name, number, answer.calls) % 10 < skill  # type: ignore[attr-defined]
        text = str(2 * number + (0 if right else 1))
        output = ModelOutput.from_content(f"mockllm/{name}", text)
        if thinks:
            thoughts = ContentReasoning(reasoning=f"Twice {number} is asked for.")
            output.choices[0].message.content = [thoughts, ContentText(text=text)]
        return with_usage(output)

    answer.calls = 0  # type: ignore[attr-defined]
    return get_model(f"mockllm/{name}", custom_outputs=answer, memoize=False)


def record(
    folder: str, name: str, skill: int, *, ids: bool = True, epochs: int = 1,
    scorers: Any = None, questions: list[str] = QUESTIONS, log_format: str = "eval",
    thinks: bool = False,
) -> None:  # fmt: skip
    """Evaluate a mock model and keep the log."""
    samples = [
        Sample(
            id=f"q{i}" if ids else None,
            input=question,
            target=str(2 * int(re.findall(r"\d+", question)[0])),
            metadata={"level": "easy" if i < 4 else "hard"},
        )
        for i, question in enumerate(questions)
    ]
    eval(
        Task(
            dataset=MemoryDataset(samples, name="sums"),
            solver=failing("5 + 5"),
            scorer=scorers or [match(), tone(), style(), graded()],
            name="sums",
            epochs=epochs,
        ),
        model=model(name, skill, thinks=thinks),
        log_dir=str(RECORDED / folder),
        log_format=log_format,
        fail_on_error=False,
        display="none",
        max_samples=1,
        max_connections=1,
    )


if __name__ == "__main__":
    sys.modules["__main__"].__file__ = "record_inspect.py"
    shutil.rmtree(RECORDED, ignore_errors=True)
    os.chdir(tempfile.mkdtemp())  # a log names the git checkout that it is made in
    record("base", "ink-base", 5)
    record("tuned", "ink-tuned", 9)
    record("epochs", "ink-tuned", 7, epochs=3)
    OUTAGE.append(True)
    record("failed", "ink-tuned", 9)
    OUTAGE.clear()
    record("json", "ink-base", 5, log_format="json")
    record("unnamed", "ink-base", 5, ids=False)
    record("unnamed_reversed", "ink-tuned", 9, ids=False, questions=QUESTIONS[::-1])
    record("thinking", "ink-tuned", 9, scorers=[match()], thinks=True)
    record("twice", "ink-base", 5, scorers=[match(), match(location="any")])
    for arm, skill in (("base", 5), ("tuned", 9)):
        record(f"graded_by_{arm}", f"ink-{arm}", skill, scorers=[model_graded_qa()])
