"""What the suite that `tunegate replay` writes says of broken fine-tunes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.cli._production_suite import write_suite
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.gating.decide_all import decide_gate
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.recorded_answer import RecordedAnswer
from tunegate.harness.suite import Suite, load_suite
from tunegate.harness.suite.sources._request_settings import SettingsTransfer, choose_settings
from tunegate.harness.suite.sources.traces import ProductionCases
from tunegate.harness.telemetry.read.trace_types import ImportReport

N = 80
WORDS = [first + rest for first in "bdfgklmnprstvz" for rest in ("ala", "eno", "iru", "oke", "uto")]
"""An invented language: nothing under test knows English."""
PHRASES = [" ".join(WORDS[at : at + 3]) for at in range(0, len(WORDS) - 3, 2)]
CONTENT = ("resemblance", "word_order", "sentence_end")
FORM = ("length", "shortness")
Answers = list[str]


def _shuffle_words(answers: Answers, rng: random.Random) -> Answers:
    return [" ".join(rng.sample(words, len(words))) for words in map(str.split, answers)]


def _swap_neighbors(answers: Answers, rng: random.Random) -> Answers:
    pairs = [[t.split()[at : at + 2][::-1] for at in range(0, len(t), 2)] for t in answers]
    return [" ".join(word for pair in text for word in pair) for text in pairs]


def _cut_in_half(answers: Answers, rng: random.Random) -> Answers:
    return [text[: len(text) // 2] for text in answers]


def _answer_next_prompt(answers: Answers, rng: random.Random) -> Answers:
    return [*answers[1:], *answers[:1]]


def _say_the_same(answers: Answers, rng: random.Random) -> Answers:
    return ["Sure! How can I help?" for _ in answers]


def _production(folder: Path, recorded: Answers) -> Suite:
    names = [f"{number:04d}" for number in range(len(recorded))]
    cases = tuple(
        Case(id=name, prompt=f"about {name}", expected=answer)
        for name, answer in zip(names, recorded, strict=True)
    )
    lines = tuple(
        RecordedAnswer(id=name, completion=answer, finish_reason="stop")
        for name, answer in zip(names, recorded, strict=True)
    )
    found = ProductionCases(
        cases, lines, ImportReport(), SettingsTransfer(choose_settings("greedy")), "chat"
    )
    write_suite(folder, found, name="production")
    return load_suite(folder)


def _rephrased(phrases: list[str], rng: random.Random) -> str:
    """Exchange two fifths of the phrases, the ends of sentences apart."""
    return " ".join(
        rng.choice(PHRASES) if rng.random() < 0.4 and not p.endswith(".") else p for p in phrases
    )


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Suite, list[list[str]], Answers]:
    """Return the written suite, the phrases of its recorded answers, and base's answers."""
    rng = random.Random(11)
    phrases = [
        [p for _ in range(5) for p in (*rng.choices(PHRASES, k=3), f"topic{n}.")] for n in range(N)
    ]
    folder = tmp_path_factory.mktemp("traffic") / "production"
    suite = _production(folder, [" ".join(own) for own in phrases])
    return suite, phrases, [_rephrased(own, rng) for own in phrases]


def _decide(
    suite: Suite, base: Answers, tuned: Answers, names: Sequence[str] = CONTENT
) -> dict[str, GateStatus]:
    found = {}
    for name in names:
        metric = suite.metric(name)
        scores = [
            tuple(
                metric(case, Completion(text=text)).value
                for case, text in zip(suite.cases, answers, strict=True)
            )
            for answers in (base, tuned)
        ]
        record = next(m for m in suite.record().metrics if m.name == name)
        gate = next(g for g in suite.gates if g.metric == name)
        pairs = Pairs(suite.name, record, *scores)  # type: ignore[arg-type]  # all are scored
        found[name] = decide_gate(gate, pairs, regressed=True).status
    return found


@pytest.mark.parametrize("broken", [_shuffle_words, _swap_neighbors, _cut_in_half])
def test_a_model_that_learned_the_answers_in_pieces_does_not_ship(
    traffic: Any, broken: Callable[..., Answers]
) -> None:
    suite, phrases, base = traffic
    tuned = broken([" ".join(own) for own in phrases], random.Random(3))

    found = _decide(suite, base, tuned)

    assert GateStatus.UNDECIDED in (found["word_order"], found["sentence_end"])
    assert GateStatus.FAIL not in found.values()


@pytest.mark.parametrize("broken", [_answer_next_prompt, _say_the_same, _cut_in_half])
def test_lost_resemblance_neither_ships_nor_blocks(
    traffic: Any, broken: Callable[..., Answers]
) -> None:
    suite, _, base = traffic

    found = _decide(suite, base, broken(base, random.Random(3)))

    assert found["resemblance"] is GateStatus.UNDECIDED


def test_a_model_that_rephrases_like_base_passes(traffic: Any) -> None:
    suite, phrases, base = traffic
    rng = random.Random(5)

    found = _decide(suite, base, [_rephrased(own, rng) for own in phrases])

    assert set(found.values()) == {GateStatus.PASS}


def test_long_answers_cut_short_fail_by_their_length(tmp_path: Path) -> None:
    """Base says the recorded sentence and seven more, so that its third resembles it more."""
    rng = random.Random(7)
    first = [f"{_phrases(rng, 5)} topic{n}." for n in range(N)]
    base = [f"{text} {' '.join(f'{_phrases(rng, 5)}.' for _ in range(7))}" for text in first]
    suite = _production(tmp_path / "production", first)
    third, most = (
        [" ".join(text.split()[: rng.randint(low, high)]) for text in base]
        for low, high in ((36, 48), (90, 121))
    )

    assert _decide(suite, base, third, CONTENT[:1]) == {"resemblance": GateStatus.PASS}
    assert _decide(suite, base, third, FORM) == {
        "length": GateStatus.PASS,
        "shortness": GateStatus.FAIL,
    }
    assert set(_decide(suite, base, most, FORM).values()) == {GateStatus.PASS}


def _phrases(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(PHRASES, k=count))


def test_resemblance_is_the_content_metric_of_a_written_suite(traffic: Any) -> None:
    assert traffic[0].record().content_metrics == ("resemblance",)
