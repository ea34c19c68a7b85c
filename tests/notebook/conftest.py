"""Scripted models and cases in the current folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

CASES = [
    {"id": f"t{n}", "prompt": f"Ticket {n}: which team?", "expected": ("refunds", "parcels")[n % 2]}
    for n in range(60)
]


@pytest.fixture(name="cases")
def _cases() -> list[dict[str, Any]]:
    return [dict(case) for case in CASES]


@pytest.fixture(name="scripted")
def _scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that writes a model which answers so many cases right."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, right: Sequence[int] | int, wrong: str = "no idea") -> str:
        known = set(range(right) if isinstance(right, int) else right)
        answers = {c["id"]: c["expected"] if n in known else wrong for n, c in enumerate(CASES)}
        Path(f"{name}.json").write_text(json.dumps({"completions": answers}), encoding="utf-8")
        return f"scripted:{name}.json"

    return write
