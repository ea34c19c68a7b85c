"""Divergence of shipped from tuned, against whole forwards of the tiny models."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tiny_models import muted
from tunegate.harness.contracts.further_arm import SHIPPED
from tunegate.harness.engine.inference import local_engine
from tunegate.harness.engine.inference.speculative import draft_ids
from tunegate.harness.engine.plan import Plan
from tunegate.harness.models.scripted import ModelScript, ScriptedArm
from tunegate.harness.records.answers import Cell, CellKind, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.run.divergence import measure_divergence


@pytest.fixture(name="answered")
def _answered(tiny: Any, ask: Any) -> tuple[Plan, list[StoredAnswer], dict[str, Any]]:
    """Answers of the tiny fine-tune to two prompts; base stands in for what ships."""
    pair = tiny.pair()
    cases = [Case(id=str(i), prompt=text) for i, text in enumerate(("a refund", "the parcel is"))]
    with muted():
        asked = ask(pair["tuned"], cases, max_new_tokens=8)
        answers = {
            a.key: a.completion for a in local_engine.complete_requests(pair["tuned"], asked)
        }
    prompts = {("s", r.case.id, "tuned"): r.prompt for r in asked}
    cells = [
        StoredAnswer(
            cell=Cell(suite="s", case=name, arm="tuned", kind=CellKind.GENERATE, key=name),
            status="ok",
            completion=completion,
        )
        for name, completion in answers.items()
    ]
    plan = Plan((), (), {}, prompts, {})
    return plan, cells, {"tuned": pair["tuned"], SHIPPED: pair["base"]}


def test_it_is_that_of_whole_forwards(answered: Any) -> None:
    import torch

    plan, cells, arms = answered
    with muted():
        found = measure_divergence(plan.prompts, cells, arms, seed=0)["s"]

    kl = logprob = 0.0
    tokens = same = 0
    until = []
    for stored in cells:
        prompt = plan.prompts["s", stored.cell.case, "tuned"].token_ids
        answer = draft_ids(arms["tuned"], stored.completion)
        rows = {}
        for name, arm in arms.items():
            with arm.active() as model, torch.inference_mode(), muted():
                logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0].double()
            rows[name] = logits[len(prompt) - 1 : -1].log_softmax(-1)
        p, q = rows["tuned"], rows[SHIPPED]
        kl += float((p.exp() * (p - q)).sum())
        logprob += sum(float(q[i, t] - p[i, t]) for i, t in enumerate(answer))
        agree = (p.argmax(-1) == q.argmax(-1)).tolist()
        same += sum(agree)
        tokens += len(answer)
        until.append((agree.index(False) if False in agree else len(agree)) / len(answer))
    assert (found.answers, found.tokens) == (2, tokens)
    assert found.kl == pytest.approx(kl / tokens, rel=1e-4)
    assert found.kl > 0.01
    assert found.logprob == pytest.approx(logprob / tokens, rel=1e-4)
    assert found.same_choice == pytest.approx(same / tokens)
    assert found.until == pytest.approx(sum(until) / 2)


def test_the_same_model_has_none(answered: Any) -> None:
    plan, cells, arms = answered
    with muted():
        found = measure_divergence(plan.prompts, cells, {**arms, SHIPPED: arms["tuned"]}, seed=0)[
            "s"
        ]

    assert (found.kl, found.logprob, found.same_choice, found.until) == (0.0, 0.0, 1.0, 1.0)


def test_without_logits_there_is_nothing_to_measure(answered: Any) -> None:
    """A scripted or served artifact has none; nor has a run without one."""
    plan, cells, arms = answered

    assert (
        measure_divergence(
            plan.prompts, cells, {**arms, SHIPPED: ScriptedArm("s", ModelScript())}, seed=0
        )
        == {}
    )
    assert measure_divergence(plan.prompts, cells, {"tuned": arms["tuned"]}, seed=0) == {}
    assert measure_divergence(plan.prompts, [], arms, seed=0) == {}
