"""The plan: one key for each thing that can change an answer, the same batches for every arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite as suites
from tunegate.harness.contracts.model import Prompt
from tunegate.harness.contracts.reasoning import ThinkingMismatch
from tunegate.harness.engine.plan import Plan, make_plan, shared_limit_notices
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256
from tunegate.harness.suite.arm_prompt import ArmPrompt

TOML = """
name = "{name}"
cases = "cases.jsonl"
[generation]
{generation}
[[metrics]]
use = "{use}"
[[gates]]
metric = "{use}"
tolerance = 0.5
"""
CASE = {"id": "c", "prompt": "Q", "expected": "yes", "choices": ["yes", "no"], "answer": 0}
Write = Callable[..., Path]


@dataclass(frozen=True)
class Stub:
    """An arm; only rendering and fingerprint matter."""

    fingerprint: str = "f"
    prefix: str = ""
    refuses: str | None = None
    token_ids: bool = False
    identity: Mapping[str, Any] = field(default_factory=dict)
    kinds: frozenset[CellKind] = frozenset(CellKind)
    context_length: int | None = None
    opens: bool = False

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Render, or refuse one case."""
        if case.id == self.refuses:
            raise ValueError("no such role")
        if generation.thinking == "on" and not self.opens:
            raise ThinkingMismatch('thinking = "on": it knows none')
        text = f"{self.prefix}{generation.system or ''}{case.prompt}"
        if self.opens:
            return Prompt(f"{text}<think>", answering=Prompt(f"{text}<think></think>"))
        return Prompt(text, tuple(map(ord, text)) if self.token_ids else None)


def _plan(
    suite_folder: Write,
    *,
    use: str = "exact_match",
    generation: str = "",
    name: str = "s",
    seed: int = 0,
    arm: Stub | None = None,
    **case: Any,
) -> Plan:
    toml = TOML.format(name=name, use=use, generation=generation)
    folder = suite_folder(toml, [{**CASE, **case}])
    return make_plan([suites.load_suite(folder)], {"base": arm or Stub()}, seed=seed)


def _key(*args: Any, **kwargs: Any) -> str:
    (cell,) = _plan(*args, **kwargs).cells
    return cell.key


