"""Origin of a run: commit, CI job and machine, as far as they are known."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from tunegate.harness.telemetry.export import resources, viewer
from tunegate.harness.telemetry.export.attribute_names import PIPELINE_RUN_URL

_GIT_TIMEOUT_S = 5.0
"""Seconds that git may take."""


def origin_facts(traces: str | None = None) -> dict[str, str]:
    """Return the known facts, name → value."""
    facts = {
        "commit": _commit(),
        "CI job": resources.pipeline_attributes().get(PIPELINE_RUN_URL),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        viewer.ORIGIN: traces,
    }
    return {name: value for name, value in facts.items() if value}


def _commit() -> str | None:
    """Return the commit that is checked out, with `-dirty` if files differ from it."""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def repository_root() -> Path:
    """Return the folder that CI names files relative to."""
    return Path(os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR") or ".")
