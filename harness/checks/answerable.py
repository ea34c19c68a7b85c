"""Can the arms answer what the suites ask? Told before anything is asked, with what would help."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.errors import UsageError
from harness.manifest import RECORDED
from harness.model import Arm
from harness.records import Cell
from harness.suite import Suite


def check(suites: Iterable[Suite], arms: Mapping[str, Arm]) -> None:
    """Refuse metrics whose kind of question an arm cannot answer.

    Raises:
        UsageError: suite, metric and why.
    """
    for suite in suites:
        for metric in suite.metrics:
            for name, arm in arms.items():
                if name != RECORDED and metric.needs not in arm.kinds:
                    raise UsageError(
                        f"{suite.name}: metric {metric.name!r}: {arm.cannot(metric.needs)}"
                    )


def check_prompts(cells: Iterable[Cell], failures: Mapping[str, str]) -> None:
    """Refuse a suite of which an arm can be shown no prompt at all.

    Args:
        cells: Every cell of the plan.
        failures: Cell key → why its prompt could not be rendered.

    Raises:
        UsageError: suite, arm, and what the first case's prompt failed on.
    """
    first: dict[tuple[str, str], str] = {}
    shown: set[tuple[str, str]] = set()
    for cell in cells:
        side = cell.suite, cell.arm
        if cell.key in failures:
            first.setdefault(side, f"case {cell.case}: {failures[cell.key]}")
        else:
            shown.add(side)
    for (suite, arm), why in first.items():
        if (suite, arm) not in shown:
            raise UsageError(f"{suite}: not one case can be put to {arm}; {why}")
