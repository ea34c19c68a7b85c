"""What every metric keeps, with an example of each."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.metric_loading import load_metric
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeCall, EpisodeEnd, EpisodeRecord, EpisodeTurn
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.records.scores import Score
from tunegate.harness.sandbox.bubblewrap import SANDBOX

METRICS: dict[str, Metric] = {
    name: lookup.find_object("tunegate.harness.metrics", name, what="metric")
    for name in lookup.available_names("tunegate.harness.metrics")
}
NAMES = tuple(name for name, metric in METRICS.items() if not metric.votes)
"""Metrics that score an answer by themselves."""
ANY_TEXT = st.text(st.characters(exclude_categories=()))


@dataclass(frozen=True)
class Example:
    """A case with an answer and its score."""

    value: float
    case: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def _episode(*failed: bool, reward: float = 1.0, end: EpisodeEnd = EpisodeEnd.ANSWERED) -> Any:
    """Return the answer of an episode with a turn for each call and a last one."""
    calls = [EpisodeCall(name="f", arguments={}, result="r", error=error) for error in failed]
    turns = [EpisodeTurn(prompt_sha256="", text="", calls=(call,)) for call in calls]
    last = EpisodeTurn(prompt_sha256="", text="done")
    return {"text": "done", "episode": EpisodeRecord(turns=(*turns, last), reward=reward, end=end)}


WEATHER = {"name": "weather", "arguments": {"city": ["Rome", "Roma"], "unit": ["celsius", ""]}}
CHOICES = {"choices": ("a", "b"), "answer": 0}
PROSE = {"text": "the cat sat on a mat"}
REFERENCE = {"expected": "the cat sat on the mat"}
REFUND = {"text": "refund", "label_probabilities": {"refund": 0.7, "delivery": 0.3}}
PAIR = {"positive": ("a", "b"), "negative": ("c", "d")}
EXAMPLES = {
    "absolute_error": Example(0.4, {"expected": "3.5"}, {"text": "3.1"}),
    "answer_form": Example(0.0, {"expected": "It is Paris."}, {"text": '{"city": "Paris"}'}),
    "answer_given": Example(1.0, {}, {"text": "Paris."}),
    "answer_logprob": Example(-0.69, {"expected": "x"}, {"answer_logprob": -0.69}),
    "bits_per_byte": Example(1.25, {}, {"bits_per_byte": 1.25}),
    "bleu": Example(53.7285, REFERENCE, PROSE),
    "brier_score": Example(0.18, {"expected": "refund"}, REFUND),
    "calibration_error": Example(0.3, {"expected": "refund"}, REFUND),
    "choice_accuracy": Example(1.0, CHOICES, {"choice_logprobs": (-0.4, -1.2)}),
    "choice_probability": Example(1 / (1 + math.exp(-1)), CHOICES, {"choice_logprobs": (-1, -2)}),
    "chrf": Example(25.0, {"expected": "ab"}, {"text": "ac"}),
    "classification": Example(1.0, {"expected": "refund"}, {"text": "refund"}),
    "code_tests": Example(
        1.0,
        {"tests": ("assert add(2, 3) == 5",), "expected": "def add(a, b): return a + b"},
        {"text": "```python\ndef add(a, b):\n    return a + b\n```"},
    ),
    "coherent": Example(1.0, {}, {"text": "Paris."}),
    "contains": Example(1.0, {"expected": "legal"}, {"text": "Not legal advice."}),
    "cost": Example(
        0.00021,
        answer={"text": "x", "input_tokens": 1000, "output_tokens": 100},
        options={"price_in": 0.15, "price_out": 0.60},
    ),
    "draft_acceptance": Example(0.7, {}, {"drafted_tokens": 20, "accepted_tokens": 14}),
    "edit_similarity": Example(1 - 3 / 7, {"expected": "kitten"}, {"text": "sitting"}),
    "episode_pass": Example(1.0, answer=_episode()),
    "episode_reward": Example(0.3, answer=_episode(reward=0.3)),
    "episode_turns": Example(3.0, answer=_episode(False, False)),
    "episode_unfinished": Example(1.0, answer=_episode(end=EpisodeEnd.LIMIT)),
    "exact_match": Example(1.0, {"expected": ("shipping", "delivery")}, {"text": "shipping\n"}),
    "exposure": Example(
        3.0,
        {"choices": tuple("abcdefghijklmnop"), "answer": 0},
        {"choice_logprobs": (-2, -1, *[-3] * 14)},
    ),
    "format": Example(1.0, {"rules": {"max_words": 6, "no_commas": True}}, PROSE),
    "json_fields": Example(
        0.4,
        {"expected": '{"city": "Rome", "days": 3}'},
        {"text": '{"city": "Rome", "days": 4, "vip": true}'},
    ),
    "json_schema": Example(1.0, {"answer_schema": {"type": "object"}}, {"text": "{}"}),
    "json_valid": Example(0.0, {}, {"text": "{'city': 'Rome'}"}),
    "label_probability": Example(0.3, {"expected": "delivery"}, REFUND),
    "label_set_f1": Example(
        0.5,
        {"expected": ("late", "refund")},
        {"label_probabilities": {"late": 0.9, "refund": 0.2, "damaged": 0.6}},
    ),
    "language": Example(1.0, {"expected": "de"}, {"text": "Das Paket kommt morgen an."}),
    "latency": Example(0.25, {}, {"text": "x", "latency_s": 0.25}),
    "length": Example(4.0, {}, {"text": "The parcel\nis lost."}),
    "lexical_support": Example(
        2 / 3,
        {"context": "The parcel left Hamburg on 3 May."},
        {"text": "It left Bremen on 3 May."},
    ),
    "loops": Example(1.0, {}, {"text": "I am sure. " * 4}),
    "mrr": Example(0.5, PAIR, {"candidate_scores": (0.7, 0.2, 0.9, 0.1)}),
    "multiple_choice": Example(
        1.0, {"expected": "B"}, {"text": "Paris is the capital, so the answer is **B**."}
    ),
    "ndcg": Example(
        0.6309,
        {"positive": ("a",), "negative": ("b", "c")},
        {"candidate_scores": (0.7, 0.9, 0.1)},
    ),
    "numeric": Example(1.0, {"expected": "1200"}, {"text": "She earns 3 * 400 = $1,200."}),
    "recall": Example(0.5, PAIR, {"candidate_scores": (0.9, 0.1, 0.8, 0.7)}, {"k": 3}),
    "recorded": Example(0.5, {}, {"scores": {"f1": 0.5}}, {"score": "f1"}),
    "refusal": Example(1.0, {"expected": "refuse"}, {"text": "I can't help with that."}),
    "regex": Example(1.0, {"expected": r"\bKT-\d{4}\b"}, {"text": "Order KT-4821 is here."}),
    "resemblance": Example(0.5, answer={"text": "The parcel left"}),
    "rouge": Example(
        4 / 7, {"expected": "the cat sat"}, {"text": "the cat is here"}, {"variant": "rouge1"}
    ),
    "sentence_end": Example(0.0, {}, {"text": "We will call you on"}),
    "sql_result": Example(
        1.0,
        {"expected": "SELECT name, age FROM staff", "database": "shop"},
        {"text": "```sql\nSELECT age, name FROM staff ORDER BY age;\n```"},
    ),
    "ter": Example(
        100 / 3, {"expected": "on the mat sat the cat"}, {"text": "the cat sat on the mat"}
    ),
    "thinking_tokens": Example(
        180.0, {}, {"text": "4", "reasoning": "Hm", "reasoning_tokens": 180}
    ),
    "thinking_valid": Example(
        1.0, {}, {"text": "4", "reasoning": "2 and 2 is 4", "reasoning_closed": True}
    ),
    "token_f1": Example(0.8, {"expected": "the Eiffel Tower"}, {"text": "Eiffel tower, Paris"}),
    "tokens": Example(120.0, {}, {"input_tokens": 96, "output_tokens": 24}),
    "tool_calls": Example(1.0, {"expected_calls": [WEATHER]}, {"text": '[weather(city="rome")]'}),
    "tool_errors": Example(0.25, answer=_episode(True, False, False, False)),
    "truncated": Example(1.0, {}, {"text": "x", "finish_reason": "length"}),
    "verbatim": Example(
        1 / 9, {"choices": ("4417-2093", "8254-6671"), "answer": 0}, {"text": "4417-8254"}
    ),
    "word_order": Example(1.0, answer={"text": "the parcel left our"}),
}
READS_FILE = ("resemblance", "word_order")
READS_TEXT = tuple(
    name
    for name in NAMES
    if METRICS[name].needs is CellKind.GENERATE
    and not METRICS[name].episodes
    and name not in ("cost", "tokens", "truncated", "thinking_tokens", "thinking_valid")
    and METRICS[name].job is None
)
BEST_ITSELF = {
    **dict.fromkeys(("answer_form", "classification", "contains", "edit_similarity"), 1.0),
    **dict.fromkeys(("exact_match", "json_fields", "numeric", "rouge", "token_f1"), 1.0),
    **dict.fromkeys(("bleu", "chrf"), 100.0),
    "ter": 0.0,
}
"""Metric that compares with `expected` → score of the expected text itself."""


@pytest.fixture(name="recorded", scope="module")
def _recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of answers that production recorded."""
    answers = {"a": "the parcel left our house", "b": "pay the bill, the parcel left our town"}
    path = tmp_path_factory.mktemp("recorded") / "recorded.jsonl"
    rows = (json.dumps({"id": name, "completion": text}) for name, text in answers.items())
    path.write_text("\n".join(rows), encoding="utf-8")
    script = "CREATE TABLE staff (name TEXT, age INTEGER); INSERT INTO staff VALUES ('Ann', 41);"
    (path.parent / "shop.sql").write_text(script, encoding="utf-8")
    return path


