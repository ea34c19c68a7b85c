"""Examples of a judge: earlier answers with their verdicts, shown to the judge model.

A judge declares the parts of its examples, and needs no other code for them:

    @judge(examples=ExampleForm({"claim": "The claim"}, tuple(VALUES)))
    def grounded(case, completion) -> Steps: ...

Its option `examples` is then an array of tables with these keys, a `verdict` and optionally a
`reason`. They follow the task of every question that asks for a verdict.

How a judge scores its own examples proves nothing. An example that repeats a case of the suite is
refused, a labelled answer that repeats one is left out of the calibration, and a run's answer that
repeats one is marked in the score's parts.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

OPTION = "examples"
"""Name of the option."""
REPEATS = "in_examples"
"""Part of a score: 1 if the answer is among the judge's examples."""
_ANSWERS = ("completion", "first", "second")
"""Keys of an example whose values are answers."""
_COMMENTS = ("verdict", "reason", "score", "criterion", "question", "demand")
"""Keys of an example whose values are not from a case."""
_FEW_WORDS = 4
"""Words below which two texts may be equal by chance."""
_SOME_WORDS = 8
"""Words from which a text within another counts as a repetition."""
_COMMON = 0.1
"""Share of a suite's cases from which a shared text does not identify a case."""


@dataclass(frozen=True, slots=True)
class ExampleForm:
    """The parts of an example of a judge."""

    parts: Mapping[str, str]
    """Key → its name in the prompt."""
    verdicts: tuple[str, ...]
    """The possible verdicts."""
    one_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Key → its allowed values, if they are limited."""

    def format(self, examples: Sequence[Mapping[str, Any]]) -> str:
        """Return the examples as text for the prompt; "" without examples."""
        shown = [
            "\n".join(f"{name}: {_as_json(example[key])}" for key, name in self.parts.items())
            + f"\nIts verdict: {example['verdict']}"
            + (f", because {example['reason']}" if example.get("reason") else "")
            for example in examples
        ]
        return "\n\n".join(["Examples:", *shown]) if shown else ""

    def problems(self, examples: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the problems of a suite's examples, one line each."""
        needed = (*self.parts, "verdict")
        allowed = {**self.one_of, "verdict": self.verdicts}
        problems = []
        for number, example in enumerate(examples, start=1):
            place = f"{OPTION}, number {number}"
            if not set(needed) <= set(example) <= {*needed, "reason"}:
                problems.append(
                    f"{place}: keys {', '.join(example)}; write {', '.join(needed)} and optionally "
                    "reason"
                )
                continue
            problems += [
                f"{place}: {key}={example[key]!r} must be one of {', '.join(values)}"
                for key, values in allowed.items()
                if example[key] not in values
            ]
        return problems


def given_examples(options: Mapping[str, Any]) -> Sequence[Any]:
    """Return the examples among a judge's options."""
    found = options.get(OPTION, ())
    return found if isinstance(found, (list, tuple)) else ()


def takes_examples(function: Callable[..., Any], form: ExampleForm) -> Callable[..., Any]:
    """Return a judge's generator with the additional option `examples`."""

    @functools.wraps(function)
    def steps(*given: Any, examples: tuple[dict[str, Any], ...] = (), **options: Any) -> Any:
        return _show(function(*given, **options), form.format(examples))

    signature = inspect.signature(function)
    kind = tuple[dict[str, Any], ...]
    option = inspect.Parameter(
        OPTION, inspect.Parameter.KEYWORD_ONLY, default=(), annotation="tuple[dict[str, Any], ...]"
    )
    steps.__annotations__ = {**function.__annotations__, OPTION: kind}
    described = signature.replace(parameters=[*signature.parameters.values(), option])
    steps.__signature__ = described  # type: ignore[attr-defined]  # inspect reads it
    return steps


def _show(steps: Any, text: str) -> Any:
    """Yield a judge's questions, with the examples if they ask for a verdict; return its score."""
    try:
        questions = next(steps)
        while True:
            replies = yield [
                replace(question, examples=text)
                if question.choice or question.verdicts
                else question
                for question in questions
            ]
            questions = steps.send(replies)
    except StopIteration as ended:
        return ended.value
    finally:
        steps.close()


def mark_repeated(steps: Any, examples: Sequence[Any], completions: Sequence[Completion]) -> Any:
    """Run a judge's steps, and mark the score if an answer is among the examples."""
    score = yield from steps
    repeated = any(repeats_example(examples, completion.text or "") for completion in completions)
    if not repeated or getattr(score, "value", None) is None:
        return score
    return score.model_copy(update={"parts": {**(score.parts or {}), REPEATS: 1.0}})


def repeats_example(examples: Sequence[Any], answer: str) -> bool:
    """Return whether an answer is among the examples."""
    text = _plain(answer)
    return bool(text) and any(
        text == shown for example in examples for key, shown in _texts(example) if key in _ANSWERS
    )


def case_repetitions(examples: Sequence[Any], cases: Sequence[Case]) -> Iterator[tuple[str, str]]:
    """Yield the id of each case that an example repeats, with the problem.

    Texts that many cases share, such as an instruction, do not count.
    """
    shown = [
        (number, key, text)
        for number, example in enumerate(examples, start=1)
        for key, text in _texts(example)
    ]
    if not shown:
        return
    texts = {case.id: list(_texts_of(case)) for case in cases}
    counts = Counter(
        text for case_texts in texts.values() for text in {text for _, text in case_texts}
    )
    common = max(1, _COMMON * len(texts))
    for case, case_texts in texts.items():
        problems = (
            f"{OPTION}, number {number}: its {key} repeats the {name} of case {case!r}"
            for name, text in case_texts
            if counts[text] <= common
            for number, key, other in shown
            if _same(text, other)
        )
        first = next(problems, None)
        if first is not None:
            yield case, first


def repetition_problems(examples: Sequence[Any], cases: Sequence[Case]) -> list[str]:
    """Return the first case of a suite that its examples repeat, with the number of others."""
    repetitions = list(case_repetitions(examples, cases))
    if not repetitions:
        return []
    more = f", and {len(repetitions) - 1} more" if len(repetitions) > 1 else ""
    return [
        f"{repetitions[0][1]}{more}: the judge would know the answer; use an example "
        "that is not a case of the suite"
    ]


def _same(first: str, second: str) -> bool:
    """Return whether two texts are the same, or one contains the other."""
    if first == second:
        return len(first.split()) >= _FEW_WORDS
    short, long = sorted((first, second), key=len)
    return short in long and len(short.split()) >= _SOME_WORDS


def _texts(example: Any) -> Iterator[tuple[str, str]]:
    """Yield the keys and texts of an example; a bare text is an answer."""
    entries = example.items() if isinstance(example, Mapping) else [("completion", example)]
    for key, value in entries:
        if key not in _COMMENTS and isinstance(value, str) and value.strip():
            yield key, _plain(value)


def _texts_of(case: Case) -> Iterator[tuple[str, str]]:
    turns = [turn.get("content") for turn in case.input_messages() if turn.get("role") == "user"]
    if turns and isinstance(turns[-1], str):
        yield "prompt", _plain(turns[-1])
    if case.context:
        yield "context", _plain(case.context)
    for expected in case.expected_texts():
        yield "expected answer", _plain(expected)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
