"""Which CI job a run is part of, as the conventions for pipelines name it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from harness.tracing import attributes as a


def attributes(environ: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Return id and page of the pipeline's run on GitHub, GitLab or Jenkins; nothing elsewhere."""
    known = os.environ if environ is None else environ
    if known.get("GITHUB_RUN_ID"):
        place = known.get("GITHUB_SERVER_URL", ""), known.get("GITHUB_REPOSITORY", "")
        page = f"{'/'.join(place)}/actions/runs/{known['GITHUB_RUN_ID']}" if all(place) else None
        return {a.PIPELINE_RUN_ID: known["GITHUB_RUN_ID"], a.PIPELINE_RUN_URL: page}
    for name, page in (("CI_PIPELINE_ID", "CI_PIPELINE_URL"), ("BUILD_ID", "BUILD_URL")):
        if known.get(name) and known.get(page):
            return {a.PIPELINE_RUN_ID: known[name], a.PIPELINE_RUN_URL: known[page]}
    return {}