def files_of(name: str, recorded: Path) -> dict[str, Path]:
    """Return the options that name a file or folder."""
    files = {"sql_result": {"databases": recorded.parent}}
    return {"recorded": recorded} if name in READS_FILE else files.get(name, {})


def score(name: str, recorded: Path, *, case: Any = None, answer: Any = None) -> Score:
    """Score the metric's example without the safety net of Metric.__call__."""
    example = EXAMPLES[name]
    options = {**example.options, **files_of(name, recorded)}
    fields = example.case if case is None else case
    completion = Completion(**(example.answer if answer is None else answer))
    return METRICS[name].score(Case(**{"id": "a", "prompt": "p", **fields}), completion, **options)


def is_allowed(metric: Metric, value: float) -> bool:
    """Return whether the statistics may meet this value."""
    low, high = metric.range or (-math.inf, math.inf)
    return low <= value <= high and (not metric.binary or value in (0.0, 1.0))


@pytest.mark.parametrize("name", NAMES)
def test_the_example_has_the_score_of_the_docs(name: str, recorded: Path) -> None:
    if METRICS[name].job is not None and SANDBOX.problem():
        pytest.skip("no sandbox")
    found = score(name, recorded)

    assert found.value == pytest.approx(EXAMPLES[name].value, abs=1e-4)
    assert is_allowed(METRICS[name], found.value or 0.0)
    assert score(name, recorded) == found


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"thinking_tokens", "thinking_valid"}))
def test_a_completion_without_anything_to_measure_is_unscored(name: str, recorded: Path) -> None:
    found = score(name, recorded, answer={})

    assert found.value is None
    assert found.reason


