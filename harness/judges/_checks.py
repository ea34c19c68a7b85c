"""Checks of judges' options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunegate.harness.records.cases import Case


def refuse_empty(
    option: str, remedy: str
) -> Callable[[Mapping[str, Any], Sequence[Case]], list[str]]:
    """Return a check that refuses an empty text as the value of an option."""

    def check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
        return [] if options.get(option, "default").strip() else [f"{option} is empty; {remedy}"]

    return check
