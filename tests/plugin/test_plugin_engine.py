"""`--gate-engine ray` as users type it."""

from __future__ import annotations

from typing import Any

import pytest

CASES = 100


def test_workers_without_ray_are_refused(project: Any) -> None:
    """One line with the remedy, before anything is opened."""
    project.suite(n=CASES)
    result = project.gate(*project.models(), "--gate-workers=2")

    assert result.ret == 4
    told = result.stdout.str() + result.stderr.str()
    assert "--gate-workers are Ray's processes: add --gate-engine ray" in told


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_a_number_of_workers_is_at_least_one(project: Any, workers: str) -> None:
    """Anything else is a usage error that names the option."""
    project.suite(n=CASES)
    result = project.gate(*project.models(), "--gate-engine=ray", f"--gate-workers={workers}")

    assert result.ret == 4
    assert f"--gate-workers='{workers}' must be a whole number" in result.stderr.str()
