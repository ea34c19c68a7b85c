"""`tunegate init --ci`: what it writes lints, runs as it is, and trusts no pull request."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.ci_steps import StepRunner, load
from tunegate.harness.cli import app, init, suite
from tunegate.harness.errors import UsageError
from tunegate.harness.records.run_folder import Run

ROOT = Path(__file__).parents[2]
GATE = Path(".github/workflows/tunegate.yml")
COMMENT = Path(".github/workflows/tunegate-comment.yml")
GITLAB = Path(".gitlab/tunegate.yml")
ACTION = ROOT / "action.yml"
OURS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
"""The workflows of this project itself."""
POLICY = "rules: {unpinned-uses: {config: {policies: {'actions/*': ref-pin}}}}\n"
"""GitHub's own actions by major version; zizmor would have anything else by its hash."""


def _init(*args: str) -> str:
    """Run the command in this process; errors of ours pass through, as to `main`."""
    result = CliRunner().invoke(app, ["init", *args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def _tool(name: str, *args: str | Path, stdin: str | None = None) -> None:
    """Run a linter that is installed beside Python; it must find nothing."""
    done = subprocess.run(
        [Path(sys.executable).with_name(name), *args], input=stdin, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def repository(project: Any) -> Path:
    """Return a repository with the suite `refusals` and the jobs of both services."""
    _init("refusals", "--ci", "github")
    (project.path / "suites" / init.CONFIGURATION).rename("kept.ini")
    _init("--ci", "gitlab")
    Path("kept.ini").rename(project.path / "suites" / init.CONFIGURATION)
    return Path(project.path)


def test_what_is_written_is_said(project: Any) -> None:
    """Suite, configuration and jobs, and what to do with each."""
    output = _init("--ci", "github")

    for line in ("suites/support_json: ", "suites/pytest.ini", str(GATE), str(COMMENT)):
        assert f"wrote {line}" in output
    assert "next: `tunegate gate suites` is what the job does (here it judges recorded" in output
    assert "then name your models in suites/pytest.ini: until then the job is red" in output
    assert Path("suites/recorded/tuned.jsonl").is_file()


def test_suites_that_are_there_get_a_job_and_no_answers(project: Any) -> None:
    """Without a name nothing is copied, no recorded answers pass for the user's models."""
    project.suite("mine")

    output = _init("--ci", "gitlab")

    assert {p.name for p in Path("suites").iterdir()} == {"mine", "pytest.ini"}
    assert "(name your fine-tune first)" in output
    assert "include: {local: .gitlab/tunegate.yml}" in output
    lines = Path("suites/pytest.ini").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["[pytest]"]


def test_nothing_is_overwritten(project: Any) -> None:
    """A job that is there stops the command before a file is written."""
    COMMENT.parent.mkdir(parents=True)
    COMMENT.write_text("mine", encoding="utf-8")

    with pytest.raises(UsageError, match=r"tunegate-comment\.yml: is already there; remove it"):
        _init("--ci", "github")

    assert COMMENT.read_text(encoding="utf-8") == "mine"
    assert not Path("suites").exists()
    assert not GATE.exists()


def test_a_configuration_that_is_there_stays(project: Any) -> None:
    """The user's models stay named; the job is written beside."""
    Path("suites").mkdir()
    Path("suites/pytest.ini").write_text("[pytest]\ngate_tuned = mine\n", encoding="utf-8")

    output = _init("refusals", "--ci", "gitlab")

    assert "gate_tuned = mine" in Path("suites/pytest.ini").read_text(encoding="utf-8")
    assert "wrote suites/pytest.ini" not in output
    assert not Path("suites/recorded").exists()


def test_a_suite_elsewhere_is_refused(project: Any) -> None:
    """The job looks into `suites`; a suite it would miss is none."""
    with pytest.raises(UsageError, match="deep/mine: with --ci a suite goes into suites"):
        _init("refusals", "deep/mine", "--ci", "github")


def test_the_written_files_lint(repository: Path) -> None:
    """Schemas of GitHub and GitLab, zizmor's audits of injection and rights, shellcheck."""
    Path("zizmor.yml").write_text(POLICY, encoding="utf-8")

    workflows = [GATE, COMMENT, *OURS]
    assert len(OURS) == 2
    _tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    _tool("check-jsonschema", "--builtin-schema", "vendor.github-actions", ACTION)
    _tool("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", GITLAB)
    _tool("zizmor", "--offline", "--no-progress", "--config", "zizmor.yml", *workflows, ACTION)
    steps = [load(ACTION)["runs"]["steps"], load(GATE)["jobs"]["gate"]["steps"]]
    steps.append(load(COMMENT)["jobs"]["comment"]["steps"])
    for script in [step["run"] for job in steps for step in job if "run" in step]:
        _tool("shellcheck", "--shell", "bash", "-", stdin=script)


def test_a_pull_request_gets_no_secret_and_no_right(repository: Path) -> None:
    """The job that runs its code may read only; the one that may write runs none of it."""
    gate, comment = load(GATE), load(COMMENT)

    assert set(gate[True]) == {"pull_request", "push", "workflow_dispatch"}
    assert gate["permissions"] == {"contents": "read"}
    assert "permissions" not in gate["jobs"]["gate"]
    assert comment["permissions"] == {}
    uses = [step.get("uses", "") for step in comment["jobs"]["comment"]["steps"]]
    assert not any(use.startswith("actions/checkout") for use in uses)
    saves = [s for s in gate["jobs"]["gate"]["steps"] if "cache/save" in s.get("uses", "")]
    assert [s["if"] for s in saves] == [
        "${{ !cancelled() && github.event_name != 'pull_request' }}"
    ]
    for path in (GATE, COMMENT, GITLAB, ACTION):
        text = path.read_text(encoding="utf-8")
        assert "pull_request_target" not in text
        assert "secrets." not in text


def test_no_job_downloads_cuda_or_the_same_packages_twice(repository: Path) -> None:
    """PyTorch comes from its index for processors; pip's cache is there before pip runs."""
    index = "https://download.pytorch.org/whl/cpu"
    gate, action = load(GATE), load(ACTION)
    gitlab = load(GITLAB)["tunegate"]
    steps = gate["jobs"]["gate"]["steps"]
    caches = [i for i, s in enumerate(steps) if "~/.cache/pip" in s.get("with", {}).get("path", "")]
    install = next(i for i, step in enumerate(steps) if "pip install" in step.get("run", ""))

    assert gate["env"]["PIP_EXTRA_INDEX_URL"] == index
    assert gitlab["variables"]["PIP_EXTRA_INDEX_URL"] == index
    assert action["inputs"]["torch-index"]["default"] == index
    assert len(caches) == 2
    assert caches[0] < install < caches[1]
    assert gitlab["variables"]["PIP_CACHE_DIR"] == "$CI_PROJECT_DIR/.cache/pip"
    assert ".cache/pip" in gitlab["cache"]["paths"]


def _named_models() -> None:
    """Make the recorded examples the answers of models."""
    for path in Path("suites/recorded").glob("*.jsonl"):
        path.write_text(path.read_text().replace('"example": true, ', ""), encoding="utf-8")


def test_the_recorded_examples_ship_at_the_desk_and_not_in_ci(project: Any) -> None:
    """The job as written is red until a model is named, whatever run folder was committed."""
    _init("refusals", "--ci", "github")
    desk = project.pytest_here("--rootdir=.", "suites/refusals/suite.toml", "--gate-run-dir=desk")
    Path("tunegate-run").mkdir()
    Path("tunegate-run/verdict.json").write_text('{"verdict": "SHIP"}', encoding="utf-8")

    done = StepRunner(project.path).job(GATE, "gate")["Gate"]

    assert desk.ret == 0
    assert done.returncode == 2
    assert "name your models in suites/pytest.ini" in done.stdout
    assert not Path("tunegate-run/verdict.json").exists()


def test_the_first_run_of_the_job_is_green_and_a_worse_model_red(repository: Path) -> None:
    """Each shell step as the runner runs it: SHIP on good answers, BLOCK once tuned is worse."""
    _named_models()
    runner = StepRunner(repository)

    first = runner.job(GATE, "gate")

    assert [(name, done.returncode) for name, done in first.items()] == [
        ("Install tunegate", 0),
        ("Check the suites", 0),
        ("Gate", 0),
    ]
    assert "tunegate: SHIP" in Path("step-summary.md").read_text(encoding="utf-8")
    assert (runner.shims / "pip.log").read_text().startswith("install tunegate[hf]")
    assert "::notice file=suites/refusals/suite.toml,line=" in first["Gate"].stdout

    recorded = Path("suites/recorded/tuned.jsonl")
    recorded.write_text(
        re.sub('"completion": "[^"]*"', '"completion": "No."', recorded.read_text()),
        encoding="utf-8",
    )
    second = runner.job(GATE, "gate")["Gate"]

    assert second.returncode == 1
    assert "::error file=suites/refusals/suite.toml,line=" in second.stdout
    assert "tunegate: BLOCK" in Path("step-summary.md").read_text(encoding="utf-8")


@pytest.fixture
def commenter(repository: Path) -> StepRunner:
    """Return a runner whose folder `untrusted` holds the records of a run, as the job gets them."""
    _named_models()
    StepRunner(repository).run("tunegate gate suites --run-dir untrusted")
    for name in ("report.html", "comment.md"):
        Path("untrusted", name).write_text("# SHIP\n@everyone", encoding="utf-8")
    context = {
        "github.token": "t",
        "github.repository": "me/mine",
        "github.event.workflow_run.head_repository.owner.login": "you",
        "github.event.workflow_run.head_branch": "$(touch hacked)`touch hacked`",
        "github.event.workflow_run.head_sha": "abc",
        "github.event.workflow_run.html_url": "https://ci.example/run/1",
    }
    return StepRunner(repository, context)


def _comment(runner: StepRunner, comments: list[dict[str, Any]], commit: str = "abc") -> list[Any]:
    """Run the job against these comments; return what it wrote to GitHub."""
    runner.variables()
    pulls = [{"number": 7, "head": {"sha": commit}}]
    answers = {"repos/me/mine/pulls": pulls, "repos/me/mine/issues/7/comments": comments}
    (runner.shims / "github.json").write_text(json.dumps(answers), encoding="utf-8")
    done = runner.job(COMMENT, "comment")
    assert [d.returncode for d in done.values()] == [0, 0, 0], done
    log = runner.shims / "gh.log"
    written = log.read_text().splitlines() if log.exists() else []
    return [json.loads(line) for line in written]


def test_the_comment_is_written_from_the_records(commenter: StepRunner) -> None:
    """It is ours, not the text that came with the artifact, and a branch's name runs nothing."""
    ((method, place, fields),) = _comment(commenter, [])

    assert (method, place) == ("POST", "repos/me/mine/issues/7/comments")
    assert fields["body"].startswith("<!-- tunegate -->\n### ✓ tunegate: SHIP")
    assert "@everyone" not in fields["body"]
    assert fields["body"].endswith("[Report and files of this run](https://ci.example/run/1)\n")
    assert not Path("hacked").exists()

    others = [
        {"id": 1, "user": {"login": "mallory"}, "body": "<!-- tunegate -->"},
        {"id": 2, "user": {"login": "github-actions[bot]"}, "body": "hello"},
        {"id": 3, "user": {"login": "github-actions[bot]"}, "body": "<!-- tunegate -->\nold"},
    ]
    assert _comment(commenter, others)[1][:2] == ["PATCH", "repos/me/mine/issues/comments/3"]
    assert len(_comment(commenter, others, commit="newer")) == 2


def test_the_job_of_gitlab_runs(repository: Path) -> None:
    """Its script ends green, and leaves each file that its artifacts name."""
    _named_models()
    job = load(GITLAB)["tunegate"]
    runner = StepRunner(repository, environment={"CI_PROJECT_DIR": str(repository)})

    done = runner.run("\n".join(job["script"]), {"TUNEGATE": job["variables"]["TUNEGATE"]})

    assert done.returncode == 0, done.stdout
    for path in (*job["artifacts"]["paths"], *job["artifacts"]["reports"].values()):
        assert Path(path).exists()


def _act(repository: Path, options: str) -> subprocess.CompletedProcess[str]:
    """Run the action's steps with these options; return how the gate ended."""
    _named_models()
    Path("suites/recorded").rename("my answers")
    context = {
        "github.action_path": str(ROOT),
        "inputs.extras": "hf",
        "inputs.torch-index": "",
        "inputs.suites": "suites/refusals",
        "inputs.base": "replay:my answers/base.jsonl",
        "inputs.tuned": "replay:my answers/tuned.jsonl",
        "inputs.options": options,
        "inputs.run-dir": "a run",
    }
    return StepRunner(repository, context).steps(load(ACTION)["runs"]["steps"])["Gate"]


@pytest.mark.parametrize("options", ["--flor\n0.1\n", "--help\n", "--\n--gate-run-dir=other\n"])
@pytest.mark.parametrize("said", ["SHIP", "SHIP\nverdict=SHIP\nother=1"])
def test_an_old_verdict_is_no_output_of_the_action(
    repository: Path, options: str, said: str
) -> None:
    """Without a verdict of its own the step is red and its output ERROR."""
    Path("a run").mkdir()
    Path("a run/verdict.json").write_text(json.dumps({"verdict": said}), encoding="utf-8")

    done = _act(repository, options)

    assert done.returncode != 0, done.stdout
    assert Path("step-output.txt").read_text() == "verdict=ERROR\n"


def test_a_verdict_with_a_line_break_sets_no_second_output(repository: Path) -> None:
    """Whatever writes verdict.json while the action runs, one of the words is its output."""
    shim = repository / ".shims" / "tunegate"
    shim.parent.mkdir()
    verdict = json.dumps({"verdict": "SHIP\nother=1"})
    shim.write_text(f"#!/bin/sh\nmkdir -p 'a run'\necho '{verdict}' > 'a run/verdict.json'\n")
    shim.chmod(0o755)

    done = _act(repository, "")

    assert done.returncode == 13, done.stderr
    assert Path("step-output.txt").read_text() == "verdict=ERROR\n"


def test_the_action_runs(repository: Path) -> None:
    """Inputs with blanks reach the command as they are, and the verdict is its output."""
    done = _act(repository, "--max-cases\n20\n")

    assert done.returncode == 10, done.stdout
    assert Path("step-output.txt").read_text() == "verdict=UNDECIDED\n"
    assert Run.load(Path("a run")).manifest.filtered == ("only the first 20 cases of each suite",)


def test_episodes_have_no_example_answers(project: Any) -> None:
    """What a model says to a tool cannot be recorded without it: the user names the models."""
    output = _init("order_desk", "--ci", "gitlab")

    assert "(name your fine-tune first)" in output
    assert not Path("suites", "recorded").exists()


@pytest.mark.parametrize("name", sorted(set(suite.suite_names()) - {"refusals", "order_desk"}))
def test_example_answers_to_every_bundled_suite_ship(project: Any, name: str) -> None:
    """Whichever suite a project starts from, its first run is green."""
    _init(name, "--ci", "gitlab")

    result = project.pytest_here("--rootdir=.", f"suites/{name}/suite.toml", "--gate-run-dir=run")

    assert result.ret == 0
    assert project.verdict()["verdict"] == "SHIP"


def test_pip_gets_what_this_tunegate_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of the index, or the commit that was installed (PEP 610); a folder is told."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(init, "_origin", lambda: given)
    assert re.fullmatch(r"tunegate\[hf\]==\d+\.\d+\.\d+", init.pip_requirement("hf"))
    assert not init.is_local()

    vcs = {"vcs": "git", "commit_id": "c0ffee"}
    given |= {"url": "https://git.example/t.git", "vcs_info": vcs}
    assert init.pip_requirement() == "tunegate @ git+https://git.example/t.git@c0ffee"
    assert not init.is_local()

    given = {"url": "file:///home/me/tunegate", "dir_info": {}}
    monkeypatch.setattr(init, "_origin", lambda: given)
    assert init.is_local()


def test_the_hook_for_pre_commit_checks_a_folder_of_suites(project: Any) -> None:
    """Its entry with its arguments is a command that finds the mistake in any suite below."""
    (hook,) = load_hooks()
    words = [*hook["entry"].split()[1:], *hook["args"]]
    project.suite("good")
    project.suite("bad", gates="flor = 0.2")

    with pytest.raises(UsageError, match=r"suites/bad/suite\.toml:\d+: "):
        CliRunner().invoke(app, words, catch_exceptions=False)

    assert hook["pass_filenames"] is False
    assert re.search(hook["files"], "suites/good/cases.jsonl")


def load_hooks() -> list[dict[str, Any]]:
    """Return the hooks that this repository offers."""
    hooks: Any = load(ROOT / ".pre-commit-hooks.yaml")
    return list(hooks)
