"""Where a run was made: the commit, the page of the CI job, the machine; where it is looked at."""

from __future__ import annotations

import os
import platform
import subprocess

from harness.tracing import pipeline, viewer
from harness.tracing.attributes import PIPELINE_RUN_URL

_PATIENCE_S = 5.0
"""Seconds that git may take; a run does not wait longer for a fact about itself."""


def found(traces: str | None = None) -> dict[str, str]:
    """Return what is known, name → value; a fact that is not known is left out.

    Args:
        traces: Where a viewer shows the run's traces, with places for the ids.
    """
    facts = {
        "commit": _commit(),
        "CI job": pipeline.attributes().get(PIPELINE_RUN_URL),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        viewer.ORIGIN: traces,
    }
    return {name: value for name, value in facts.items() if value}


def _commit() -> str | None:
    """Return the commit that is checked out here, with `-dirty` where files differ from it."""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        told = subprocess.run(
            words, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()