SAMPLED = "temperature = 0.7"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"arm": Stub(fingerprint="g")}),
        ({}, {"arm": Stub(prefix=" ")}),
        ({}, {"arm": Stub(token_ids=True)}),
        ({}, {"prompt": "Q2"}),
        ({}, {"id": "d"}),
        ({}, {"name": "t"}),
        ({}, {"generation": 'system = "S"'}),
        ({}, {"generation": 'template = "none"'}),
        ({}, {"generation": "max_new_tokens = 5"}),
        ({}, {"generation": 'stop = ["x"]'}),
        ({}, {"generation": SAMPLED}),
        ({"generation": SAMPLED}, {"generation": "temperature = 0.8"}),
        ({"generation": SAMPLED}, {"generation": SAMPLED + "\ntop_p = 0.5"}),
        ({"generation": SAMPLED}, {"generation": SAMPLED, "seed": 1}),
        ({"use": "choice_accuracy"}, {"use": "answer_logprob"}),
        ({"use": "choice_accuracy"}, {"use": "choice_accuracy", "choices": ["yes", "nay"]}),
        ({"use": "choice_accuracy"}, {"use": "choice_accuracy", "choices": ["yes", "no", "x"]}),
        (
            {"use": "choice_accuracy"},
            {"use": "choice_accuracy", "generation": 'template = "none"'},
        ),
        ({"use": "answer_logprob"}, {"use": "answer_logprob", "expected": "no"}),
        ({"use": "answer_logprob"}, {"use": "answer_logprob", "expected": ["yes", "no"]}),
        ({"use": "answer_logprob"}, {"use": "answer_logprob", "prompt": "Q2"}),
        ({"use": "answer_logprob"}, {"use": "answer_logprob", "delimiter": ""}),
        ({"use": "choice_accuracy"}, {"use": "choice_accuracy", "delimiter": "\n"}),
        ({}, {"stop": ["x"]}),
        ({"use": "latency"}, {"use": "exact_match"}),
        ({"use": "latency"}, {"use": "latency", "generation": "max_new_tokens = 5"}),
    ],
)
def test_what_changes_the_answer_changes_the_key(
    suite_folder: Write, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert _key(suite_folder, **before) != _key(suite_folder, **after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"arm": Stub(identity={"spec": "/elsewhere"})}),
        ({}, {"seed": 1}),
        ({}, {"expected": "no"}),
        ({}, {"tags": ["x"], "cluster": "y"}),
        ({}, {"delimiter": "\n"}),
        ({"generation": 'stop = ["x"]'}, {"stop": ["x"]}),
        ({"use": "choice_accuracy"}, {"use": "choice_accuracy", "stop": ["x"]}),
        ({}, {"generation": "latency_cases = 5"}),
        ({"use": "choice_accuracy"}, {"use": "choice_accuracy", "answer": 1}),
        ({"use": "choice_accuracy"}, {"use": "choice_accuracy", "expected": "no"}),
        ({"use": "choice_accuracy"}, {"use": "choice_probability"}),
        ({"use": "answer_logprob"}, {"use": "answer_logprob", "choices": ["yes", "nay"]}),
    ],
)
def test_what_does_not_change_the_answer_keeps_the_key(
    suite_folder: Write, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Nothing is asked twice because of what the model never sees."""
    assert _key(suite_folder, **before) == _key(suite_folder, **after)


def test_a_case_adds_its_stops_to_those_of_the_suite(suite_folder: Write) -> None:
    plan = _plan(suite_folder, generation='stop = ["x"]', stop=["y", "z"])
    (request,) = plan.requests.values()

    assert request.generation.stop == ("x", "y", "z")


@pytest.mark.parametrize(
    ("suite", "case", "expected"),
    [
        ("max_new_tokens = 64", {"max_new_tokens": 9}, (9, 0.0, 1.0)),
        ("max_new_tokens = 64", {"max_new_tokens": 900}, (900, 0.0, 1.0)),
        (SAMPLED, {"temperature": 0}, (256, 0.0, 1.0)),
        ("", {"temperature": 0.5, "top_p": 0.9}, (256, 0.5, 0.9)),
        (f"{SAMPLED}\ntop_p = 0.8", {"temperature": 0.2}, (256, 0.2, 0.8)),
        (SAMPLED, {}, (256, 0.7, 1.0)),
    ],
)
def test_a_case_has_settings_of_its_own(
    suite_folder: Write, suite: str, case: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    plan = _plan(suite_folder, generation=suite, **case)
    (request,) = plan.requests.values()
    asked = request.generation

    assert (asked.max_new_tokens, asked.temperature, asked.top_p) == expected


def test_a_sampled_case_of_a_greedy_suite_has_the_seed_in_its_key(suite_folder: Write) -> None:
    """Another seed draws another answer; a greedy one of a sampled suite stays the same."""
    drawn = [_key(suite_folder, seed=seed, temperature=0.5) for seed in (0, 1)]
    greedy = [_key(suite_folder, seed=seed, generation=SAMPLED, temperature=0) for seed in (0, 1)]

    assert drawn[0] != drawn[1]
    assert greedy[0] == greedy[1] == _key(suite_folder)


def test_samples_have_keys_and_seeds_of_their_own(suite_folder: Write) -> None:
    """Three samples are three cells; asking for four keeps the first three."""
    three = _plan(suite_folder, generation=SAMPLED + "\nsamples = 3")
    four = _plan(suite_folder, generation=SAMPLED + "\nsamples = 4")
    assert [c.sample for c in three.cells] == [0, 1, 2]
    assert len({c.key for c in three.cells}) == 3
    assert len({r.seed for r in three.requests.values()}) == 3
    assert [c.key for c in four.cells[:3]] == [c.key for c in three.cells]


def test_the_place_and_number_of_cases_keep_the_keys(suite_folder: Write, tmp_path: Path) -> None:
    toml = TOML.format(name="s", use="exact_match", generation="")
    cases = [{**CASE, "id": f"c{i}", "prompt": f"Q{i}"} for i in range(5)]
    here = suite_folder(toml, cases)
    there = suite_folder(toml, cases[::-1], "elsewhere")
    keys = [
        {c.case: c.key for c in make_plan([loaded], {"base": Stub()}, seed=0).cells}
        for loaded in (
            suites.load_suite(here),
            suites.load_suite(there),
            suites.load_suite(here, max_cases=2),
        )
    ]
    assert keys[0] == keys[1]
    assert keys[2] == {case: keys[0][case] for case in ("c0", "c1")}


def test_cells_stand_in_the_order_of_suites_cases_and_arms(suite_folder: Write) -> None:
    """The plan lists each suite's cases in order, the arms within a case; batches hold no arm."""
    toml = TOML.format(name="s", use="exact_match", generation="")
    cases = [{**CASE, "id": f"c{i}", "prompt": "Q" * (i + 1)} for i in range(3)]
    loaded = suites.load_suite(suite_folder(toml, cases))
    arms = {"base": Stub(fingerprint="b"), "tuned": Stub(fingerprint="t")}
    plan = make_plan([loaded], arms, seed=0)
    assert [(c.case, c.arm) for c in plan.cells] == [
        (f"c{i}", arm) for i in range(3) for arm in ("base", "tuned")
    ]
    (batch,) = plan.batches
    assert [q.case for q in batch.questions] == ["c2", "c1", "c0"]
    assert len(plan.requests) == 6
    assert plan.prompts["s", "c0", "tuned"].text == "Q"


def test_base_once_more_is_asked_again(suite_folder: Write) -> None:
    """An arm that is base has cells of its own; another arm keeps the key that it always had."""
    toml = TOML.format(name="s", use="exact_match", generation="")
    loaded = suites.load_suite(suite_folder(toml, [CASE]))
    twins = {"base": Stub(fingerprint="b"), "tuned": Stub(fingerprint="b")}
    others = {"base": Stub(fingerprint="t"), "tuned": Stub(fingerprint="b")}

    base, tuned = (cell.key for cell in make_plan([loaded], twins, seed=0).cells)

    assert base != tuned
    assert make_plan([loaded], others, seed=0).cells[1].key == base


def test_base_with_a_prompt_of_its_own_has_one_key_in_every_run(suite_folder: Write) -> None:
    """Whether it is asked beside base, or alone to see what the prompt does."""
    toml = TOML.format(name="s", use="exact_match", generation="")
    loaded = suites.load_suite(suite_folder(toml, [CASE]))
    prompt, arm = ArmPrompt(system="S"), Stub(fingerprint="b")
    alone = replace(loaded, arm_prompts={"base": prompt})

    beside = make_plan([loaded.with_prompted(prompt)], {"base": arm, "prompted": arm}, seed=0)

    base, prompted = (cell.key for cell in beside.cells)
    assert [prompted] == [cell.key for cell in make_plan([alone], {"base": arm}, seed=0).cells]
    assert prompted != base


def test_a_case_that_cannot_be_rendered(suite_folder: Write) -> None:
    """An arm that refuses a case has an error there; the other arm is asked all the same."""
    arms = {"base": Stub(fingerprint="b"), "tuned": Stub(fingerprint="t", refuses="c")}
    toml = TOML.format(name="s", use="exact_match", generation="")
    plan = make_plan([suites.load_suite(suite_folder(toml, [CASE]))], arms, seed=0)
    base, tuned = plan.cells
    assert plan.failures == {tuned.key: "the prompt cannot be rendered: no such role"}
    assert [arm for _, arm in plan.requests] == ["base"]
    assert base.key not in plan.failures


def test_a_suite_times_its_first_cases_only(suite_folder: Write) -> None:
    toml = TOML.format(name="s", use="latency", generation="latency_cases = 2")
    cases = [{**CASE, "id": f"c{i}"} for i in range(5)]
    plan = make_plan([suites.load_suite(suite_folder(toml, cases))], {"base": Stub()}, seed=0)
    assert [(c.case, c.kind.value) for c in plan.cells] == [("c0", "latency"), ("c1", "latency")]
    assert [len(b.questions) for b in plan.batches] == [1, 1]


def test_prompts_are_hashed_by_token_or_text() -> None:
    assert Prompt("ab", (1, 2)).sha256 == sha256([1, 2])
    assert Prompt("ab").sha256 == sha256("ab")
    assert Prompt("", ()).sha256 == sha256([])


@pytest.mark.parametrize(
    ("use", "end"),
    [("exact_match", "<think>"), ("answer_logprob", "</think>"), ("choice_accuracy", "</think>")],
)
def test_given_answers_follow_closed_thoughts(suite_folder: Write, use: str, end: str) -> None:
    """What is written begins within the thoughts; the likelihood of a text is asked after them."""
    plan = _plan(suite_folder, use=use, arm=Stub(opens=True))

    assert plan.requests
    assert all(request.prompt.text.endswith(end) for request in plan.requests.values())


@pytest.mark.parametrize(
    ("generation", "arm", "problem"),
    [
        ('thinking = "on"', Stub(), "suite.toml:5: thinking = .on.: it knows none"),
        (
            "thinking_budget = 4000",
            Stub(opens=True, context_length=4096),
            "suite.toml:5: thinking_budget = 4000 and max_new_tokens = 256 .* context of 4096",
        ),
        (
            'thinking = "on"',
            Stub(opens=True, context_length=4352),
            "thinking_budget = 4096 and max_new_tokens = 256 .* context of 4352",
        ),
    ],
)
def test_what_no_case_can_have_is_refused_as_the_suites(
    suite_folder: Write, generation: str, arm: Stub, problem: str
) -> None:
    with pytest.raises(SuiteError, match=problem) as caught:
        _plan(suite_folder, generation=generation, arm=arm)

    assert len(caught.value.problems) == 1
    assert "\n" not in caught.value.problems[0]


def test_a_budget_that_fits_makes_longer_answers(suite_folder: Write) -> None:
    """4,000 tokens of thoughts and 256 of the answer fit 4,400, with 144 left for the prompt."""
    arm = Stub(opens=True, context_length=4400)

    assert _plan(suite_folder, generation="thinking_budget = 4000", arm=arm).requests


@pytest.mark.parametrize(
    ("use", "generation", "opens", "noted"),
    [
        ("exact_match", "", True, True),
        ("exact_match", "thinking_budget = 100", True, False),
        ("exact_match", "", False, False),
        ("answer_logprob", "", True, False),
    ],
)
def test_a_limit_that_thoughts_use_up_is_named_before_the_run(
    suite_folder: Write, use: str, generation: str, opens: bool, noted: bool
) -> None:
    """256 tokens for thoughts and answer together: said of suites that have something written."""
    toml = TOML.format(name="s", use=use, generation=generation)
    suite = suites.load_suite(suite_folder(toml, [CASE]))
    arms = {"base": Stub(opens=opens)}
    plan = make_plan([suite], arms, seed=0)

    found = list(shared_limit_notices([suite], plan.prompts, arms))

    assert [f"max_new_tokens = {256}" in line for line in found] == [True] * noted


@pytest.mark.parametrize(
    ("use", "generation", "noted"),
    [
        ("exact_match", "thinking_budget = 100", ["s: m: one limit of 356"]),
        ("exact_match", "", []),
        ("answer_logprob", "thinking_budget = 100", []),
    ],
)
def test_an_arm_that_has_one_limit_is_named_before_the_run(
    suite_folder: Write, use: str, generation: str, noted: list[str]
) -> None:
    class SharedLimitStub(Stub):
        def shared_limit(self, generation: GenerationSettings) -> str | None:
            most = generation.most_tokens
            return None if generation.budget is None else f"m: one limit of {most}"

    toml = TOML.format(name="s", use=use, generation=generation)
    suite = suites.load_suite(suite_folder(toml, [CASE]))

    found = shared_limit_notices(
        [suite], {}, {"base": SharedLimitStub(), "tuned": SharedLimitStub()}
    )

    assert noted == list(found)
