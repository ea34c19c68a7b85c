"""Trackio: a run in TRACKIO_DIR, sent if TRACKIO_SPACE_ID or TRACKIO_SERVER_URL is set."""

from __future__ import annotations

import re

from tunegate.harness.contracts.tracker import PROJECT, TrackedRun

INSTALL = "trackio"


def trackio(run: TrackedRun) -> str:
    """Log facts as configuration, numbers as one step, and the page as an artifact."""
    import trackio as library

    begun = library.init(
        project=PROJECT,
        name=run.name,
        config=dict(run.facts),
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    try:
        library.log(dict(run.numbers))
        name = re.sub(r"[^\w.-]", "-", f"{PROJECT}-{run.name}", flags=re.ASCII)
        library.log_artifact(str(run.page), name=name, type="report")
    finally:
        library.finish()
    return f"project {PROJECT}, run {begun.name}"
