"""Drift of what is asked: language, wording, length, tools and route beside the gate's cases."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.traced_calls import GOOD, START, SUITE, call, shipped
from tunegate.harness.production.watch.answered_case import AnsweredCase
from tunegate.harness.production.watch.counted_calls import TimeWindow
from tunegate.harness.production.watch.indicators import MonitoredFigure, feedback_figure
from tunegate.harness.production.watch.initial_state import initial_state
from tunegate.harness.production.watch.input_indicators import input_figures
from tunegate.harness.production.watch.look_record import FigureStatus, WatchRecord, watch_record
from tunegate.harness.production.watch.monitor import update_state
from tunegate.harness.records.cases import Case
from tunegate.harness.suite import Suite
from tunegate.harness.telemetry.read.trace_types import ModelCall

ENGLISH = (
    "Where is my parcel, please? It should have arrived at the {} last {}.",
    "I was charged twice for the {} that I ordered on {}, can you help me?",
    "The {} is too small, how do I send it back before {}?",
    "I cannot log in since {}, and the {} page only shows an error.",
    "Could you tell me whether the {} is in stock again by {}?",
)
FRENCH = (
    "Où est mon colis, s'il vous plaît ? Il devait arriver {} avec le {}.",
    "J'ai été débité deux fois pour le {} que j'ai commandé {}, pouvez-vous m'aider ?",
    "Le {} est trop petit, comment puis-je le renvoyer avant {} ?",
    "Je ne peux plus me connecter depuis {}, et la page du {} affiche une erreur.",
    "Pourriez-vous me dire si le {} sera de nouveau disponible {} ?",
)
THINGS = ("tent", "lamp", "stove", "jacket", "rope", "bottle", "knife", "chair")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


def asked(rng: random.Random, forms: tuple[str, ...] = ENGLISH) -> str:
    """Return what a customer asks."""
    return rng.choice(forms).format(rng.choice(THINGS), rng.choice(DAYS))


def watched(folder: Path, cases: Iterable[Case], toml: str = SUITE) -> tuple[Any, Suite]:
    """Return a run on these cases, all answered well, and its suite."""
    rows = list(cases)
    run, suite = shipped(folder, [GOOD] * len(rows), toml=toml, cases=rows)
    return run, suite


def english(n: int = 250, **more: Any) -> list[Case]:
    """Return cases of English prompts."""
    rng = random.Random(1)
    return [Case(id=f"c{k}", prompt=asked(rng), expected=GOOD, **more) for k in range(n)]


def record_of(gated: tuple[Any, Suite], calls: Iterable[ModelCall]) -> WatchRecord:
    """Return a look at the inputs of calls."""
    run, suite = gated
    figures = input_figures(suite)
    state = initial_state(run, suite, "tuned", figures, 0.05)
    return watch_record(update_state(state, figures, calls, TimeWindow(START + 1e8)), drop=0.1)


def calls_of(prompts: Iterable[str], **more: Any) -> list[ModelCall]:
    """Return a call for each prompt."""
    return [
        call(n, messages=({"role": "user", "content": prompt},), **more)
        for n, prompt in enumerate(prompts, start=1)
    ]


def alarms(record: WatchRecord) -> set[str]:
    """Return the figures with an alarm."""
    return {f.name for f in record.figures if f.status is FigureStatus.ALARM}


def test_the_same_traffic_is_quiet(tmp_path: Path) -> None:
    rng = random.Random(2)

    record = record_of(
        watched(tmp_path / "s", english()), calls_of(asked(rng) for _ in range(1000))
    )

    assert alarms(record) == set()
    assert record.counted == 1000


def test_french_prompts_alarm(tmp_path: Path) -> None:
    """By their language, and by their wording where no detector is installed."""
    rng = random.Random(2)
    prompts = [asked(rng) for _ in range(200)] + [asked(rng, FRENCH) for _ in range(300)]

    found = alarms(record_of(watched(tmp_path / "s", english()), calls_of(prompts)))

    assert {"input_language", "input_wording"} <= found


def bilingual(n: int, share: float, seed: int) -> list[str]:
    """Return prompts; a share of them is French."""
    rng = random.Random(seed)
    return [asked(rng, FRENCH if rng.random() < share else ENGLISH) for _ in range(n)]


@pytest.mark.parametrize(
    ("gate", "stream", "alarm"),
    [(0.1, 0.9, True), (0.9, 0.1, True), (0.1, 0.1, False), (0.0, 0.0, None)],
)
def test_a_language_that_becomes_common_alarms(
    tmp_path: Path, gate: float, stream: float, alarm: bool | None
) -> None:
    """A tenth of the cases is French, so that French is nothing new: its share is watched.

    If all cases are English, the figure is left out.
    """
    prompts = bilingual(250, gate, 1)
    cases = [Case(id=f"c{k}", prompt=prompt, expected=GOOD) for k, prompt in enumerate(prompts)]

    record = record_of(watched(tmp_path / "s", cases), calls_of(bilingual(1000, stream, 3)))

    names = {figure.name for figure in record.figures}
    assert ("input_other_language" in names) is (alarm is not None)
    assert ("input_other_language" in alarms(record)) is bool(alarm)


def test_another_subject_alarms_by_its_wording(tmp_path: Path) -> None:
    words = [
        "quantum",
        "lattice",
        "spin",
        "boson",
        "tensor",
        "gauge",
        "photon",
        "vacuum",
        "scalar",
        "operator",
    ]
    rng = random.Random(3)
    prompts = [
        f"Explain the {rng.choice(words)} {rng.choice(words)} to me, briefly." for _ in range(400)
    ]

    found = alarms(record_of(watched(tmp_path / "s", english()), calls_of(prompts)))

    assert "input_wording" in found
    assert "input_language" not in found


def test_length_alarms_both_ways(tmp_path: Path) -> None:
    gated = watched(tmp_path / "s", english())
    rng = random.Random(4)
    long = calls_of(" ".join(asked(rng) for _ in range(4)) for _ in range(400))
    short = calls_of(asked(rng)[:20] for _ in range(400))

    assert "input_longer" in alarms(record_of(gated, long))
    assert "input_shorter" in alarms(record_of(gated, short))


def test_new_tools_alarm(tmp_path: Path) -> None:
    """A tool that no case offers; those that cases offer do not."""
    tool = {"type": "function", "function": {"name": "order_status", "parameters": {}}}
    other = {"type": "function", "function": {"name": "refund", "parameters": {}}}
    gated = watched(tmp_path / "s", english(tools=(tool,)))
    rng = random.Random(5)
    prompts = [asked(rng) for _ in range(400)]

    assert "input_tools" not in alarms(record_of(gated, calls_of(prompts, tools=(tool,))))
    assert "input_tools" in alarms(record_of(gated, calls_of(prompts, tools=(tool, other))))


def test_routes_are_watched_of_replayed_traffic(tmp_path: Path) -> None:
    """Its tags are models and routes; the tags of other suites are anything."""
    gated = watched(tmp_path / "s", english(tags=("shop-7", "/chat")), "replay = true\n" + SUITE)
    rng = random.Random(6)
    prompts = [asked(rng) for _ in range(400)]

    same = record_of(gated, calls_of(prompts, attributes={"http.route": "/chat"}))
    other = record_of(gated, calls_of(prompts, attributes={"http.route": "/agent"}))
    none = record_of(gated, calls_of(prompts))

    assert "input_route" not in alarms(same)
    assert "input_route" in alarms(other)
    assert next(f for f in none.figures if f.name == "input_route").unscored == 400
    assert "input_route" not in {
        f.name for f in input_figures(watched(tmp_path / "t", english())[1])
    }


class TestStrangeness:
    """A case is held against the others, of other clusters; production against all."""

    CASES = (
        Case(id="a", prompt="cats", expected="x", cluster="one"),
        Case(id="b", prompt="cats", expected="x", cluster="one"),
        Case(id="c", prompt="dogs 17", expected="x"),
        Case(id="d", prompt="dogs 42", expected="x"),
    )

    @staticmethod
    def score(name: str, figures: list[MonitoredFigure], case: Case) -> float | None:
        """Return a figure's value of a case."""
        figure = next(f for f in figures if f.name == name)
        return figure.measure(AnsweredCase(case, None)).value

    def test_by_hand(self, tmp_path: Path) -> None:
        """`cats` is in one cluster alone; numbers are all one; a stranger shares what it shares."""
        _, suite = watched(tmp_path / "s", self.CASES)
        figures = input_figures(suite)

        def strangeness(case: Case) -> float | None:
            return self.score("input_wording", figures, case)

        assert [strangeness(case) for case in suite.cases] == [1.0, 1.0, 0.0, 0.0]
        assert strangeness(Case(id="trace:1", prompt="cats")) == 0.0
        # " cow", "cows", "ows " and " cat", "cats", "ats ": half of six are seen
        assert strangeness(Case(id="trace:2", prompt="cows cats")) == 0.5
        assert strangeness(Case(id="trace:3", prompt="")) is None


