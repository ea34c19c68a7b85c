"""Prompt lengths: what tokenizers explain is told, and the rest is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunegate.harness.checks.prompt_lengths import (
    compare_prompt_lengths,
    refuse_other_lengths,
    without_proof,
)
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.errors import NotComparable
from tunegate.harness.records.verdict import Verdict, VerdictRecord
from tunegate.harness.run.evaluate import evaluate
from tunegate.harness.run.options import RunOptions
from tunegate.harness.suite import load_suite

LENGTHS = tuple(20 + 3 * (i % 11) for i in range(60))
RECORDED: dict[str, Any] = {
    n: SimpleNamespace(recorded=True, recorded_request=True)
    for n in ("base", "tuned", "incumbent", "shipped")
}


def answers(counts: Mapping[str, Sequence[int | None]], **more: Any) -> list[StoredAnswer]:
    return [
        StoredAnswer.of(
            Cell(suite="s", case=f"c{i}", arm=arm, kind=CellKind.GENERATE, key=f"{arm}{i}"),
            Completion(text="x", input_tokens=length, **more),
            None,
            0.0,
        )
        for arm, lengths in counts.items()
        for i, length in enumerate(lengths)
    ]


def refusal(counts: Mapping[str, Sequence[int | None]], arms: Any = RECORDED) -> str:
    lengths = compare_prompt_lengths(arms, answers(counts))
    with pytest.raises(NotComparable) as caught:
        refuse_other_lengths(lengths)
    assert "\n" not in str(caught.value)
    assert "--allow-prompt-difference" in str(caught.value)
    assert without_proof({"status": "proven"}, lengths)["status"] == "declared"
    return str(caught.value)


def note(tuned: Sequence[int | None]) -> dict[str, Any]:
    lengths = compare_prompt_lengths(RECORDED, answers({"base": LENGTHS, "tuned": tuned}))
    refuse_other_lengths(lengths)
    return without_proof({"status": "proven", "prompts": 60}, lengths) if lengths else {}


def test_equal_lengths_change_nothing() -> None:
    assert note(LENGTHS) == {}


def test_a_hint_in_some_cases_is_refused() -> None:
    hinted = [n + 9 if i in (3, 7) else n for i, n in enumerate(LENGTHS)]
    told = refusal({"base": LENGTHS, "tuned": hinted})

    assert "prompts of 2 of 60 cases differ in length ('c3', 'c7')" in told
    assert "'c3' has 29 tokens in base and 38 in tuned" in told


def test_a_system_prompt_for_one_arm_is_refused() -> None:
    told = refusal({"base": LENGTHS, "tuned": [n + 40 for n in LENGTHS]})
    assert "prompts of tuned are 40 tokens longer than those of base" in told
    told = refusal({"base": [n + 3 for n in LENGTHS], "tuned": LENGTHS})
    assert "prompts of base are 3 tokens longer than those of tuned" in told


def test_examples_for_one_arm_are_refused_whatever_the_tokenizers() -> None:
    told = refusal({"base": LENGTHS, "tuned": [5 * n + i % 7 for i, n in enumerate(LENGTHS)]})
    assert "more than tokenizers explain" in told


@pytest.mark.parametrize("arm", ["incumbent", "shipped"])
def test_further_arms_get_the_prompts_of_the_arm_that_they_are_compared_with(arm: str) -> None:
    longer = [n + 40 for n in LENGTHS]
    assert f"prompts of {arm} are" in refusal({"base": LENGTHS, "tuned": LENGTHS, arm: longer})


def test_a_start_token_is_told_and_not_refused() -> None:
    told = note([n + 1 for n in LENGTHS])
    assert (told["status"], told["on_trust"], told["prompts"]) == ("declared", 60, 60)
    assert "median of 33.5 tokens in base and 34.5 in tuned" in told["note"]


def test_another_tokenizer_is_told_and_not_refused() -> None:
    told = note([round(1.3 * n) for n in LENGTHS])
    assert (told["status"], told["on_trust"]) == ("declared", 60)


def test_counts_that_nobody_gave_are_not_compared() -> None:
    assert note([None] * 60) == {}
    assert note([0] * 60) == {}  # a server that counts what it had not cached


def test_later_turns_and_other_tools_are_not_compared() -> None:
    longer = [n + 40 for n in LENGTHS]
    scored = SimpleNamespace(results=True, recorded=True, recorded_request=True)
    arms: Any = {**RECORDED, "tuned": scored}
    assert not compare_prompt_lengths(arms, answers({"base": LENGTHS, "tuned": longer}))


def test_prompts_that_were_rendered_here_are_compared_by_their_tokens() -> None:
    """Base's tokenizer splits a token that training added."""
    arms: Any = dict.fromkeys(("base", "tuned"), SimpleNamespace(identity={}))
    counts = {"base": LENGTHS, "tuned": [n + 9 for n in LENGTHS]}
    assert not compare_prompt_lengths(arms, answers(counts))
    sent: Any = dict.fromkeys(arms, SimpleNamespace(identity={"prompts": "messages"}))
    assert "9 tokens longer" in refusal(counts, sent)


WRONG = ("no", "I think it is not", "Never", "maybe later", "It depends on what you mean")


def test_a_gate_refuses_other_prompts_unless_they_are_allowed(tmp_path: Path) -> None:
    """And a run that is judged says that its prompts are not proven."""
    rows = [{"id": f"c{i}", "prompt": f"{i} + 1?", "expected": "yes"} for i in range(60)]
    (tmp_path / "cases.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "suite.toml").write_text(
        'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'
        '[[gates]]\nmetric = "exact_match"\ngain = 0.05\n',
        encoding="utf-8",
    )
    specs = {}
    for arm, more in (("base", 0), ("tuned", 40)):
        lines = [
            {
                "id": row["id"],
                "completion": "yes" if arm == "tuned" else WRONG[i % len(WRONG)],
                "prompt": row["prompt"],
                "input_tokens": LENGTHS[i] + more,
            }
            for i, row in enumerate(rows)
        ]
        path = tmp_path / f"{arm}.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        specs[arm] = f"replay:{path}"

    def judge(*, allowed: bool) -> VerdictRecord:
        return evaluate(
            RunOptions(
                suites=(load_suite(tmp_path),),
                specs=specs,
                folder=tmp_path / f"run-{allowed}",
                store=tmp_path / "store.sqlite",
                stream=io.StringIO(),
                allow_prompt_difference=allowed,
            )
        )

    refused, judged = judge(allowed=False), judge(allowed=True)
    assert refused.verdict is Verdict.NOT_COMPARABLE
    assert "40 tokens longer" in refused.sentence
    assert judged.verdict is Verdict.SHIP
    for verdict in (refused, judged):
        assert (verdict.comparability["status"], verdict.comparability["on_trust"]) == (
            "declared",
            60,
        )
    assert any("40 tokens longer" in line for line in judged.trust_notes())
