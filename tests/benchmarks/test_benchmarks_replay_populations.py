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


PHRASES = [" ".join(WORDS[at : at + 3]) for at in range(0, len(WORDS) - 3, 2)]
"""What people of that language say again and again."""


def phrased(rng: random.Random, about: str) -> list[str]:
    """Return the phrases of an answer about something."""
    return [phrase for _ in range(5) for phrase in (*rng.choices(PHRASES, k=3), f"{about}.")]


def rephrased(phrases: list[str], rng: random.Random) -> str:
    """Return the answer with two fifths of its phrases exchanged."""
    return " ".join(
        rng.choice(PHRASES) if rng.random() < 0.4 and not p.endswith(".") else p for p in phrases
    )


@pytest.fixture(name="learned", scope="module")
def _learned(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Suite, list[str], list[list[str]], list[str]]:
    """Return a written suite, its prompts, the phrases of production's answers, and base's."""
    rng = random.Random(11)
    topics = [f"topic{n}" for n in range(N)]
    prompts = [sentence(rng, topic) for topic in topics]
    phrases = [phrased(rng, topic) for topic in topics]
    folder = tmp_path_factory.mktemp("learned") / "production"
    populations.production_suite(folder, prompts, [" ".join(own) for own in phrases])
    return load_suite(folder), prompts, phrases, [rephrased(own, rng) for own in phrases]


WELL_FORMED = ("resemblance", "word_order", "sentence_end")


@pytest.mark.parametrize("broken", populations.OF_PRODUCTION, ids=lambda broken: broken.__name__)
def test_productions_answers_in_pieces_do_not_ship(learned: Any, broken: Any) -> None:
    suite, prompts, phrases, base = learned
    tuned = broken(prompts, [" ".join(own) for own in phrases], random.Random(3))

    found = {name: decide(suite, base, tuned, name) for name in WELL_FORMED}

    assert GateStatus.UNDECIDED in (found["word_order"], found["sentence_end"]), found
    assert GateStatus.FAIL not in found.values()


def test_a_tuned_that_rephrases_as_base_does_passes(learned: Any) -> None:
    suite, _, phrases, base = learned
    rng = random.Random(5)
    tuned = [rephrased(own, rng) for own in phrases]

    found = {name: decide(suite, base, tuned, name) for name in WELL_FORMED}

    assert set(found.values()) == {GateStatus.PASS}, found


def decide(
    suite: Suite, base: list[str], tuned: list[str], name: str = "resemblance"
) -> GateStatus:
    """Return how the gate on a metric ends."""
    metric = suite.metric(name)
    scores = [
        tuple(
            metric(case, Completion(text=text)).value
            for case, text in zip(suite.cases, answers, strict=True)
        )
        for answers in (base, tuned)
    ]
    record = next(m for m in suite.record().metrics if m.name == name)
    gate: Gate = next(g for g in suite.gates if g.metric == name)
    found: Any = Pairs(suite.name, record, *scores)
    return decide_gate(gate, found, regressed=True).status


@pytest.mark.parametrize("broken", populations.BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_tuned_is_neither_shipped_nor_blocked(traffic: Any, broken: Any) -> None:
    """Resemblance is not proven to be kept; alone it is no reason to block."""
    suite, prompts, base = traffic

    assert decide(suite, base, broken(prompts, base, random.Random(3))) is GateStatus.UNDECIDED


def test_a_tuned_as_close_as_base_passes(traffic: Any) -> None:
    suite, _, base = traffic
    rng = random.Random(5)
    recorded = [case.expected_texts()[0] for case in suite.cases]

    assert decide(suite, base, [reworded(text, rng, 0.4) for text in recorded]) is GateStatus.PASS


def test_the_written_suite_has_a_gate_on_content(traffic: Any, tmp_path: Path) -> None:
    suite, *_ = traffic

    assert suite.record().content_metrics == ("resemblance",)
