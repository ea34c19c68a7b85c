"""Can the arms answer what the suites ask? Told before anything is asked, with what would help."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.errors import UsageError
from harness.model import Arm
from harness.suite import Suite


def check(suites: Iterable[Suite], arms: Mapping[str, Arm]) -> None:
    """Refuse metrics whose kind of question an arm cannot answer.

    Raises:
        UsageError: suite, metric and why.
    """
    for suite in suites:
        for metric in suite.metrics:
            for arm in arms.values():
                if metric.needs not in arm.kinds:
                    raise UsageError(
                        f"{suite.name}: metric {metric.name!r}: {arm.cannot(metric.needs)}"
                    )
