"""Loading metrics by name, with the options of a suite or of a record."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tunegate.harness.contracts import keyword_options, lookup
from tunegate.harness.contracts.judge import Judge
from tunegate.harness.contracts.metric import Metric, ScoreFunction
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError, UnknownName, unknown_name_message
from tunegate.harness.records.scores import LARGEST, Score

LABEL_WORDS = 6
"""Most words of a label: a headline has 25 altogether."""


def load_metric(
    use: str, settings: Mapping[str, Any], *, name: str, folder: Path, where: str
) -> Metric:
    """Return the metric called `use` with its options checked and bound.

    Args:
        use: A name in `harness/metrics` or `harness/judges`, or `pkg.mod:fn`.
        settings: The other keys of the `[[metrics]]` table: the metric's options, `label`, `range`
            if it declares none, and `aggregate` (`mean` or `corpus`) if it has a corpus function.
        name: Its name in gates and reports.
        folder: The suite's folder, which `Path` options are relative to.
        where: Place in the suite file, for messages.

    Raises:
        SuiteError: an option does not exist or has the wrong type, or `use` is not a function of a
            case and a completion.
        UnknownName: nothing is called `use`.
    """
    definition = _find(use)
    place = f"{where}: metric {use!r}"
    options = dict(settings)
    limits, label = _own_range(options, definition, place), _own_label(options, definition, place)
    if isinstance(definition, Judge):
        count = 3 if definition.pairs else 2
        bound = keyword_options.bind_options(
            definition.steps, options, skip=count, folder=folder, where=place
        )
        return replace(_metric_of_judge(replace(definition, options=bound), name), label=label)
    base = definition if isinstance(definition, Metric) else Metric(name=name, score=definition)
    corpus = base.corpus
    if corpus is not None and _aggregate(options, base.aggregate, place) == "mean":
        corpus = None
    bound = keyword_options.bind_options(base.score, options, skip=2, folder=folder, where=place)
    # Exact tests count successes, which a corpus value does not have.
    binary = base.binary and corpus is None
    limits = base.range if limits is None else limits
    # A metric under another name may measure something that its own label does not say.
    label = label or (base.label if name == base.name else "")
    metric = replace(
        base, name=name, label=label, options=bound, corpus=corpus, binary=binary, range=limits
    )
    return metric if base.adapt is None else base.adapt(metric)


def _find(use: str) -> Any:
    """Return the metric, function or judge called `use`."""
    judges, metrics = (
        lookup.available_names("tunegate.harness.judges"),
        lookup.available_names("tunegate.harness.metrics"),
    )
    if use in judges and use in metrics:
        raise UnknownName(
            f"{use!r} is a metric and a judge; write one of them as 'package.module:function'"
        )
    if ":" in use or use in metrics:
        metric = lookup.find_object("tunegate.harness.metrics", use, what="metric")
        if ":" in use:
            _OF_SUITES[use] = metric
        return metric
    if use in judges:
        return lookup.find_object("tunegate.harness.judges", use, what="judge")
    if use.lower() in ("judge", "llm_judge"):
        raise UnknownName(f"unknown metric {use!r}; name a judge: {', '.join(judges)}")
    raise UnknownName(unknown_name_message(use, tuple(sorted({*judges, *metrics})), what="metric"))


_OF_SUITES: dict[str, Any] = {}
"""`pkg.mod:fn` → the user's own metric, from suites that this process has loaded."""


def _recorded_metric(use: str) -> Any:
    """Return the metric that a record names; a record never causes an import of user code.

    Raises:
        UnknownName: nothing is called `use`, or it is code of a suite that was not loaded.
    """
    if ":" not in use:
        return lookup.find_object("tunegate.harness.metrics", use, what="metric")
    if use not in _OF_SUITES:
        raise UnknownName(
            f"metric {use!r} is a suite's code, which does not run just because a record names it; "
            "name the suite with --suite DIR"
        )
    return _OF_SUITES[use]


def _metric_of_judge(judge: Judge, name: str) -> Metric:
    """Return a judge as a metric."""
    return Metric(
        name=name,
        score=_unjudged_score,
        higher_is_better=judge.higher_is_better,
        range=judge.range,
        requires=judge.requires,
        check=judge.problems,
        options=judge.options,
        judge=judge,
    )


def _unjudged_score(case: Case, completion: Completion, **options: Any) -> Score:
    """Leave a case unscored that no judge has seen."""
    return Score.unscored("no judge was asked")


def heaviest_case(use: str, *sums: Sequence[float]) -> float:
    """Return how many average cases a case of the metric `use` may weigh; see `Metric.heaviest`.

    Args:
        use: The metric.
        sums: The summed counts of each arm.

    Raises:
        UnknownName: nothing is called `use`.
    """
    metric = _recorded_metric(use)
    weight = getattr(metric, "heaviest", 1.0)
    if not callable(weight):
        return float(weight)
    return max((float(weight(counts)) for counts in sums), default=1.0)


def corpus_function(use: str, options: Mapping[str, Any]) -> Callable[[Sequence[float]], float]:
    """Return the corpus function of the metric `use` with the options of a manifest.

    Raises:
        UnknownName: nothing is called `use`, or it has no corpus function.
    """
    metric = _recorded_metric(use)
    if not isinstance(metric, Metric) or metric.corpus is None:
        raise UnknownName(f"metric {use!r} has no corpus function, but this run was judged by one")
    return partial(metric.corpus, **options)


def _own_range(
    settings: dict[str, Any], definition: Metric | Judge | ScoreFunction, place: str
) -> tuple[float, float] | None:
    """Take `range` out of the settings, unless the function itself has an option of that name."""
    if not _is_free("range", settings, definition):
        return None
    limits = settings.pop("range")
    written = f"{place}: range={limits}"
    declared = definition.range if isinstance(definition, Metric | Judge) else None
    if declared is not None:
        low, high = declared
        raise SuiteError([f"{written}: its scores are between {low:g} and {high:g}; remove range"])
    numbers = isinstance(limits, list) and all(type(end) in (int, float) for end in limits)
    if not numbers or len(limits) != 2 or not -LARGEST <= limits[0] < limits[1] <= LARGEST:
        raise SuiteError([f"{written}: write the smallest and largest score, such as [0, 400]"])
    return float(limits[0]), float(limits[1])


def _own_label(
    settings: dict[str, Any], definition: Metric | Judge | ScoreFunction, place: str
) -> str:
    """Take `label` out of the settings, unless the function itself has an option of that name."""
    if not _is_free("label", settings, definition):
        return ""
    label = settings.pop("label")
    if not isinstance(label, str) or not label.strip() or len(label.split()) > LABEL_WORDS:
        raise SuiteError(
            [f"{place}: label={label!r}: write up to {LABEL_WORDS} words, such as 'valid JSON'"]
        )
    return " ".join(label.split())


def _is_free(key: str, settings: Mapping[str, Any], found: Metric | Judge | ScoreFunction) -> bool:
    """Return whether a setting is given that the function itself does not take."""
    function = found.steps if isinstance(found, Judge) else getattr(found, "score", found)
    return key in settings and key not in inspect.signature(function).parameters


def _aggregate(settings: dict[str, Any], default: str, place: str) -> str:
    """Take `aggregate` out of the settings of a metric with a corpus function."""
    value = settings.pop("aggregate", default)
    if value not in ("corpus", "mean"):
        raise SuiteError([f"{place}: aggregate={value!r}: write 'corpus' or 'mean'"])
    return str(value)
