"""What one more case adds to the memory of a run."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import pytest

from benchmarks.growth import judged
from tunegate.harness.records import files

FEW, MORE = 100, 400
LARGEST = 9_000
"""Bytes a case, of which its text, the plan and six scores are most."""


def _peak(folder: Path, cases: int) -> int:
    """Return the largest memory that Python held while scripted models were judged."""
    gc.collect()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    judged(folder, cases)
    _, peak = tracemalloc.get_traced_memory()
    return peak - before


def test_a_case_takes_few_kilobytes_from_the_suite_to_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer, trace or file is held as a whole: the slope between two sizes is bounded.

    The records that are kept for the next question are bounded by bytes of their own, of which
    both sizes are made to be above.
    """
    monkeypatch.setattr(files, "_MOST_KEPT", 1 << 15)
    judged(tmp_path / "warm", 20)
    tracemalloc.start()
    try:
        few, more = _peak(tmp_path / "few", FEW), _peak(tmp_path / "more", MORE)
    finally:
        tracemalloc.stop()

    assert (more - few) / (MORE - FEW) < LARGEST
