"""Comparability of other tools' results: the same prompts, right answers, rules and scores.

A case whose prompts differ is unscored (`decision/scoring.py`). If more than one in a hundred
differ, the runs differ in more than the model. One other right answer or rule is enough: then the
scores do not measure the same thing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.model import Arm, first_difference
from tunegate.harness.contracts.result_reader import ResultRow
from tunegate.harness.contracts.result_set import (
    ResultSet,
    ScoredArm,
    ScoreSummary,
    without_addresses,
)
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import NotComparable, UsageError, unknown_name_message
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite import Suite

MOST_OTHER_PROMPTS = 0.01
"""Share of cases whose prompt may differ between two arms."""
EXCERPT = 60
"""Characters of a prompt, setting or rule that are shown."""


def check_recorded_scores(suites: Iterable[Suite], arms: Mapping[str, Arm]) -> None:
    """Refuse recorded metrics that an arm's results cannot answer as the suite states them."""
    problems = [
        f"{suite.name}: {problem}"
        for suite in suites
        for arm in arms.values()
        if isinstance(arm, ScoredArm)
        for problem in _suite_problems(suite, arm.results)
    ]
    results = {n: arm.results for n, arm in arms.items() if isinstance(arm, ScoredArm)}
    for suite in suites:
        problems += [f"{suite.name}: {problem}" for problem in _scale_problems(suite, results)]
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))


OTHER_SCALE = 4
"""Ratio of the largest scores of two arms, from which on their scales differ."""
_PERCENT = (0.0, 100.0)


def _scale_problems(suite: Suite, results: Mapping[str, ResultSet]) -> Iterator[str]:
    """Yield scores that base has on another scale than an arm, such as 0 to 1 and 0 to 100.

    A range in the metric says that both are on that scale; but scores of 0 to 1 are no percentages.
    """
    for metric in suite.metrics if "base" in results else ():
        key = str(metric.options.get("score", ""))
        if metric.needs is not CellKind.RECORDED:
            continue
        spans = {name: _spans(found, key) for name, found in results.items()}
        for name, theirs in spans.items():
            for task, (low, high) in theirs.items():
                ours = spans["base"].get(task)
                if ours is None:
                    continue
                small, large = sorted(max(map(abs, span)) for span in (ours, (low, high)))
                declared = metric.range is not None and not (
                    metric.range == _PERCENT and small <= 1
                )
                if 0 < small * OTHER_SCALE <= large and not declared:
                    yield (
                        f"metric {metric.name!r}: {key!r} is between {ours[0]:g} and {ours[1]:g} "
                        f"in base and between {low:g} and {high:g} in {name}; score both on one "
                        "scale, or write the range of both into the metric (range = [low, high])"
                    )


def _spans(found: ResultSet, key: str) -> dict[str, tuple[float, float]]:
    """Return task → smallest and largest value of a score."""
    return {s.task: (s.low, s.high) for s in found.scores if s.key == key and s.values}


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


def recorded_scores(suites: Iterable[Suite]) -> frozenset[str]:
    """Return the scores that recorded metrics of the suites use."""
    metrics = (metric for suite in suites for metric in suite.metrics)
    return frozenset(str(m.options["score"]) for m in metrics if m.needs is CellKind.RECORDED)


def shared_cases(suite: Suite, arms: Mapping[str, Arm]) -> tuple[Case, ...]:
    """Return the cases of a suite that every arm with results has."""
    known = [arm.results.case_set for arm in arms.values() if isinstance(arm, ScoredArm)]
    return tuple(case for case in suite.cases if all(case.id in ids for ids in known))


