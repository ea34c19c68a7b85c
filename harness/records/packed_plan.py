"""Packed plan: the cells of a large run, with what they share written once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from tunegate.harness.records.answers import Cell, CellKind


def pack_plan(cells: Iterable[Cell]) -> Iterator[dict[str, Any]]:
    """Yield a plan in blocks.

    A block has `suite`, `kind`, `sample` and `arms`, and in `cells` a text for each case: the keys
    of its arms in order, and its name, separated by spaces. Keys must not contain spaces.
    """
    by_case = groupby(cells, key=lambda c: (c.suite, c.kind, c.sample, c.case))
    asked = ((*place, tuple(found)) for place, found in by_case)
    for (suite, kind, sample, arms), cases in groupby(
        asked, key=lambda a: (*a[:3], tuple(c.arm for c in a[4]))
    ):
        lines = [" ".join([*(c.key for c in found), case]) for _, _, _, case, found in cases]
        yield {"suite": suite, "kind": kind, "sample": sample, "arms": arms, "cells": lines}


def unpack_plan(plan: Iterable[Any]) -> Iterator[Any]:
    """Yield the cells of a plan whose parts may be blocks of `pack_plan`.

    Raises:
        ValueError: a block cannot be read.
    """
    for part in plan:
        if not isinstance(part, dict) or "cells" not in part:
            yield part
            continue
        try:
            kind, arms = CellKind(part["kind"]), part["arms"]
            shared = {"suite": part["suite"], "kind": kind, "sample": part["sample"]}
            for line in part["cells"]:
                *keys, case = line.split(" ", len(arms))
                for arm, key in zip(arms, keys, strict=True):
                    yield Cell(case=case, arm=arm, key=key, **shared)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"a block of the plan cannot be read ({error})") from None
