"""classification: one label of a set, and the counts that macro-F1 is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics.classification import classification, heaviest_class, macro_f1
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.records.scores import Score
from tunegate.harness.suite import load_suite

LABELS = ("refund", "delivery", "other")


def score(expected: Any, text: str | None, **options: Any) -> Score:
    """Score `text` without the safety net of Metric.__call__, so that an exception shows."""
    case = Case(id="c", prompt="p", expected=expected)
    return classification.score(case, Completion(text=text), **options)


def problems(options: dict[str, Any], *expected: Any) -> list[str]:
    """Return what the metric refuses when a suite is loaded."""
    cases = [Case(id=f"c{n}", prompt="p", expected=text) for n, text in enumerate(expected)]
    assert classification.check is not None
    return list(classification.check(options, cases))


def total(scores: Sequence[Score]) -> list[float]:
    """Return the sum of the scores' counts."""
    return [math.fsum(column) for column in zip(*(s.counts or () for s in scores), strict=True)]


@pytest.mark.parametrize(
    ("expected", "text", "options", "value"),
    [
        ("refund", "refund", {}, 1.0),
        ("refund", " refund\n", {}, 1.0),  # white space around does not count
        ("refund", "Refund", {}, 0.0),  # nothing is lenient unless asked
        ("refund", "Refund", {"ignore_case": True}, 1.0),
        ("refund", "refund.", {}, 0.0),
        ("refund", "delivery", {}, 0.0),
        ("refund", "", {}, 0.0),
        (("refund", "other"), "other", {}, 1.0),  # alternatives
        ("refund", "It is a Refund.", {"extract": True}, 1.0),
        ("refund", "**refund**", {"extract": True}, 1.0),
        ("refund", "It is a refund, a real refund.", {"extract": True}, 1.0),
        ("refund", "The delivery failed.", {"extract": True}, 0.0),
        ("refund", "refunded", {"extract": True}, 0.0),  # part of a word
        ("refund", "non-refund", {"extract": True}, 0.0),
        ("refund", "I do not know.", {"extract": True}, 0.0),
        ("refund", "refund or delivery", {"extract": True}, None),
    ],
)
def test_compares_with_the_label(
    expected: Any, text: str, options: dict[str, Any], value: float | None
) -> None:
    assert score(expected, text, labels=LABELS, **options).value == value


def test_contradictory_labels_are_named() -> None:
    result = score("refund", "Delivery, no, refund", labels=LABELS, extract=True)

    assert result.reason == "ambiguous: the answer names refund and delivery"


def test_a_longer_label_hides_the_shorter_one_in_it() -> None:
    """`very good` is not also `good`."""
    labels = ("good", "very good")

    assert score("very good", "It is very good.", labels=labels, extract=True).value == 1.0
    assert score("good", "It is good.", labels=labels, extract=True).value == 1.0


@pytest.mark.parametrize(
    ("expected", "text", "counts"),
    [
        # (hit, false alarm, miss) of refund, delivery, other
        ("refund", "refund", (1, 0, 0, 0, 0, 0, 0, 0, 0)),
        ("refund", "delivery", (0, 0, 1, 0, 1, 0, 0, 0, 0)),
        ("delivery", "refund", (0, 1, 0, 0, 0, 1, 0, 0, 0)),
        ("other", "nonsense", (0, 0, 0, 0, 0, 0, 0, 0, 1)),  # no label: nobody's false alarm
        (("refund", "other"), "other", (0, 0, 0, 0, 0, 0, 1, 0, 0)),
        (("refund", "other"), "delivery", (0, 0, 1, 0, 1, 0, 0, 0, 0)),  # misses the first
    ],
)
def test_counts_by_class(expected: Any, text: str, counts: tuple[float, ...]) -> None:
    """A right answer is a hit; a wrong one misses its class and alarms another's."""
    assert score(expected, text, labels=LABELS).counts == counts


def test_without_labels_nothing_is_counted() -> None:
    assert score("refund", "refund") == Score.of(1.0)
    assert score("refund", "other") == Score.of(0.0)


def test_an_answer_that_is_no_label_says_so() -> None:
    assert score("refund", "?", labels=LABELS).reason == "the answer is not one of the labels"
    assert score("refund", "other", labels=LABELS).reason is None


def test_macro_f1_is_the_mean_over_classes() -> None:
    """Five cases, one class that never occurs.

    refund: 2 hits, 1 alarm, 0 misses: F1 = 4/5. delivery: 1 hit, 0 alarms, 2 misses: F1 = 2/4.
    The second miss of delivery was answered with no label. Mean: (4/5 + 1/2) / 2 = 0.65.
    """
    answers = [
        ("refund", "refund"),
        ("refund", "refund"),
        ("delivery", "delivery"),
        ("delivery", "refund"),
        ("delivery", "?"),
    ]
    counts = total([score(expected, text, labels=LABELS) for expected, text in answers])

    assert counts == [2, 1, 0, 1, 0, 2, 0, 0, 0]
    assert macro_f1(counts) == pytest.approx(0.65)


@pytest.mark.parametrize("counts", [[], [0.0] * 6])
def test_macro_f1_of_nothing_is_refused(counts: list[float]) -> None:
    with pytest.raises(ValueError, match="nothing was counted"):
        macro_f1(counts)


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(("?", *LABELS))), min_size=1))
def test_macro_f1_agrees_with_precision_and_recall(answers: list[tuple[str, str]]) -> None:
    values = []
    for label in LABELS:
        expected = [text for wanted, text in answers if wanted == label]
        answered = [wanted for wanted, text in answers if text == label]
        if not expected and not answered:
            continue
        hits = expected.count(label)
        recall = hits / len(expected) if expected else 0.0
        precision = hits / len(answered) if answered else 0.0
        values.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    counts = total([score(expected, text, labels=LABELS) for expected, text in answers])

    assert macro_f1(counts) == pytest.approx(sum(values) / len(values))


