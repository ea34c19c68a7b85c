"""CI job: the files that gate pull or merge requests, from the templates in `ci/`."""

from __future__ import annotations

import json
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from tunegate.harness.cli._recorded_examples import FOLDER, write_replay_files
from tunegate.harness.records.errors import UsageError

HOME = Path(__file__).resolve().parent / "ci"

CONFIGURATION = "pytest.ini"


class CiService(StrEnum):
    """A CI service that we have a job for."""

    GITHUB = "github"
    GITLAB = "gitlab"


JOBS = {
    CiService.GITHUB: {
        "github.yml": Path(".github/workflows/tunegate.yml"),
        "github-comment.yml": Path(".github/workflows/tunegate-comment.yml"),
    },
    CiService.GITLAB: {"gitlab.yml": Path(".gitlab/tunegate.yml")},
}
"""Service → template → where it goes in a repository."""

_HEAD = """\
# The models of every gate run on the suites of this folder, the same in CI as at your desk.
# Each option of `tunegate gate --help` can be set here as gate_NAME; one given by hand wins.
# Paths are relative to this file.
[pytest]
"""
_EXAMPLE = """\
# Recorded example answers: they show the gate at your desk, and CI refuses them. Name your model:
#   gate_tuned = hf:you/your-adapter@v1       (a folder, or a repository of the Hub)
# and drop gate_base: it is read from the adapter's configuration.
gate_base = replay:{base}
gate_tuned = replay:{tuned}
"""
_UNNAMED = """\
# Name the fine-tune that is to be judged; its base is read from the adapter's configuration.
# gate_tuned = hf:you/your-adapter@v1
"""
_JUDGE = """\
# Name the judge that a gate of these suites needs.
# gate_judge = litellm:PROVIDER/MODEL
"""


def refuse_present(service: CiService) -> None:
    """Check that no job would be overwritten, before anything is written.

    Raises:
        UsageError: a job is there already.
    """
    for place in JOBS[service].values():
        if place.exists():
            raise UsageError(f"{place}: is already there; remove it to write it again")


def write_jobs(service: CiService) -> list[Path]:
    """Write the service's jobs into the repository that is the current folder; return their paths.

    Raises:
        OSError: writing failed.
    """
    from tunegate.harness.records.files import write_atomic

    for template, place in JOBS[service].items():
        text = (HOME / template).read_text(encoding="utf-8")
        write_atomic(place, text.replace("@REQUIREMENT@", pip_requirement("hf")))
    return list(JOBS[service].values())


def write_configuration(suites: Path, example: Path | None) -> tuple[Path, bool]:
    """Write the file that names the models, unless it exists.

    Args:
        suites: The folder of suites.
        example: The suite to write example answers for; without one, or for a suite of episodes or
            with a judge's gate, no models are named.

    Returns:
        The file, and whether it was written.

    Raises:
        OSError: writing failed.
    """
    from tunegate.harness.records.files import write_atomic
    from tunegate.harness.suite import load_suite

    place = suites / CONFIGURATION
    if place.exists():
        return place, False
    body = _UNNAMED
    suite = None if example is None else load_suite(example)
    if suite is not None and any(metric.judge is not None for metric in suite.gated_metrics):
        body = _UNNAMED + _JUDGE
    elif suite is not None and suite.episode is None:
        written = write_replay_files(suite, suites / FOLDER)
        base, tuned = (path.relative_to(suites).as_posix() for path in written)
        body = _EXAMPLE.format(base=base, tuned=tuned)
    write_atomic(place, _HEAD + body)
    return place, True


def pip_requirement(*extras: str) -> str:
    """Return the requirement by which pip installs this tunegate elsewhere."""
    name = f"tunegate[{','.join(extras)}]" if extras else "tunegate"
    origin = _origin()
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        return f"{name} @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}"
    return f"{name}=={metadata.version('tunegate')}"


def is_local() -> bool:
    """Return whether this tunegate was installed from a folder or file of this machine."""
    return str(_origin().get("url", "")).startswith("file:") and "vcs_info" not in _origin()


def _origin() -> dict[str, dict[str, str]]:
    """Return where the distribution came from (PEP 610); empty if from an index."""
    text = metadata.distribution("tunegate").read_text("direct_url.json")
    found: dict[str, dict[str, str]] = json.loads(text) if text else {}
    return found
