"""The plan of a manifest: cells in the file of a small run, blocks in that of a large one."""

from __future__ import annotations

import json
import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.decided_suites import manifest_of
from tunegate.harness.records import manifest as manifests
from tunegate.harness.records.answers import Cell, CellKind
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import read_record, record_json
from tunegate.harness.records.manifest import Manifest


def cell(case: str, arm: str, key: str, **changes: Any) -> Cell:
    """Return a cell of suite `s`."""
    given = {"suite": "s", "kind": CellKind.GENERATE, "sample": 0} | changes
    return Cell(case=case, arm=arm, key=key, **given)


PLAN = (
    cell("a b", "base", "k1"),
    cell("a b", "tuned", "k2"),
    cell(" c", "base", "k3"),
    cell(" c", "tuned", "k4"),
    cell(" c", "shipped", "k5"),
    cell(" c", "base", "k6", kind=CellKind.LATENCY, sample=1),
)


def written(plan: tuple[Cell, ...], path: Path) -> Any:
    """Write the manifest of a plan; return the plan as the file has it."""
    path.write_text(record_json(manifest_of((), plan=plan)), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))["plan"]


def test_a_plan_is_cells_below_the_bound_and_blocks_from_it_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block ends where suite, kind, sample or arms change; a name may hold spaces."""
    path = tmp_path / "manifest.json"
    monkeypatch.setattr(manifests, "PACKED_FROM", len(PLAN) + 1)
    assert [row["key"] for row in written(PLAN, path)] == ["k1", "k2", "k3", "k4", "k5", "k6"]

    monkeypatch.setattr(manifests, "PACKED_FROM", len(PLAN))
    both, shared = ["base", "tuned"], {"suite": "s", "kind": "generate", "sample": 0}
    assert written(PLAN, path) == [
        {**shared, "arms": both, "cells": ["k1 k2 a b"]},
        {**shared, "arms": [*both, "shipped"], "cells": ["k3 k4 k5  c"]},
        {"suite": "s", "kind": "latency", "sample": 1, "arms": ["base"], "cells": ["k6  c"]},
    ]
    assert read_record(path, Manifest).plan == PLAN


@pytest.mark.parametrize("seed", range(5))
def test_any_plan_comes_back_in_its_order(seed: int, tmp_path: Path) -> None:
    places = list(product("st", (" ", "x y", "\u2028"), ("base", "tuned"), CellKind, range(30)))
    rng = random.Random(seed)
    rng.shuffle(places)
    cells = [
        Cell(suite=suite, case=case, arm=arm, kind=kind, sample=sample, key=f"{i:x}")
        for i, (suite, case, arm, kind, sample) in enumerate(places)
    ]
    plan = tuple(cells if seed % 2 else sorted(cells, key=lambda c: (c.suite, c.kind, c.sample)))
    path = tmp_path / "manifest.json"

    assert len(plan) == 2 * 3 * 2 * 7 * 30
    assert all("cells" in block for block in written(plan, path))
    assert read_record(path, Manifest).plan == plan


def test_a_key_with_a_space_leaves_the_plan_unpacked(tmp_path: Path) -> None:
    plan = tuple(cell(f"{i}", "base", f"k {i}") for i in range(2_000))
    path = tmp_path / "manifest.json"

    assert written(plan, path)[7]["key"] == "k 7"
    assert read_record(path, Manifest).plan == plan


@pytest.mark.parametrize(
    "changes", [{"cells": ["k1 a"]}, {"cells": [1]}, {"kind": "x"}, {"arms": None}]
)
def test_a_damaged_block_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    block = {"suite": "s", "kind": "generate", "sample": 0, "arms": ["base", "tuned"]}
    record = json.loads(record_json(manifest_of(())))
    record["plan"] = [{**block, "cells": ["k1 k2 a"], **changes}]
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(record), encoding="utf-8")

    with pytest.raises(UsageError) as raised:
        read_record(path, Manifest)
    assert str(raised.value).startswith(f"{path}: not a Manifest: plan: ")
    assert "\n" not in str(raised.value)