def test_an_expected_text_that_is_no_label_is_refused() -> None:
    assert problems({"labels": LABELS}, "refund", ("other", "delivery")) == []
    assert problems({"labels": LABELS, "ignore_case": True}, "Refund") == []
    assert problems({"labels": LABELS}, "refund", "Refund") == [
        "metric 'classification': case 'c1' has expected='Refund', which is not one of the labels "
        "refund, delivery, other"
    ]


@pytest.mark.parametrize(
    ("labels", "options", "label"),
    [(("a", "b", "a"), {}, "a"), (("a", " "), {}, " "), (("a", "A"), {"ignore_case": True}, "A")],
)
def test_labels_are_different_and_not_empty(
    labels: tuple[str, ...], options: dict[str, Any], label: str
) -> None:
    """Two classes of one name would share their counts."""
    assert problems({"labels": labels, **options}, "a") == [
        f"metric 'classification': labels: {label!r} is empty or a duplicate; remove it"
    ]


def test_extract_needs_labels() -> None:
    """There is nothing to look for without them."""
    assert problems({"extract": True}, "a") == [
        "metric 'classification': extract = true needs the option labels = […] to look for"
    ]
    assert problems({}, "a") == []


def _loaded(suite_folder: Any, more: str) -> Any:
    toml = f'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "classification"\n{more}\n'
    return load_suite(suite_folder(toml, [{"id": "a", "prompt": "p", "expected": "refund"}]))


def test_accuracy_is_the_default_and_macro_f1_on_demand(suite_folder: Any) -> None:
    """Without a word gates rest on 0/1 scores and exact tests; macro-F1 is asked for."""
    (plain,) = _loaded(suite_folder, "").metrics
    (asked,) = _loaded(suite_folder, 'labels = ["refund"]\naggregate = "corpus"').metrics

    assert (plain.corpus, plain.binary) == (None, True)
    assert (asked.corpus, asked.binary, asked.range) == (macro_f1, False, (0.0, 1.0))


def test_macro_f1_without_classes_is_refused_at_load(suite_folder: Any) -> None:
    """Its counts would have no meaning, and every case would be unscored."""
    with pytest.raises(SuiteError, match=r"suite\.toml:4: .*macro-F1 needs the option labels"):
        _loaded(suite_folder, 'aggregate = "corpus"')


def test_macro_f1_takes_cases_of_each_class(suite_folder: Any) -> None:
    """A class that no case expects has no F1 that a fine-tune could lose; accuracy needs none."""
    labels = 'labels = ["refund", "delivery"]'
    with pytest.raises(SuiteError, match=r"suite\.toml:4: .*no case expects 'delivery'"):
        _loaded(suite_folder, f'{labels}\naggregate = "corpus"')

    assert _loaded(suite_folder, labels).metrics


@pytest.mark.parametrize(
    ("counts", "weight"),
    [
        # two classes of 50, all right: F1 of 1 each, lost a fiftieth a case, of two classes
        ((50, 0, 0, 50, 0, 0), 1.0),
        # 4 of 100, all right: 1/4 of F1 a case, half of it of macro-F1, against 1/100 of the mean
        ((96, 0, 0, 4, 0, 0), 12.5),
        # the same with F1 2·2/(2·2 + 0 + 2) = 2/3 of the rare class and 192/194 of the other:
        # 100 · (2/3)/4/2 = 25/3 of their mean, 0.82818
        ((96, 2, 0, 2, 0, 2), 25 / 3 / ((192 / 194 + 2 / 3) / 2)),
        # a class without a case: one that is right, 100 · 1/2 of 1
        ((100, 0, 0, 0, 0, 0), 50.0),
        ((0, 1, 1, 0, 1, 1), 1.0),  # nothing is left to lose
    ],
)
def test_a_case_of_a_rare_class_weighs_more(counts: tuple[int, ...], weight: float) -> None:
    """What a case of the class takes from macro-F1, in units of the level by the cases."""
    assert heaviest_class(counts) == pytest.approx(weight)


def test_gates_on_macro_f1_rest_on_it(project: Any) -> None:
    """Always answering the common class: 90 % accurate, and macro-F1 of less than one half."""
    toml = (
        'name = "demo"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "classification"\n'
        'labels = ["yes", "no"]\naggregate = "corpus"\nname = "f1"\n'
        '[[metrics]]\nuse = "classification"\nlabels = ["yes", "no"]\n'
        '[[gates]]\nmetric = "f1"\nfloor = 0.9\n[[gates]]\nmetric = "classification"\nfloor = 0.9\n'
    )
    cases = [
        {"id": f"c{i:03}", "prompt": f"q{i}", "expected": "no" if i < 6 else "yes"}
        for i in range(60)
    ]
    project.raw_suite(toml, cases)
    always = {case["id"]: "yes" for case in cases}
    right = {case["id"]: case["expected"] for case in cases}
    specs = []
    for name, completions in (("base", right), ("tuned", always)):
        spec = project.model(name, 0, n=60, completions=completions)
        specs.append(f"--gate-{name}={spec}")

    result = project.gate(*specs)

    f1, accuracy = project.verdict()["suites"][0]["gates"]
    assert result.ret == 1
    # yes: 54 hits, 6 false alarms: 108/114; no: 0; their mean is 27/57
    assert (f1["tuned"], f1["status"]) == (pytest.approx(27 / 57, rel=1e-5), "fail")
    assert (accuracy["tuned"], accuracy["status"]) == (0.9, "pass")
    assert (f1["base"], accuracy["base"]) == (1.0, 1.0)
