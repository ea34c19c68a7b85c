"""Whether the answer is the right label of a fixed set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._json_parsing import shorten_text
from tunegate.harness.metrics._words import matched_index, name_pattern, normalize_text
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    labels = options.get("labels", ())
    extract = options.get("extract", False)
    if extract and not labels:
        return ["metric 'classification': extract = true needs the option labels = […] to look for"]
    if options.get("aggregate") == "corpus" and not labels:
        return ["metric 'classification': macro-F1 needs the option labels = […], its classes"]
    if not labels:
        return []
    fold = options.get("ignore_case", False) or extract
    names = [_plain(label, fold) for label in labels]
    problems = [
        f"metric 'classification': labels: {label!r} is empty or a duplicate; remove it"
        for index, label in enumerate(labels)
        if not names[index] or names[index] in names[:index]
    ]
    expected = {_plain(text, fold) for case in cases for text in case.expected_texts()}
    unseen = [
        repr(label) for label, name in zip(labels, names, strict=True) if name not in expected
    ]
    if options.get("aggregate") == "corpus" and unseen:
        problems.append(
            f"metric 'classification': labels: no case expects {', '.join(unseen)}, and macro-F1 "
            "needs cases of each class; add some, or remove the label"
        )
    return problems + [
        f"metric 'classification': case {case.id!r} has expected={shorten_text(text, 80)!r}, which "
        f"is not one of the labels {', '.join(labels)}"
        for case in cases
        for text in case.expected_texts()
        if _plain(text, fold) not in names
    ]


def macro_f1(counts: Sequence[float]) -> float:
    """Return the mean F1 of the classes, from the sum of the cases' `counts`.

    The counts are (hits, false alarms, misses) of each class in the order of `labels`; F1 is
    2 · hits / (2 · hits + false alarms + misses). A class that was neither expected nor answered
    has none and is left out, as in scikit-learn's default.

    Raises:
        ValueError: no class occurred.
    """
    classes = zip(counts[0::3], counts[1::3], counts[2::3], strict=True)
    scores = [
        2 * hits / (2 * hits + alarms + misses)
        for hits, alarms, misses in classes
        if hits + alarms + misses > 0
    ]
    if not scores:
        raise ValueError("macro-F1 of no class: nothing was counted")
    return sum(scores) / len(scores)


def heaviest_class(counts: Sequence[float]) -> float:
    """Return how many mean cases a case of the class with the most to lose weighs in macro-F1.

    A class of n_i cases of n that fails altogether takes F1_i / k from the mean of k classes, which
    is F1_i / (k n_i) a case; a case of mean weight takes macro-F1 / n. A class that no case expects
    counts as one case that is right.
    """
    classes = list(zip(counts[0::3], counts[1::3], counts[2::3], strict=True))
    n, level = sum(hits + misses for hits, _, misses in classes), macro_f1(counts)
    lost = max(
        2 * hits / (2 * hits + alarms + misses) / (hits + misses) if hits + misses else 1.0
        for hits, alarms, misses in classes
    )
    return max(1.0, n * lost / len(classes) / level) if level else 1.0


@metric(
    label="right labels",
    binary=True,
    requires=("expected",),
    check=_check,
    corpus=macro_f1,
    aggregate="mean",
    heaviest=heaviest_class,
)
def classification(
    case: Case,
    completion: Completion,
    *,
    labels: tuple[str, ...] = (),
    ignore_case: bool = False,
    extract: bool = False,
) -> Score:
    """Score 1 if the answer is the case's label, else 0.

    Gates use the accuracy. With `labels`, `aggregate = "corpus"` gates on macro-F1 instead, the
    unweighted mean of the classes' F1. An answer that is not a label counts as a miss.

    Known problems:
        Gates on macro-F1 are advisory below 50 cases, and a rare class makes the interval wide.
        With `extract`, `not spam` counts as `spam`.

    Example:
        Labels `refund`, `delivery`; expected `refund`: `refund` scores 1. `It is a refund.` scores
        1 only with `extract = true`, and `refund or delivery` is unscored then.

    Options:
        labels: The classes, each once. Other expected texts are refused.
        ignore_case: Ignore case.
        extract: Also accept the one label that occurs as a word of its own. Two labels are
            unscored.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if not case.expected_texts():
        return Score.unscored("the case has no expected label")
    fold = ignore_case or extract
    answer = _plain(completion.text, fold)
    label_names = [_plain(label, fold) for label in labels]
    if extract and answer not in label_names:
        names = name_pattern(labels, answer)
        indices = (
            sorted({matched_index(place) for place in names.finditer(answer)}) if names else []
        )
        if len(indices) > 1:
            several = " and ".join(labels[index] for index in indices)
            return Score.unscored(f"ambiguous: the answer names {several}")
        answer = label_names[indices[0]] if indices else ""
    wanted = [_plain(text, fold) for text in case.expected_texts()]
    counts = _counts(answer, wanted, label_names) if label_names else None
    reason = (
        None if answer in label_names or not label_names else "the answer is not one of the labels"
    )
    return Score.of(float(answer in wanted), reason, counts=counts)


def _plain(text: str, fold: bool) -> str:
    return normalize_text(text) if fold else text.strip()


def _counts(answer: str, wanted: Sequence[str], label_names: Sequence[str]) -> list[float]:
    """Return (hit, false alarm, miss) of each class for one case."""
    truth = answer if answer in wanted else wanted[0]
    return [
        float(count)
        for label in label_names
        for count in (
            label == truth == answer,
            label == answer != truth,
            label == truth != answer,
        )
    ]
