"""Cases with the same prompt count as one, whatever they are called."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.decision.planning.unreachable_gates import unreachable_gates
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.manifest import Manifest, SuiteRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.suite import Suite, load_suite
from tunegate.harness.suite.equal_prompts import join_equal_prompts, normalize_prompt
from tunegate.harness.suite.find import BUNDLED

GENERATE, CHOICES, ANSWER = CellKind.GENERATE, CellKind.CHOICES, CellKind.ANSWER
TOOL = {"type": "function", "function": {"name": "look_up"}}
TOML = """
name = "s"
cases = "cases.jsonl"
[[metrics]]
use = "exact_match"
[[gates]]
metric = "exact_match"
gain = 0.1
"""


def cases_of(*fields: dict[str, Any]) -> list[Case]:
    """Return cases with the ids 0, 1, …"""
    return [Case(id=str(i), **{"prompt": "q", **given}) for i, given in enumerate(fields)]


def groups(cases: Sequence[Case], *kinds: CellKind) -> list[set[str]]:
    found: dict[str, set[str]] = {}
    for case in join_equal_prompts(cases, kinds).cases:
        if case.cluster is not None:
            found.setdefault(case.cluster, set()).add(case.id)
    return list(found.values())


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        ({}, True),
        ({"prompt": " q\n"}, True),
        ({"prompt": None, "messages": ({"role": "user", "content": "q"},)}, True),
        ({"expected": "another"}, True),
        ({"tags": ("t",), "max_new_tokens": 5, "context": "c"}, True),
        ({"prompt": "Q?"}, True),
        ({"prompt": "q  q"}, False),
        ({"tools": (TOOL,)}, False),
        ({"prompt": None, "messages": ({"role": "system", "content": "q"},)}, False),
    ],
)
def test_what_the_model_sees_makes_the_prompt(other: dict[str, Any], equal: bool) -> None:
    """The words of the conversation and the tools; nothing else."""
    cases = cases_of({"expected": "one"}, other)

    assert groups(cases, GENERATE) == ([{"0", "1"}] if equal else [])


def test_likelihoods_are_asked_of_more_than_the_prompt() -> None:
    pairs = cases_of({"choices": ("a", "b")}, {"choices": ("c", "d")}, {"choices": ("a", "b")})
    texts = cases_of({"expected": "one"}, {"expected": "two"})

    turned = cases_of({"choices": ("a", "b")}, {"choices": ("B.", "a")})

    assert groups(turned, CHOICES) == [{"0", "1"}]
    assert groups(pairs, CHOICES) == [{"0", "2"}]
    assert groups(pairs, CHOICES, GENERATE) == [{"0", "1", "2"}]
    assert groups(pairs, CHOICES, CellKind.LATENCY) == [{"0", "2"}]
    assert groups(pairs, CellKind.LATENCY) == [{"0", "1", "2"}]
    assert groups(texts, ANSWER) == []
    assert groups(texts, ANSWER, GENERATE) == [{"0", "1"}]


ASKED = "What is the capital of France?"


@pytest.mark.parametrize(
    "spelt",
    [
        "what is the capital of france",
        "WHAT IS THE CAPITAL OF FRANCE??",
        "  What is\tthe\ncapital  of France ?",
        "“What is the **capital** of _France_?”",
        "«What is the `capital` of 'France'»...",
        "¿What, is the capital, of France!",
        "What is the cap\u200bital of Fr\u00adance\ufeff?",
        "What is the c\u034fapital of France\ufe0f?",
        "Wh\u0430t is the \u0441apital \u043ef France?",
        "Whαt is the cαpital οf Frαnce?",
        "Ｗｈａｔ is the capital of 𝐅𝐫𝐚𝐧𝐜𝐞?",
        "Question 12: What is the capital of France?",
        "Q3. What is the capital of France?",
        "(7) What is the capital of France?",
        "#40 What is the capital of France?",
        "What is the capital of France? [#17]",
        "What is the capital of France? (id a8f3)",
    ],
)
def test_a_spelling_makes_no_other_prompt(spelt: str) -> None:
    assert normalize_prompt(spelt) == normalize_prompt(ASKED) == "what is the capital of france"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 3 + 4?", "What is 3 - 4?"),
        ("What is 3 * 4?", "What is 3 ** 4?"),
        ("What is 3.5?", "What is 35?"),
        ("What is -5 + 2?", "What is 5 + 2?"),
        ("What is 5!?", "What is 5?"),
        ("What is (1 + 2) * 3?", "What is 1 + (2 * 3)?"),
        ("What does a[1:] give?", "What does a[1] give?"),
        ("What is x < y?", "What is x > y?"),
        ("Question 3 of the form?", "Question 4 of the form?"),
        ("What happened in 1945?", "What happened in 1946?"),
        ("Was war am 3. Mai?", "Was war am 4. Mai?"),
        ("Translate: ma", "Translate: má"),
        ("Play Yesterday by the Beatles", "Play Tomorrow by the Beatles"),
        ("кот", "код"),
    ],
)
def test_what_is_content_makes_another_prompt(one: str, other: str) -> None:
    assert normalize_prompt(one) != normalize_prompt(other)


def test_templated_prompts_are_not_joined() -> None:
    """1,710 sums that differ in a digit or an operator are 1,710 prompts."""
    sums = {
        normalize_prompt(f"Compute {a}{sign}{b}.")
        for a in range(-9, 10)
        for sign in ("+", "-", "*", "/", "**", "!=", "==", ".", ",")
        for b in range(10)
    }

    assert len(sums) == 19 * 9 * 10


def test_forty_spellings_of_one_prompt_are_one_cluster() -> None:
    marks = [" ", "  ", "\u200b", "!", "?", ".", "..", ",", '"', "\n"]
    cases = cases_of(*({"prompt": mark + ASKED + mark * i} for i in range(1, 5) for mark in marks))
    joined = join_equal_prompts(cases, [GENERATE])

    assert len({case.cluster for case in joined.cases}) == 1
    assert joined.notes[0].startswith("40 cases share 1 prompt (39 of them spelled or")


def test_clusters_of_equal_prompts_are_united() -> None:
    cases = cases_of(
        {"prompt": "a", "cluster": "x"},
        {"prompt": "b", "cluster": "x"},
        {"prompt": "b", "cluster": "y"},
        {"prompt": "c", "cluster": "y"},
        {"prompt": "c"},
        {"prompt": "d"},
        {"prompt": "e", "cluster": "z"},
    )
    joined = join_equal_prompts(cases, [GENERATE])

    assert [case.cluster for case in joined.cases] == ["x", "x", "x", "x", "x", None, "z"]
    assert joined.groups == (("1", "2"), ("3", "4"))


def test_names_of_clusters_do_not_depend_on_the_order() -> None:
    """The name is made of the prompt, so that other cases and another order do not change it."""
    cases = cases_of({"prompt": "a"}, {"prompt": "b"}, {"prompt": "b"}, {"prompt": "a"})
    names, turned = (
        {case.id: case.cluster for case in join_equal_prompts(given, [GENERATE]).cases}
        for given in (cases, [*cases[::-1], Case(id="new", prompt="n")])
    )

    assert names.items() <= turned.items()
    assert names["0"] == names["3"] != names["1"] == names["2"]
    assert turned["new"] is None


def test_distinct_prompts_stay_as_they_are() -> None:
    cases = cases_of({"prompt": "a"}, {"prompt": "b", "cluster": "k"})
    joined = join_equal_prompts(cases, [GENERATE])

    assert (list(joined.cases), joined.groups, joined.notes) == (cases, (), ())


def test_a_suite_tells_and_records_them(suite_folder: Callable[..., Path]) -> None:
    lines = [{"id": f"c{i}", "prompt": f"q{i // 2}", "expected": "1"} for i in range(6)]
    suite = load_suite(suite_folder(TOML, lines))
    record = suite.record()

    assert suite.notes == (
        "6 cases share 3 prompts, such as 'c0' and 'c1'; cases with the same prompt count as one",
    )
    assert record.equal_prompts == (("c0", "c1"), ("c2", "c3"), ("c4", "c5"))
    assert SuiteRecord.model_validate_json(record.model_dump_json()) == record
    assert load_suite(suite.path, max_cases=3).record().equal_prompts == (("c0", "c1"),)
    assert load_suite(suite.path, max_cases=3).hash == suite.hash


def test_a_manifest_without_the_groups_is_read(suite_folder: Callable[..., Path]) -> None:
    record = load_suite(suite_folder(TOML, [{"id": "a", "prompt": "q", "expected": "1"}])).record()
    stored = record.model_dump(mode="json")

    assert "equal_prompts" not in stored
    assert SuiteRecord.model_validate(stored).equal_prompts == ()


def test_copies_of_one_case_prove_nothing(suite_folder: Callable[..., Path]) -> None:
    """40 copies of a prompt that tuned gets right are one case, and a note names them."""
    lines = [{"id": f"c{i}", "prompt": "q", "expected": "1"} for i in range(40)]
    suite = load_suite(suite_folder(TOML, lines))
    scores = [
        ScoreRow(suite="s", metric="exact_match", case=case.id, arm=arm, value=value)
        for case in suite.cases
        for arm, value in (("base", 0.0), ("tuned", 1.0))
    ]
    found = decide_run(manifest_of(suite.record()), {"s": suite.cases}, scores)

    assert found.verdict is Verdict.UNDECIDED
    (gate,) = found.suites[0].gates
    assert (gate.n, gate.sentence.endswith("one case is too little to judge by")) == (1, True)
    assert any(note.startswith("s: 40 cases share 1 prompt: ") for note in found.suites[0].remarks)


def decided(
    suite: Suite, base: Callable[[int], float], tuned: Callable[[int], float]
) -> GateResult:
    """Return the gate of a suite whose cases have these scores, by their number."""
    scores = [
        ScoreRow(suite="s", metric="exact_match", case=case.id, arm=arm, value=score(number))
        for number, case in enumerate(suite.cases)
        for arm, score in (("base", base), ("tuned", tuned))
    ]
    (gate,) = decide_run(manifest_of(suite.record()), {"s": suite.cases}, scores).suites[0].gates
    return gate


@pytest.mark.parametrize("copies", [0, 3, 59])
@pytest.mark.parametrize(("prompts", "passes"), [(59, True), (58, False)])
def test_copies_cost_no_power(
    suite_folder: Callable[..., Path], copies: int, prompts: int, passes: bool
) -> None:
    """A floor of 95 % takes 59 right answers, .95^59 = .0485, however often prompts occur."""
    toml = TOML.replace("gain = 0.1", "floor = 0.95\nfloor_mode = 'certified'")
    lines = [{"id": f"c{i}", "prompt": f"q{i % prompts}"} for i in range(prompts + copies)]
    suite = load_suite(suite_folder(toml, [{**of, "expected": "1"} for of in lines]))

    gate = decided(suite, lambda i: 1.0, lambda i: 1.0)

    assert (gate.n, gate.status is GateStatus.PASS) == (prompts, passes)
    assert (not unreachable_gates(suite)) is passes


def test_a_prompt_has_the_mean_score_of_its_copies(suite_folder: Callable[..., Path]) -> None:
    """The first of 20 prompts stands there 41 times and is lost 21 times: 21/41 of 1/20."""
    lines = [{"id": f"c{i}", "prompt": f"q{max(0, i - 40)}", "expected": "1"} for i in range(60)]
    gate = decided(
        load_suite(suite_folder(TOML, lines)), lambda i: 1.0, lambda i: 0.0 if i < 21 else 1.0
    )

    assert (gate.n, gate.base) == (20, 1.0)
    assert gate.tuned == pytest.approx(1 - 21 / 41 / 20)


def test_a_slice_has_the_copies_with_its_tag(suite_folder: Callable[..., Path]) -> None:
    """Of each two copies the second is tagged, and lost; the slice does not know the first."""
    toml = f"{TOML}tag = 'late'"
    lines = [
        {"id": f"c{i}", "prompt": f"q{i // 2}", "expected": "1", "tags": ["late"] * (i % 2)}
        for i in range(24)
    ]
    gate = decided(load_suite(suite_folder(toml, lines)), lambda i: 1.0, lambda i: 1.0 - i % 2)

    assert (gate.n, gate.base, gate.tuned) == (12, 1.0, 0.0)


FRONTS = [
    "Hi Anna, {}",
    "Hello there! {}",
    "Hey Dr. Jane Smith:\n{}",
    "Good morning Bob: [2024-05-01 10:32] {}",
    "10:32 - {}",
    "Monday, 10:32 am: {}",
    "2024-05-01T10:32:00Z: {}",
    "(Mon 10:32) {}",
    "My name is Zoë Lee. {}",
    "Anna here, hello! {}",
    "Dear Mr. Müller,\n\n{}",
]


def test_a_greeting_a_name_or_a_time_in_front_makes_no_other_case() -> None:
    """If the answer is compared with the same; a name alone also needs an expected answer."""
    texts = [ASKED, *(front.format(ASKED) for front in FRONTS)]
    same = cases_of(*({"prompt": text, "expected": "Paris"} for text in texts))
    other = cases_of(*({"prompt": text, "expected": str(i)} for i, text in enumerate(texts)))
    named = [{"prompt": f"{name}, {ASKED}"} for name in ("Anna", "Bob")]

    assert groups(same, GENERATE) == [{case.id for case in same}]
    assert groups(other, GENERATE) == []
    assert groups(cases_of(*({**of, "expected": "Paris"} for of in named)), GENERATE) != []
    assert groups(cases_of(*named), GENERATE) == []


@pytest.mark.parametrize(
    "texts",
    [
        ("10:30 - what is this time in words?", "11:45 - what is this time in words?"),
        ("2024-02-29: which day of the week is it?", "2023-02-28: which day of the week is it?"),
        ("This is Madrid. Which river flows there?", "This is Rome. Which river flows there?"),
    ],
)
def test_a_time_or_name_may_be_the_question_where_no_answer_is_expected(
    texts: tuple[str, str],
) -> None:
    assert groups(cases_of(*({"prompt": text} for text in texts)), GENERATE) == []
    same = [{"prompt": text, "expected": "x"} for text in texts]
    assert groups(cases_of(*same), GENERATE) != []


@pytest.mark.parametrize(
    "texts",
    [
        ("On Monday, is the shop open?", "On Sunday, is the shop open?"),
        ("2024-05-01 was a Wednesday, wasn't it?", "2023-05-01 was a Wednesday, wasn't it?"),
        ("10:30 is the time of which train?", "11:30 is the time of which train?"),
        ("I am Spanish. Do I need a visa?", "I am Turkish. Do I need a visa?"),
        ("Berlin: is it a large city at all?", "Paris: is it a large city at all?"),
        ("Hi Anna", "Hi Bob"),
        (
            "Awful film. Is this review positive or not?",
            "Dull film. Is this review positive or not?",
        ),
        ("Extract the name as JSON: Anna", "Extract the name as JSON: Bob"),
    ],
)
def test_what_a_text_is_about_makes_another_case(texts: tuple[str, str]) -> None:
    """Even with the same expected answer."""
    assert groups(cases_of(*({"prompt": t, "expected": "yes"} for t in texts)), GENERATE) == []


def test_one_instruction_with_many_payloads_is_as_many_cases() -> None:
    """10,000 of 400 words and equal labels, in seconds: nothing is compared in pairs."""
    rule = "Read the order below and answer with its status alone, in one word. " * 30
    cases = cases_of(*({"prompt": f"{rule}\nOrder {i}", "expected": "open"} for i in range(10_000)))

    start = time.process_time()
    found = join_equal_prompts(cases, [GENERATE])

    assert found.groups == ()
    assert time.process_time() - start < 15


@pytest.mark.parametrize("name", sorted(path.parent.name for path in BUNDLED.glob("*/suite.toml")))
def test_no_case_of_a_bundled_suite_is_joined(name: str) -> None:
    assert load_suite(BUNDLED / name).equal_prompts == ()


def manifest_of(suite: SuiteRecord) -> Manifest:
    return Manifest(
        run_id="r",
        created="2026-01-01T00:00:00+00:00",
        command=(),
        arms={"base": {}, "tuned": {}},
        suites=(suite,),
        seed=0,
        plan=(),
        versions={},
        comparability={},
        liveness={},
        attempts={},
    )