def compare_results(
    cases: Iterable[tuple[str, str]], arms: Mapping[str, Arm], scores: Collection[str]
) -> dict[str, Any]:
    """Return what is proven about the prompts of the arms with results.

    `cases` are (suite, case); the rules of scores that are not in `scores` do not matter.

    Raises:
        NotComparable: a setting or a rule differs, or the prompts of more than 1 % of the cases.
    """
    base = _results_of(arms["base"])
    ids = list(dict.fromkeys(case for _, case in cases))
    beyond = [*_beyond_suite(frozenset(ids), arms), *_lacking(ids, arms)]
    seen = compared = scoring = 0
    others = 0
    for name, arm in arms.items():
        if name == "base":
            continue
        theirs = _results_of(arm)
        both = [case for case in ids if case in base.case_set and case in theirs.case_set]
        settings = _refuse_other_settings(name, base, theirs, both, scores)
        known = [case for case in both if _prompt_hash(base, case) and _prompt_hash(theirs, case)]
        different = {c for c in known if _prompt_hash(base, c) != _prompt_hash(theirs, c)}
        if len(different) > MOST_OTHER_PROMPTS * len(known):
            raise NotComparable(_other_prompts(name, base, theirs, different, len(known)))
        same = [case for case in both if case not in different]  # the others are unscored
        rules = _refuse_other_rules(name, base, theirs, same, scores)
        scoring += len(both) if settings or not scores else rules
        seen, compared, others = seen + len(both), compared + len(known), others + len(different)
    found: dict[str, Any] = {"status": "proven", "prompts": len(ids), "compared": compared}
    if others:
        found["different"] = others
    trusted = max(seen - compared, seen - scoring)
    if trusted:
        found["on_trust"] = trusted
    if scoring < seen:
        how = f"say only for {scoring} of {seen} pairs" if scoring else "do not say"
        beyond.insert(0, f"the files {how} how answers were scored: scores taken on trust")
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
    name: str, base: ResultSet, theirs: ResultSet, both: Sequence[str], scores: Collection[str]
) -> bool:
    """Return whether the headers of both runs have any setting."""
    if base.tool != theirs.tool:
        return False
    shared: set[str] = set()
    for task in dict.fromkeys(base.answers[case, 0].task for case in both):
        ours, other = (
            {**found.settings(task), **_score_rules(found, task, scores)}
            for found in (base, theirs)
        )
        shared |= ours.keys() & other.keys()
        for key in sorted(ours.keys() & other.keys()):
            if ours[key] != other[key]:
                place = f"task {task!r}: " if task else ""
                mine, their = _excerpts(ours[key], other[key])
                raise NotComparable(
                    f"{place}base and {name} differ in {key}: base has {mine}, {name} has "
                    f"{their}; run both the same way"
                )
    return bool(shared)


def _score_rules(found: ResultSet, task: str, scores: Collection[str]) -> dict[str, Any]:
    """Return the settings of single scores: name → value."""
    rules = {score: found.traits(task, score).rule or {} for score in scores}
    return {
        f"{name} of {score}": without_addresses(value)
        for score, rule in rules.items()
        for name, value in rule.items()
    }


def _refuse_other_rules(
    name: str, base: ResultSet, theirs: ResultSet, cases: Sequence[str], scores: Collection[str]
) -> int:
    """Return in how many cases both runs have a right answer or a rule."""
    different: dict[str, list[str]] = {}
    known = 0
    for case in cases:
        ours, other = (_case_rules(found.answers[case, 0], scores) for found in (base, theirs))
        known += bool(ours.keys() & other.keys())
        for rule in ours.keys() & other.keys():
            if ours[rule] != other[rule]:
                different.setdefault(rule, []).append(case)
    for rule, found in sorted(different.items()):
        rows = base.row(found[0]), theirs.row(found[0])
        mine, their = _excerpts(*(_case_rules(r, scores).get(rule) if r else None for r in rows))
        raise NotComparable(
            f"base and {name} differ in the {rule} in {len(found)} of "
            f"{count_noun(len(cases), 'case')}: {found[0]!r} has {mine} in base and {their} in "
            f"{name}; score both by the same rule and data"
        )
    return known


def _case_rules(row: ResultRow, scores: Collection[str]) -> dict[str, Any]:
    """Return what is known of how a case was answered and scored: name → value, or its hash."""
    right = scores and row.expected is not None
    return {
        **row.rules,
        **{f"rule of {key}": row.score_rules[key] for key in scores if key in row.score_rules},
        **({"right answer": row.expected} if right else {}),
    }


def _other_prompts(
    name: str, base: ResultSet, theirs: ResultSet, different: Collection[str], known: int
) -> str:
    case = min(different)
    rows = base.row(case), theirs.row(case)
    hashes = _prompt_hash(base, case), _prompt_hash(theirs, case)
    prompts = (row.prompt if row else None for row in rows)
    ours, other = _excerpts(*(p or h for p, h in zip(prompts, hashes, strict=True)))
    return (
        f"base and {name} were asked different prompts in {len(different)} of {known} cases (at "
        f"most 1 %): {case!r} has {ours} in base and {other} in {name}; run both with the same "
        "template, examples and data"
    )


def _excerpts(ours: Any, other: Any) -> tuple[str, str]:
    """Return two values for a message: whole if they are short, else from where they differ."""
    whole = repr(ours), repr(other)
    if max(map(len, whole)) <= EXCERPT:
        return whole
    texts = [v if isinstance(v, str) else _json(v) for v in (ours, other)]
    start = max(0, first_difference(*texts) - 20)
    mine, theirs = (
        repr(
            f"{'…' if start else ''}{t[start : start + EXCERPT]}{'…' * (len(t) > start + EXCERPT)}"
        )
        for t in texts
    )
    return mine, theirs


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