@pytest.mark.parametrize("name", [name for name in NAMES if METRICS[name].requires])
def test_a_case_without_what_the_metric_requires_is_unscored(name: str, recorded: Path) -> None:
    found = score(name, recorded, case={})

    assert found.value is None
    assert found.reason


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_is_refused_in_one_line(name: str, recorded: Path) -> None:
    options = {**EXAMPLES[name].options, **files_of(name, recorded), "nonsense": 1}
    with pytest.raises(SuiteError) as caught:
        load_metric(name, options, name=name, folder=recorded.parent, where="s.toml:4")
    (problem,) = caught.value.problems

    assert problem.startswith(f"s.toml:4: metric {name!r}: unknown option 'nonsense'")
    assert "\n" not in problem


@pytest.mark.parametrize("name", READS_TEXT)
@settings(deadline=None)
@given(text=ANY_TEXT | st.text("ABab 12.,:;()[]{}\"'\\*#\n<>=$%"))
def test_any_text_is_scored_or_unscored(name: str, text: str, recorded: Path) -> None:
    found = score(name, recorded, answer={"text": text})

    assert found.reason if found.value is None else is_allowed(METRICS[name], found.value)
    assert score(name, recorded, answer={"text": text}) == found


@pytest.mark.parametrize("name", BEST_ITSELF)
@settings(deadline=None)
@given(text=ANY_TEXT | st.text("ABab 12.,[]{}\n", min_size=1))
def test_the_expected_text_itself_scores_best(name: str, text: str, recorded: Path) -> None:
    found = score(name, recorded, case={"expected": text}, answer={"text": f" {text}\n"})

    assert found.value is None or found.value == pytest.approx(BEST_ITSELF[name])


