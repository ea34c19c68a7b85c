"""CI job: the files that gate pull or merge requests, from the templates in `ci/`."""

from __future__ import annotations

import json
import platform
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from tunegate.harness.cli._recorded_examples import FOLDER, TEACHER, write_replay_files
from tunegate.harness.records.errors import UsageError

HOME = Path(__file__).resolve().parent / "ci"

CONFIGURATION = "pytest.ini"


class CiService(StrEnum):
    """A CI service that we have a job for."""

    GITHUB = "github"
    GITLAB = "gitlab"
    JENKINS = "jenkins"
    AZURE = "azure"
    CIRCLECI = "circleci"
    BUILDKITE = "buildkite"
    BITBUCKET = "bitbucket"


JOBS = {
    CiService.GITHUB: {
        "github.yml": Path(".github/workflows/tunegate.yml"),
        "github-comment.yml": Path(".github/workflows/tunegate-comment.yml"),
    },
    CiService.GITLAB: {"gitlab.yml": Path(".gitlab/tunegate.yml")},
    CiService.JENKINS: {"jenkins.groovy": Path(".jenkins/tunegate.groovy")},
    CiService.AZURE: {"azure.yml": Path(".azure/tunegate.yml")},
    CiService.CIRCLECI: {"circleci.yml": Path(".circleci/config.yml")},
    CiService.BUILDKITE: {"buildkite.yml": Path(".buildkite/tunegate.yml")},
    CiService.BITBUCKET: {"bitbucket.yml": Path("bitbucket-pipelines.yml")},
}
"""Service → template → where it goes in a repository."""
START = {
    CiService.GITLAB: "add the job to .gitlab-ci.yml: include: {local: .gitlab/tunegate.yml}",
    CiService.JENKINS: "make a multibranch pipeline whose script path is .jenkins/tunegate.groovy",
    CiService.AZURE: "make a pipeline from the existing file .azure/tunegate.yml",
    CiService.BUILDKITE: "add a step: buildkite-agent pipeline upload .buildkite/tunegate.yml",
}
"""Service → what starts the job, where its file alone does not."""
SCRIPT = Path("suites/ci.sh")
"""What every job runs."""
CONSTRAINTS = Path("suites/constraints.txt")

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
_PINS = """\
# Versions of every run in CI, so that the stored answers of base can be compared with new ones.
# To renew them where a run works: pip freeze | grep == > suites/constraints.txt
"""
_JUDGE = """\
# Name the judge that a gate of these suites needs.
# gate_judge = litellm:PROVIDER/MODEL
"""


def refuse_present(service: CiService) -> None:
    """Check that no job would be overwritten, before anything is written."""
    for place in JOBS[service].values():
        if place.exists():
            raise UsageError(
                f"{place}: is already there; remove it to write it again, or rename and merge it"
            )


def write_jobs(service: CiService) -> list[Path]:
    """Write the service's jobs, and what they share, into the current folder; return their paths.

    Raises:
        OSError: writing failed.
    """
    from tunegate.harness.records.files import write_atomic

    jobs = JOBS[service] if SCRIPT.exists() else {**JOBS[service], "ci.sh": SCRIPT}
    python = ".".join(platform.python_version_tuple()[:2])
    filled = {"@REQUIREMENT@": pip_requirement("hf", "server"), "@PYTHON@": python}
    for template, place in jobs.items():
        text = (HOME / template).read_text(encoding="utf-8")
        for mark, value in filled.items():
            text = text.replace(mark, value)
        write_atomic(place, text)
    written = list(jobs.values())
    if not CONSTRAINTS.exists():
        pins = sorted(_installed("tunegate[hf,server]").items())
        lines = (f"{name}=={version}\n" for name, version in pins if name != "tunegate")
        write_atomic(CONSTRAINTS, (_PINS, *lines))
        written.append(CONSTRAINTS)
    return written


def _installed(requirement: str) -> dict[str, str]:
    """Return name → version of what is installed here of a requirement and all that it requires."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    versions: dict[str, str] = {}
    queue, seen = [Requirement(requirement)], set[tuple[str, frozenset[str]]]()
    while queue:
        requirement_left = queue.pop()
        name, extras = canonicalize_name(requirement_left.name), frozenset(requirement_left.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        versions[name] = installed.version.partition("+")[0]  # +cpu is another build of it
        for need in map(Requirement, installed.requires or ()):
            if need.marker is None or any(
                need.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                queue.append(need)
    return versions


def write_configuration(suites: Path, example: Path | None) -> tuple[Path, bool]:
    """Write the file that names the models, unless it exists."""
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
        teacher = suite.path.parent / TEACHER
        if teacher.is_file():
            place_of_teacher = teacher.absolute().relative_to(suites.absolute())
            body += f"gate_teacher = replay:{place_of_teacher.as_posix()}\n"
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
