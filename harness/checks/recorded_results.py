"""Comparability of other tools' results: the same prompts, right answers, rules and scores.

A case whose prompts differ is unscored (`decision/scoring.py`). If more than one in a hundred
differ, the runs differ in more than the model. One other right answer or rule is enough: then the
scores do not measure the same thing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.contracts.further_arm import further_arm
from tunegate.harness.contracts.model import first_difference
from tunegate.harness.contracts.result_reader import ResultRow
from tunegate.harness.contracts.result_set import ResultSet, without_addresses
from tunegate.harness.records.errors import NotComparable
from tunegate.harness.records.wording import count_noun

MOST_OTHER_PROMPTS = 0.01
"""Share of cases whose prompt may differ between two arms."""
EXCERPT = 60
"""Characters of a prompt, setting or rule that are shown."""


def compare_results(
    cases: Iterable[str],
    results: Mapping[str, ResultSet],
    scores: Collection[str],
    declared: Collection[str] = (),
) -> dict[str, Any]:
    """Return what is proven about the prompts of base's results and those of every other arm.

    The rules of scores that are not in `scores` do not matter. Arms in `declared` have a prompt of
    their own: their right answers and rules are compared, their prompts and headers are not.

    Raises:
        NotComparable: a setting or a rule differs, or the prompts of more than 1 % of the cases.
    """
    base = results["base"]
    ids = list(dict.fromkeys(cases))
    beyond = [*_beyond_suite(frozenset(ids), results), *_lacking(ids, results)]
    seen = compared = scoring = 0
    others = 0
    for name, theirs in results.items():
        if name == "base":
            continue
        paired = [case for case in ids if case in base.case_set and case in theirs.case_set]
        if name in declared:
            _refuse_other_rules(name, base, theirs, paired, scores)
            continue
        settings = _refuse_other_settings(name, base, theirs, paired, scores)
        with_prompts = [
            case for case in paired if _prompt_hash(base, case) and _prompt_hash(theirs, case)
        ]
        different = {c for c in with_prompts if _prompt_hash(base, c) != _prompt_hash(theirs, c)}
        if len(different) > MOST_OTHER_PROMPTS * len(with_prompts):
            raise NotComparable(_other_prompts(name, base, theirs, different, len(with_prompts)))
        same = [case for case in paired if case not in different]  # the others are unscored
        rules = _refuse_other_rules(name, base, theirs, same, scores)
        scoring += len(paired) if settings or not scores else rules
        seen, compared, others = (
            seen + len(paired),
            compared + len(with_prompts),
            others + len(different),
        )
    proof: dict[str, Any] = {"status": "proven", "prompts": len(ids), "compared": compared}
    if others:
        proof["different"] = others
    trusted = max(seen - compared, seen - scoring)
    if trusted:
        proof["on_trust"] = trusted
    if scoring < seen:
        how = f"say only for {scoring} of {seen} pairs" if scoring else "do not say"
        beyond.insert(0, f"the files {how} how answers were scored: scores taken on trust")
    if compared < seen:
        lacking = "no prompts" if not compared else f"prompts of {compared} of {seen} pairs only"
        proof["status"] = "declared"
        beyond.insert(0, f"the files hold {lacking}: prompts taken on trust")
    else:
        proof["by"] = "hash of the recorded prompt"
    return {**proof, **({"note": "; ".join(beyond)} if beyond else {})}


def _beyond_suite(ids: frozenset[str], results: Mapping[str, ResultSet]) -> Iterator[str]:
    """Yield how many results of an arm belong to judged tasks but to no suite."""
    for name, arm_results in results.items():
        tasks = {arm_results.answers[case, 0].task for case in ids & arm_results.case_set}
        left = sum(
            arm_results.answers[case, 0].task in tasks for case in arm_results.case_set - ids
        )
        if left:
            count = len(arm_results.cases)
            yield f"{left} of {count} cases in the results of {name} are in no suite"


def _lacking(ids: Sequence[str], results: Mapping[str, ResultSet]) -> Iterator[str]:
    """Yield how many cases lack a result of an arm, and how many of its results lack a score."""
    for name, result_set in results.items():
        there = [case for case in ids if case in result_set.case_set]
        if len(there) < len(ids):
            yield f"{len(ids) - len(there)} of {len(ids)} cases have no result in {name}"
        rows = [result_set.answers[case, 0] for case in there]
        reasons = [r.error or next(iter(r.errors.values())) for r in rows if r.error or r.errors]
        if reasons:
            yield f"{len(reasons)} of {len(rows)} results of {name} lack a score ({reasons[0]})"


def _prompt_hash(found: ResultSet, case: str) -> str | None:
    """Return the prompt hash of the first sample that has one; failed samples have none."""
    rows = (found.answers.get((case, sample)) for sample in range(found.samples))
    return next((row.prompt_sha256 for row in rows if row and row.prompt_sha256), None)


def _refuse_other_settings(
    name: str, base: ResultSet, theirs: ResultSet, paired: Sequence[str], scores: Collection[str]
) -> bool:
    """Return whether the headers of both runs have any setting."""
    if base.tool != theirs.tool:
        return False
    shared: set[str] = set()
    for task in dict.fromkeys(base.answers[case, 0].task for case in paired):
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


def _score_rules(results: ResultSet, task: str, scores: Collection[str]) -> dict[str, Any]:
    """Return the settings of single scores: name → value."""
    rules = {score: results.traits(task, score).rule or {} for score in scores}
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
    comparable = 0
    for case in cases:
        ours, other = (_case_rules(found.answers[case, 0], scores) for found in (base, theirs))
        comparable += bool(ours.keys() & other.keys())
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
    return comparable


def _case_rules(row: ResultRow, scores: Collection[str]) -> dict[str, Any]:
    """Return what is known of how a case was answered and scored: name → value, or its hash."""
    made = {key: row.score_rules[key] for key in scores if key in row.score_rules}
    return named_rules(row.rules, made, row.expected if scores else None)


def named_rules(
    rules: Mapping[str, Any], score_rules: Mapping[str, Any], right_answer: Any
) -> dict[str, Any]:
    """Return what two records of a case are compared by besides the prompt, by name."""
    return {
        **rules,
        **{f"rule of {score}": rule for score, rule in score_rules.items()},
        **({} if right_answer is None else {"right answer": right_answer}),
    }


def _other_prompts(
    name: str, base: ResultSet, theirs: ResultSet, different: Collection[str], compared: int
) -> str:
    case = min(different)
    rows = base.row(case), theirs.row(case)
    hashes = _prompt_hash(base, case), _prompt_hash(theirs, case)
    prompts = (row.prompt if row else None for row in rows)
    ours, other = _excerpts(*(p or h for p, h in zip(prompts, hashes, strict=True)))
    return (
        f"base and {name} were asked different prompts in {len(different)} of {compared} cases (at "
        f"most 1 %): {case!r} has {ours} in base and {other} in {name}; run both with the same "
        "template, examples and data"
        + f", or declare its own prompt under [{name}]"
        * further_arm(name).reference
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
