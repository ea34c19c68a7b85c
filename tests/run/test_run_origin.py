"""What a run says of the place where it was made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tunegate.harness.run.origin import origin_facts


@pytest.fixture(name="project_in_git")
def _project_in_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a repository with one commit the current folder; return the commit."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.toml").write_text("one")
    who = ["-c", "user.name=A", "-c", "user.email=a@b.test"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *words], check=True)
    told = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return told.stdout.strip()


def test_the_commit_is_named_and_whether_files_differ_from_it(project_in_git: str) -> None:
    assert origin_facts()["commit"] == project_in_git
    Path("suite.toml").write_text("two")
    assert origin_facts()["commit"] == f"{project_in_git}-dirty"


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "commit" not in origin_facts()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "commit" not in origin_facts()


def test_the_page_of_the_job_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub names server, repository and run; outside of CI the fact is missing."""
    for name in ("GITHUB_RUN_ID", "CI_PIPELINE_ID", "BUILD_ID"):
        monkeypatch.delenv(name, raising=False)
    assert "CI job" not in origin_facts()

    monkeypatch.setenv("GITHUB_SERVER_URL", "https://git.test")
    monkeypatch.setenv("GITHUB_REPOSITORY", "us/models")
    monkeypatch.setenv("GITHUB_RUN_ID", "17")

    assert origin_facts()["CI job"] == "https://git.test/us/models/actions/runs/17"
