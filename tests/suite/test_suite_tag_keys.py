"""Keys of tags: a gate on every value becomes one gate for each, and no case is left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tunegate.harness.decision.planning.ship_probability import plan_suite
from tunegate.harness.suite import load_suite

RULE = '[[gates]]\nmetric = "exact_match"\nevery = "language"\ngain = 0\n'


def lines(*tags: list[str]) -> str:
    """Return a case for each list of tags."""
    return "".join(
        json.dumps({"id": f"c{i}", "prompt": f"p{i}", "expected": "x", "tags": of}) + "\n"
        for i, of in enumerate(tags)
    )


TWO = lines(["language:de"], ["language:fr", "short"], ["language:de"])


def test_a_gate_on_every_value_is_one_gate_for_each(
    written: Callable[..., Path], head: str
) -> None:
    suite = load_suite(written(head + RULE, TWO))

    assert [(g.id, g.tag, g.every) for g in suite.gates] == [
        ("exact_match::gain[language:de]", "language:de", "language"),
        ("exact_match::gain[language:fr]", "language:fr", "language"),
    ]
    assert {g.rule_id for g in suite.gates} == {"exact_match::gain[every language]"}


def test_a_case_of_a_new_value_does_not_make_another_rule(
    written: Callable[..., Path], head: str
) -> None:
    before = load_suite(written(head + RULE, TWO))
    more = lines(*[["language:de"]] * 3, ["language:es"]).splitlines()[-1]
    after = load_suite(written(head + RULE, TWO + more))

    assert before.rule_hash == after.rule_hash
    assert before.hash != after.hash


@pytest.mark.parametrize(
    ("rule", "cases", "problem"),
    [
        (
            RULE,
            lines(["language:de"], ["short"], ["long"]),
            "cases.jsonl:2: case 'c1' has no tag language:…; every='language' would leave out 2 of "
            "3 cases: tag each case",
        ),
        (
            RULE,
            lines(["de"]),
            "suite.toml:7: every='language': no case has a tag with that key; tag each case, such "
            'as "language:…"',
        ),
        (
            RULE,
            lines(["languages:de"]),
            "suite.toml:7: every='language': unknown key of tags 'language'; did you mean "
            "'languages'?",
        ),
        (
            f'{RULE}tag = "short"\n',
            TWO,
            "suite.toml:7: every='language' with tag='short': a gate has one of them; remove the "
            "other",
        ),
    ],
)
def test_what_a_key_lacks_is_refused(
    refused: Callable[..., list[str]], head: str, rule: str, cases: str, problem: str
) -> None:
    assert problem in refused(head + rule, cases)


def test_a_problem_of_the_rule_is_told_once(refused: Callable[..., list[str]], head: str) -> None:
    found = refused(head + RULE.replace("gain = 0", "gain = 2"), TWO)

    assert len(found) == 1
    assert "no difference is that large" in found[0]


def test_the_plan_names_the_smallest_value(written: Callable[..., Path], head: str) -> None:
    plan = plan_suite(load_suite(written(head + RULE, TWO)))

    assert [gate.gate.tag for gate in plan.gates] == ["language:de", "language:fr"]
    assert "every language: all 2 must hold; the smallest, language:fr, has 1 case" in plan.notes
    assert all(gate.counts for gate in plan.gates)
    assert any("'language:fr'" in refusal for refusal in plan.refusals)
