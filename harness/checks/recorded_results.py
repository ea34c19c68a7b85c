"""Comparability of other tools' results: the same prompts, settings and scores.

A case whose prompts differ is unscored (`decision/score_table.py`). If more than one in a hundred
differ, the runs differ in more than the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.model import Arm, ScoredArm
from tunegate.harness.contracts.result_set import ResultSet, ScoreSummary
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import NotComparable, UsageError, unknown_name_message
from tunegate.harness.suite import Suite

MOST_OTHER_PROMPTS = 0.01
"""Share of cases whose prompt may differ between two arms."""
EXCERPT = 60
"""Characters of a prompt or setting that are shown."""


def check_recorded_scores(suites: Iterable[Suite], arms: Mapping[str, Arm]) -> None:
    """Refuse recorded metrics that an arm's results cannot answer as the suite states them.

    Raises:
        UsageError: every missing score, wrong direction, wrong range and wrong number of samples.
    """
    problems = [
        f"{suite.name}: {problem}"
        for suite in suites
        for arm in arms.values()
        if isinstance(arm, ScoredArm)
        for problem in _suite_problems(suite, arm.results)
    ]
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))


def _suite_problems(suite: Suite, found: ResultSet) -> Iterator[str]:
    used = [m for m in suite.metrics if m.needs is CellKind.RECORDED]
    if not used:
        return
    place = f"results:{found.spec.path}"
    ids = {case.id for case in suite.cases}
    if not ids & found.case_set:
        yield (
            f"{place} has none of the {len(ids)} cases; it has {found.cases[0]!r} where the suite "
            f"has {suite.cases[0].id!r}; make the suite with `tunegate suite new --from {place}`"
        )
        return
    if found.samples != suite.generation.samples:
        yield (
            f"{place} has {found.samples} samples of most cases, the suite asks for "
            f"{suite.generation.samples}; write samples = {found.samples} under [generation]"
        )
    rows = [row for (case, _), row in found.answers.items() if case in ids]
    if all(row.error for row in rows):
        return  # every case is unscored, and the verdict says why
    tasks = {row.task for row in rows}
    for metric in used:
        yield from _metric_problems(metric, [s for s in found.scores if s.task in tasks], place)


def _metric_problems(metric: Metric, there: Sequence[ScoreSummary], place: str) -> Iterator[str]:
    key = str(metric.options.get("score", ""))
    name = f"metric {metric.name!r}"
    found = [summary for summary in there if summary.key == key]
    if not found:
        keys = tuple(dict.fromkeys(summary.key for summary in there))
        near = [known for known in keys if known.split(",")[0] == key]
        hint = (
            f"score {key!r} is ambiguous; there are: {', '.join(map(repr, near))}"
            if near
            else unknown_name_message(key, keys, what="score")
        )
        yield f"{name}: {place}: {hint}"
    for summary in found:
        yield from (f"{name}: {place}{p}" for p in _score_problems(metric, summary))


def _score_problems(metric: Metric, summary: ScoreSummary) -> Iterator[str]:
    """Yield where a score's values and traits contradict the metric."""
    key, traits = summary.key, summary.traits
    values = f"scores from {summary.low:g} to {summary.high:g} for {key!r}"
    if traits.refused:
        yield f": {key!r} cannot be compared by case: {traits.refused}"
    elif not summary.values:
        yield f": no answer has a number for {key!r}: {summary.reason}"
    if traits.higher_is_better not in (None, metric.higher_is_better):
        better = str(traits.higher_is_better).lower()
        yield f" states higher_is_better = {better} for {key!r}; write it into the metric"
    if not summary.values or metric.range is None:
        return
    low, high = metric.range
    if metric.binary and not summary.binary:
        yield f" has {values}, where binary = true allows 0 and 1; remove it"
    elif summary.low < low or summary.high > high:
        yield f" has {values}, outside range = [{low:g}, {high:g}]; write the true range"


def shared_cases(suite: Suite, arms: Mapping[str, Arm]) -> tuple[Case, ...]:
    """Return the cases of a suite that every arm with results has."""
    known = [arm.results.case_set for arm in arms.values() if isinstance(arm, ScoredArm)]
    return tuple(case for case in suite.cases if all(case.id in ids for ids in known))


