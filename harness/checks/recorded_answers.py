"""Recorded answers that must not be judged: examples in CI, and more samples than asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tunegate.harness.contracts.environment import in_ci
from tunegate.harness.contracts.model import Arm
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite import Suite


def refuse_examples(arms: Mapping[str, Arm]) -> None:
    """Refuse the example answers of `tunegate init` in CI: they judge no model.

    Raises:
        UsageError: an arm has some.
    """
    if not in_ci():
        return
    for name, arm in arms.items():
        if getattr(arm, "has_examples", False):
            raise UsageError(
                f"{name}={arm.identity['spec']}: these are the example answers of "
                "`tunegate init`: name your models in suites/pytest.ini (gate_tuned = "
                "hf:you/your-adapter@v1) and drop gate_base there"
            )


def refuse_further_samples(suites: Iterable[Suite], arms: Mapping[str, Arm]) -> None:
    """Refuse a file with more samples of a case than the suite asks for: the first could be picked.

    Raises:
        UsageError: file, case and both numbers.
    """
    asked: dict[str, int] = {}
    for suite in suites:
        for case in suite.cases:
            asked[case.id] = max(suite.generation.samples, asked.get(case.id, 0))
    for arm in arms.values():
        # A run folder has the samples that its own suites asked for.
        for suite_name, case_id, sample in getattr(arm, "lines", {}):
            if not suite_name and sample >= asked.get(case_id, sample + 1):
                raise UsageError(
                    f"{arm.identity['spec']}: sample {sample} of {case_id!r}, and the suite asks "
                    f"for {count_noun(asked[case_id], 'sample')} (0 is the first): record as many, "
                    "or set samples under [generation] of suite.toml"
                )