@pytest.mark.parametrize(
    ("told", "value"),
    [
        (True, 0.0), (False, 1.0), (1, 0.0), (-1, 1.0), (0.0, 1.0), ("thumbs-down", 1.0),
        ("Thumbs Up", 0.0), ("meh", None), (None, None), (["up"], None),
    ],
)  # fmt: skip
def test_feedback_is_read_in_its_forms(told: Any, value: float | None) -> None:
    """Truth values, numbers and words; other values are not feedback."""
    one = AnsweredCase(Case(id="x", prompt="p"), None, {"user.feedback": told})

    assert feedback_figure("user.feedback", 0.2).measure(one).value == value


def test_complaints_alarm_beyond_what_is_allowed(tmp_path: Path) -> None:
    """The bound is the user's; calls without feedback do not count."""
    run, suite = watched(tmp_path / "s", english(20))
    figures = [feedback_figure("fb", 0.2)]
    state = initial_state(run, suite, "tuned", figures, 0.05)

    def look(bad_every: int) -> WatchRecord:
        calls = [
            call(n, attributes={"fb": n % bad_every != 0} if n % 2 else {}) for n in range(1, 801)
        ]
        return watch_record(
            update_state(state, figures, calls, TimeWindow(START + 1e8)),
            drop=0.1,
            judged=["feedback"],
        )

    assert alarms(look(9)) == set()
    bad = look(1)
    assert alarms(bad) == {"feedback"}
    assert bad.figures[0].allowed == 0.2
    assert bad.figures[0].unscored == 400
    assert "whether answers are right" not in " ".join(bad.not_seen)
