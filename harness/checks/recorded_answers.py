"""Recorded answers that must not be judged: examples, other cases, more samples than asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from tunegate.harness.contracts.environment import in_ci
from tunegate.harness.contracts.model import Arm, RecordedArm
from tunegate.harness.contracts.result_set import results_of
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite import Suite


def refuse_examples(arms: Mapping[str, Arm]) -> None:
    """Refuse the example answers of `tunegate init` in CI: they judge no model."""
    if not in_ci():
        return
    for name, arm in arms.items():
        if getattr(arm, "has_examples", False):
            raise UsageError(
                f"{name}={arm.identity['spec']}: these are the example answers of "
                "`tunegate init`: name your models in suites/pytest.ini (gate_tuned = "
                "hf:you/your-adapter@v1) and drop gate_base there"
            )


def refuse_foreign_ids(suites: Iterable[Suite], arms: Mapping[str, Arm]) -> None:
    """Refuse a recording that answers no case at all."""
    cases = {(suite.name, case.id): None for suite in suites for case in suite.cases}
    ids = {case_id for _, case_id in cases}
    for arm in arms.values():
        lines = {(suite, case_id): None for suite, case_id, _ in _answers(arm)}
        if lines and not any((suite, i) in cases if suite else i in ids for suite, i in lines):
            named = any(suite for suite, _ in lines)
            there = ((suite if named else "", case_id) for suite, case_id in cases)
            raise UsageError(
                f"{arm.identity['spec']}: none of its answers is to one of the "
                f"{count_noun(len(cases), 'case')}: it has {_first_ids(lines)}, and the cases are "
                f"{_first_ids(there)}; record the answers under the ids of the cases"
            )


def _answers(arm: Arm) -> Collection[tuple[str, str, int]]:
    """Return (suite, case, sample) of recorded answers; other tools' are checked by score."""
    theirs = results_of(arm) is not None or not isinstance(arm, RecordedArm)
    return () if theirs else getattr(arm, "answers", ())


def _first_ids(keys: Iterable[tuple[str, str]]) -> str:
    """Return the first two ids, with their suites where those are known."""
    return ", ".join(f"{suite}: {i!r}" if suite else repr(i) for suite, i in islice(keys, 2))


def refuse_further_samples(suites: Iterable[Suite], arms: Mapping[str, Arm]) -> None:
    """Refuse a file with more samples of a case than the suite asks for: the first could be picked.

    Raises:
        UsageError: file, case and both numbers.
    """
    counts: dict[str, int] = {}
    for suite in suites:
        for case in suite.cases:
            counts[case.id] = max(suite.generation.samples, counts.get(case.id, 0))
    for arm in arms.values():
        # A run folder has the samples that its own suites asked for.
        for suite_name, case_id, sample in _answers(arm):
            if not suite_name and sample >= counts.get(case_id, sample + 1):
                raise UsageError(
                    f"{arm.identity['spec']}: sample {sample} of {case_id!r}, and the suite asks "
                    f"for {count_noun(counts[case_id], 'sample')} (0 is the first): record as "
                    "many, or set samples under [generation] of suite.toml"
                )
