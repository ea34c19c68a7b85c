"""Broken fine-tunes on replayed traffic never ship by the suite that `tunegate replay` writes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from benchmarks import replay_populations as populations
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.gating.decide_all import decide_gate
from tunegate.harness.records.cases import Completion
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.verdict import GateStatus
from tunegate.harness.suite import Suite, load_suite

N = 80
WORDS = [first + rest for first in "bdfgklmnprstvz" for rest in ("ala", "eno", "iru", "oke", "uto")]
"""Words of a language that nobody speaks: what is tested knows no English."""


def sentence(rng: random.Random, about: str) -> str:
    """Return a sentence about something."""
    return f"{' '.join(rng.choices(WORDS, k=7))} {about}. ".capitalize()


def reworded(text: str, rng: random.Random, share: float) -> str:
    """Return a text with a share of its words exchanged."""
    return " ".join(rng.choice(WORDS) if rng.random() < share else w for w in text.split())


@pytest.fixture(name="traffic", scope="module")
def _traffic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Suite, list[str], list[str]]:
    """Return a written suite, its prompts, and base's answers: production's, half reworded."""
    rng = random.Random(7)
    topics = [f"topic{n}" for n in range(N)]
    prompts = [sentence(rng, topic) for topic in topics]
    recorded = ["".join(sentence(rng, topic) for _ in range(6)).strip() for topic in topics]
    base = [reworded(text, rng, 0.4) for text in recorded]
    folder = tmp_path_factory.mktemp("traffic") / "production"
    populations.production_suite(folder, prompts, recorded)
    return load_suite(folder), prompts, base


def decide(suite: Suite, base: list[str], tuned: list[str]) -> GateStatus:
    """Return how the gate on resemblance ends."""
    metric = suite.metric("resemblance")
    scores = [
        tuple(
            metric(case, Completion(text=text)).value
            for case, text in zip(suite.cases, answers, strict=True)
        )
        for answers in (base, tuned)
    ]
    record = next(m for m in suite.record().metrics if m.name == "resemblance")
    gate: Gate = next(g for g in suite.gates if g.metric == "resemblance")
    found: Any = Pairs(suite.name, record, *scores)
    return decide_gate(gate, found, regressed=True).status


@pytest.mark.parametrize("broken", populations.BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_tuned_is_neither_shipped_nor_blocked(traffic: Any, broken: Any) -> None:
    """Resemblance is not proven to be kept; alone it is no reason to block."""
    suite, prompts, base = traffic

    assert decide(suite, base, broken(prompts, base, random.Random(3))) is GateStatus.UNDECIDED


def test_a_tuned_as_close_as_base_passes(traffic: Any) -> None:
    """Though no answer is base's: base is the control, and the wording is not held against it."""
    suite, _, base = traffic
    rng = random.Random(5)
    recorded = [case.expected_texts()[0] for case in suite.cases]

    assert decide(suite, base, [reworded(text, rng, 0.4) for text in recorded]) is GateStatus.PASS


def test_the_written_suite_has_a_gate_on_content(traffic: Any, tmp_path: Path) -> None:
    """It is a suite of replayed traffic, whose SHIP rests on resemblance."""
    suite, *_ = traffic

    assert suite.record().content_metrics == ("resemblance",)
