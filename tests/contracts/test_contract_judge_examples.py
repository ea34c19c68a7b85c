"""Examples of judges: shown with every question for a verdict, and never a case of the suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fake_judges import FakeModel, reply_to
from tunegate.harness import suite
from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.judge import Judge, JudgeQuestion
from tunegate.harness.contracts.judge_examples import (
    REPEATS,
    ExampleForm,
    case_repetitions,
    repeats_example,
)
from tunegate.harness.judges.asking.conversation import AskedJudgeModel
from tunegate.harness.judges.asking.judge_model import JudgementTask
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeCall, EpisodeEnd, EpisodeRecord, EpisodeTurn
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.records.scores import Score

NAMES = lookup.available_names("tunegate.harness.judges")
OWN = ("rubric", "brand_voice")
"""Judges whose examples have a form of their own: a score on a scale, texts in a voice."""
FORMED = [name for name in NAMES if name not in OWN]
BATCHED = ("faithfulness", "instruction_following")
TURN = EpisodeTurn(
    prompt_sha256="0" * 64,
    text="I look.",
    calls=(EpisodeCall(name="find", arguments={}, result="In 1931."),),
)
CASE = Case(
    id="pier",
    prompt="When did the pier of Brighton open?",
    context="[1] The pier opened in 1931.\n[2] It is red.",
    expected="It opened in 1931.",
    tools=({"name": "find"},),
)
ANSWER = Completion(
    text="It opened in 1931 [1].",
    episode=EpisodeRecord(turns=(TURN,), reward=0.0, end=EpisodeEnd.ANSWERED),
)


def judge_named(name: str, **options: Any) -> Judge:
    """Return a judge with options."""
    found = lookup.find_object("tunegate.harness.judges", name, what="judge")
    assert isinstance(found, Judge)
    return replace(found, options=options)


def example_of(form: ExampleForm) -> dict[str, Any]:
    """Return an example of a form, of its first verdict."""
    parts = {key: form.one_of.get(key, (f"the {key} of another",))[0] for key in form.parts}
    return {**parts, "verdict": form.verdicts[0], "reason": "so it is"}


def first_reply(question: JudgeQuestion) -> Any:
    """Return the first verdict on all that is asked, and one item of a list."""

    def value(form: Any) -> Any:
        if "enum" in form:
            return form["enum"][0]
        if form["type"] == "array":
            return [value(form["items"])]
        if form["type"] == "object":
            return {name: value(own) for name, own in form["properties"].items()}
        return 1 if form["type"] == "integer" else "It opened in 1931."

    return reply_to(question, **{name: value(form) for name, form in question.fields.items()})


def asked_by(judge: Judge) -> list[JudgeQuestion]:
    """Return what a judge asks about the case."""
    completions = (ANSWER, Completion(text="In 1930.")) if judge.pairs else (ANSWER,)
    model = FakeModel(first_reply)
    ((_, outcome),) = AskedJudgeModel(model).judge([JudgementTask("m", judge, CASE, completions)])
    assert outcome.error is None
    return model.asked


def test_every_judge_takes_examples() -> None:
    """Those of a form of their own too; a new judge declares of what its examples consist."""
    without = [name for name in FORMED if judge_named(name).examples is None]

    assert without == []
    assert set(OWN) <= set(NAMES)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("name", FORMED)
def test_examples_are_in_the_static_part_of_questions_for_a_verdict(
    name: str, batched: bool
) -> None:
    """Each such question ends its task with them; lists of claims and demands do without."""
    form = judge_named(name).examples
    assert form is not None
    shot = example_of(form)
    options = {"batched": True} if batched and name in BATCHED else {}

    bare = asked_by(judge_named(name, **options))
    shown = asked_by(judge_named(name, examples=(shot,), **options))

    lines = [f'{called}: "{shot[key]}"' for key, called in form.parts.items()]
    text = "\n".join(["Examples:\n", *lines, f"Its verdict: {shot['verdict']}, because so it is"])
    for one, other in zip(bare, shown, strict=True):
        judging = bool(one.choice or one.verdicts)
        assert other.system == (
            one.system.replace(one.task, f"{one.task}\n\n{text}") if judging else one.system
        )
        assert (one.text, one.schema) == (other.text, other.schema)
    assert any(one.choice or one.verdicts for one in bare)


@pytest.mark.parametrize("name", FORMED)
def test_an_example_without_one_of_its_parts_is_refused(name: str) -> None:
    judge = judge_named(name)
    assert judge.examples is not None
    shot = example_of(judge.examples)
    first = next(iter(judge.examples.parts))
    part = {key: value for key, value in shot.items() if key != first}

    (problem,) = judge.examples.problems([part])
    assert problem.startswith("examples, number 1: keys ")
    assert f"write {first}, " in problem
    (problem,) = judge.examples.problems([shot, {**shot, "verdict": "good"}])
    assert problem.startswith("examples, number 2: verdict='good' must be one of ")
    (problem,) = judge.examples.problems([{**shot, "score": 1}])
    assert ", score; write " in problem


def test_a_question_must_be_one_of_the_judges() -> None:
    form = judge_named("tool_use").examples
    assert form is not None

    (problem,) = form.problems([{**example_of(form), "question": "speed"}])
    assert problem.startswith("examples, number 1: question='speed' must be one of needed, choice,")


def test_examples_are_part_of_what_a_calibration_is_bound_to() -> None:
    shots = [{"completion": text, "verdict": "fits"} for text in ("Hello.", "Good day.")]
    hashes = {judge_named("tone", examples=(shot,)).prompt_sha256 for shot in shots}

    assert len({*hashes, judge_named("tone").prompt_sha256}) == 3
    assert judge_named("tone", examples=()).prompt_sha256 == judge_named("tone").prompt_sha256


TOML = """\
name = "replies"
cases = "cases.jsonl"
[[metrics]]
use = "{use}"
{options}
"""
CASES = [
    {"id": "p1", "prompt": "When did the pier of Brighton open?", "expected": "In 1931."},
    {"id": "p2", "prompt": "Who built the pier of Brighton?", "expected": "In 1931."},
]


@pytest.mark.parametrize(
    ("use", "example", "what"),
    [
        (
            "context_precision",
            {
                "prompt": "when did the pier of  BRIGHTON open?",
                "expected": "In 1899.",
                "passage": "It is red.",
                "verdict": "no",
            },
            "its prompt repeats the prompt of case 'p1'",
        ),
        (
            "rubric",
            {"completion": "I say: who built the pier of Brighton?", "score": 1},
            None,  # six words inside another text may be there by chance
        ),
        (
            "rubric",
            {"completion": "Who built the pier of Brighton?", "score": 1},
            "its completion repeats the prompt of case 'p2'",
        ),
        ("tone", {"completion": "In 1931.", "verdict": "fits"}, None),  # two words
    ],
)
def test_an_example_that_is_a_case_of_the_suite_is_refused(
    suite_folder: Callable[..., Path], use: str, example: dict[str, Any], what: str | None
) -> None:
    """Whatever its case and spaces; short texts may be equal by chance."""
    table = ", ".join(f"{key} = {value!r}" for key, value in example.items())
    criteria = 'criteria = "Is polite."\n' if use == "rubric" else ""
    folder = suite_folder(
        TOML.format(use=use, options=f"{criteria}examples = [{{ {table} }}]"), CASES
    )

    if what is None:
        assert suite.load_suite(folder).metrics
        return
    with pytest.raises(SuiteError, match=f"examples, number 1: {what}: the judge would know"):
        suite.load_suite(folder)


def test_what_many_cases_share_is_no_repetition() -> None:
    told = "Summarise the following report in three short sentences, please."
    cases = [Case(id=f"c{n}", prompt=told, context=f"It is report number {n}.") for n in range(11)]
    example = {"prompt": told, "context": "It is report number 7."}

    assert list(case_repetitions([example], cases)) == [
        ("c7", "examples, number 1: its context repeats the context of case 'c7'")
    ]


def test_a_long_text_inside_an_example_is_a_repetition() -> None:
    context = "The old pier of the town was opened in the year 1931."
    cases = [Case(id="a", prompt="When?", context=context), Case(id="b", prompt="Why?")]

    assert [case for case, _ in case_repetitions([f"He read: {context} Then he left."], cases)] == [
        "a"
    ]


@pytest.mark.parametrize(("answer", "expected"), [("All  GOOD. ", {REPEATS: 1.0}), ("Bad.", None)])
def test_an_answer_that_is_an_example_is_marked(
    answer: str, expected: dict[str, float] | None
) -> None:
    judge = judge_named("tone", examples=({"completion": "All good.", "verdict": "fits"},))
    model = FakeModel(lambda question: reply_to(question, reason="", verdict="misses"))
    task = JudgementTask("m", judge, CASE, (Completion(text=answer),))

    ((_, outcome),) = AskedJudgeModel(model).judge([task])

    assert outcome.score == Score.of(0.0, parts=expected)


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        (["Done, sir."], True),
        ([{"completion": "done,  sir."}], True),
        ([{"first": "x", "second": "Done, sir."}], True),
        ([{"claim": "Done, sir."}], False),
        ([], False),
    ],
)
def test_an_answer_is_an_example_where_one_holds_it(
    examples: Sequence[Any], expected: bool
) -> None:
    assert repeats_example(examples, "Done, sir.") is expected
    assert not repeats_example(examples, " ")


def test_an_option_of_that_name_may_be_something_else() -> None:
    judge = Judge("own", lambda case, completion, *, examples: iter(()), Path("x"))

    assert replace(judge, options={"examples": 3}).problems({"examples": 3}, [CASE]) == []
