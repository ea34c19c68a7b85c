"""Deciding a stored run again: people's labels or votes came in, or a judge was asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunegate.harness.records.run_folder import Run


def decided_again(folder: Path) -> Run:
    """Decide a stored run again from its files, and write verdict and reports."""
    from dataclasses import replace

    from tunegate.harness.decision.verdict.redecide import decide_again
    from tunegate.harness.records.files import record_json, write_atomic
    from tunegate.harness.records.run_folder import Run
    from tunegate.reports.page import write_all

    run = Run.load(folder)
    run = replace(run, verdict=decide_again(run))
    write_atomic(folder / "verdict.json", record_json(run.verdict))
    write_all(run, folder)
    return run