def compare_results(cases: Iterable[tuple[str, str]], arms: Mapping[str, Arm]) -> dict[str, Any]:
    """Return what is proven about the prompts of the arms with results.

    `cases` holds (suite, case) of all that is compared.

    Raises:
        NotComparable: a setting or the prompts of more than 1 % of the cases differ.
    """
    base = _results_of(arms["base"])
    ids = list(dict.fromkeys(case for _, case in cases))
    beyond = [*_beyond_suite(frozenset(ids), arms), *_lacking(ids, arms)]
    seen = compared = 0
    others = 0
    for name, arm in arms.items():
        if name == "base":
            continue
        theirs = _results_of(arm)
        both = [case for case in ids if case in base.case_set and case in theirs.case_set]
        _refuse_other_settings(name, base, theirs, both)
        known = [case for case in both if _prompt_hash(base, case) and _prompt_hash(theirs, case)]
        different = [c for c in known if _prompt_hash(base, c) != _prompt_hash(theirs, c)]
        if len(different) > MOST_OTHER_PROMPTS * len(known):
            raise NotComparable(_difference(name, base, theirs, different, len(known)))
        seen, compared, others = seen + len(both), compared + len(known), others + len(different)
    found: dict[str, Any] = {"status": "proven", "prompts": len(ids), "compared": compared}
    if others:
        found["different"] = others
    if compared < seen:
        lacking = "no prompts" if not compared else f"prompts of {compared} of {seen} pairs only"
        found["status"] = "declared"
        beyond.insert(0, f"the files hold {lacking}: prompts taken on trust")
    else:
        found["by"] = "hash of the recorded prompt"
    return {**found, **({"note": "; ".join(beyond)} if beyond else {})}


def _beyond_suite(ids: frozenset[str], arms: Mapping[str, Arm]) -> Iterator[str]:
    """Yield how many results of an arm belong to judged tasks but to no suite."""
    for name, arm in arms.items():
        found = _results_of(arm)
        tasks = {found.answers[case, 0].task for case in ids & found.case_set}
        left = sum(found.answers[case, 0].task in tasks for case in found.case_set - ids)
        if left:
            yield f"{left} of {len(found.cases)} cases in the results of {name} are in no suite"


def _lacking(ids: Sequence[str], arms: Mapping[str, Arm]) -> Iterator[str]:
    """Yield how many cases lack a result of an arm, and how many of its results lack a score."""
    for name, arm in arms.items():
        found = _results_of(arm)
        there = [case for case in ids if case in found.case_set]
        if len(there) < len(ids):
            yield f"{len(ids) - len(there)} of {len(ids)} cases have no result in {name}"
        rows = [found.answers[case, 0] for case in there]
        reasons = [r.error or next(iter(r.errors.values())) for r in rows if r.error or r.errors]
        if reasons:
            yield f"{len(reasons)} of {len(rows)} results of {name} lack a score ({reasons[0]})"


def _prompt_hash(found: ResultSet, case: str) -> str | None:
    """Return the prompt hash of the first sample that has one; failed samples have none."""
    rows = (found.answers.get((case, sample)) for sample in range(found.samples))
    return next((row.prompt_sha256 for row in rows if row and row.prompt_sha256), None)


def _results_of(arm: Arm) -> ResultSet:
    assert isinstance(arm, ScoredArm)
    return arm.results


def _refuse_other_settings(
    name: str, base: ResultSet, theirs: ResultSet, both: Sequence[str]
) -> None:
    for task in dict.fromkeys(base.answers[case, 0].task for case in both):
        ours, other = base.settings(task), theirs.settings(task)
        for key in sorted(ours.keys() & other.keys()):
            if base.tool == theirs.tool and ours[key] != other[key]:
                place = f"task {task!r}: " if task else ""
                raise NotComparable(
                    f"{place}base and {name} were run with a different {key}: base has "
                    f"{_excerpt(ours[key])}, {name} has {_excerpt(other[key])}; run both alike"
                )


def _difference(
    name: str, base: ResultSet, theirs: ResultSet, different: Sequence[str], known: int
) -> str:
    case = different[0]
    ours, other = (str(one.prompt(case) or _prompt_hash(one, case)) for one in (base, theirs))
    pairs = enumerate(zip(ours, other, strict=False))
    at = next((i for i, (b, o) in pairs if b != o), min(len(ours), len(other)))
    start = max(0, at - 20)
    return (
        f"base and {name} were asked different prompts in {len(different)} of {known} cases (at "
        f"most 1 %): {case!r} has {_excerpt(ours[start:])} in base and {_excerpt(other[start:])} "
        f"in {name}; run both with the same template, examples and data"
    )


def _excerpt(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…"