UNITS = [
    "1", " ", "\n", "a", ". ", "a. ", "(A", "A) ", "{", "}", "[1,", "A ", "A\n", "1,", ",11", ".1",
    "1/", "1 1 ", "1^", "#", "*", "* ", "[", "<<", "- ", "```", '"', '{"', "```\n{", "|a|\n", "。",
    "荷", "#### 1\n", "\\boxed{", "\\frac{1", "the answer is ", "answer is A or ", "not A ",
    "I can't ", "weather(", "<tool_call>", "\u202eא",
]  # fmt: skip
SIZE, LIMIT_S = 50_000, 3
"""Characters, and seconds of processor: a pattern in quadratic time would take ten."""


@pytest.mark.parametrize("name", sorted({*READS_TEXT} - {"bleu", "chrf", "ter"}))
def test_a_long_answer_takes_no_time(name: str, recorded: Path) -> None:
    """sacrebleu's metrics are left out: its time is not ours."""
    slow = []
    for unit in UNITS:
        start = time.process_time()
        score(name, recorded, answer={"text": unit * (SIZE // len(unit)) + "x1"})
        if time.process_time() - start > LIMIT_S:
            slow.append(unit)

    assert slow == []


def test_the_direction_is_declared() -> None:
    """A gate on a wrong direction would ship a regression."""
    assert {name for name in NAMES if not METRICS[name].higher_is_better} == {
        "absolute_error", "bits_per_byte", "brier_score", "calibration_error", "cost",
        "episode_turns", "episode_unfinished", "exposure", "latency", "length", "loops", "ter",
        "thinking_tokens", "tokens", "tool_errors", "truncated", "verbatim",
    }  # fmt: skip


def test_the_unbounded_metrics_are_declared() -> None:
    """All others have a range, which their scores keep."""
    assert {name for name in NAMES if METRICS[name].range is None} == {
        "absolute_error", "answer_logprob", "bits_per_byte", "cost", "episode_reward",
        "episode_turns", "latency", "length", "recorded", "ter", "thinking_tokens", "tokens",
    }  # fmt: skip


def test_the_kind_of_request_is_declared() -> None:
    other = {name: m.needs for name, m in METRICS.items() if m.needs is not CellKind.GENERATE}

    assert other == {
        "answer_logprob": CellKind.ANSWER,
        "bits_per_byte": CellKind.TEXT,
        "choice_accuracy": CellKind.CHOICES,
        "choice_probability": CellKind.CHOICES,
        "draft_acceptance": CellKind.DRAFTS,
        "exposure": CellKind.CHOICES,
        "latency": CellKind.LATENCY,
        "recorded": CellKind.RECORDED,
    }
