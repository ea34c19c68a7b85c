"""`tunegate init --ci`: what it writes lints, runs as it is, and trusts no pull request."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.ci_steps import StepRunner, load
from tunegate.harness.cli import _ci_job, app
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.run_folder import Run
from tunegate.harness.sandbox import bubblewrap
from tunegate.harness.suite.find import suite_names

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
    """Return a repository with the suite `instruction_following` and the jobs of both services."""
    _init("instruction_following", "--ci", "github")
    (project.path / "suites" / _ci_job.CONFIGURATION).rename("kept.ini")
    _init("--ci", "gitlab")
    Path("kept.ini").rename(project.path / "suites" / _ci_job.CONFIGURATION)
    return Path(project.path)


def test_what_is_written_is_said(project: Any) -> None:
    output = _init("--ci", "github")

    for line in ("suites/support_json: ", "suites/pytest.ini", str(GATE), str(COMMENT)):
        assert f"wrote {line}" in output
    assert "next: run `tunegate gate suites`, as the job does (it judges recorded" in output
    assert "then name your models in suites/pytest.ini: until then the job fails" in output
    assert Path("suites/recorded/tuned.jsonl").is_file()


def test_suites_that_are_there_get_a_job_and_no_answers(project: Any) -> None:
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

    output = _init("instruction_following", "--ci", "gitlab")

    assert "gate_tuned = mine" in Path("suites/pytest.ini").read_text(encoding="utf-8")
    assert "wrote suites/pytest.ini" not in output
    assert not Path("suites/recorded").exists()


def test_a_suite_elsewhere_is_refused(project: Any) -> None:
    """The job looks into `suites`, so it would miss a suite elsewhere."""
    with pytest.raises(UsageError, match="deep/mine: with --ci a suite must be in suites"):
        _init("instruction_following", "deep/mine", "--ci", "github")


def test_the_written_files_lint(repository: Path) -> None:
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
    (step,) = comment["jobs"]["comment"]["steps"]
    assert "uses" not in step
    assert not re.search(r"tunegate (report|gate)|pip install|unzip", step["run"])
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
    _init("instruction_following", "--ci", "github")
    desk = project.pytest_here(
        "--rootdir=.", "suites/instruction_following/suite.toml", "--gate-run-dir=desk"
    )
    Path("tunegate-run").mkdir()
    Path("tunegate-run/verdict.json").write_text('{"verdict": "SHIP"}', encoding="utf-8")

    done = StepRunner(project.path).job(GATE, "gate")["Gate"]

    assert desk.ret == 0
    assert done.returncode == 2
    assert "name your models in suites/pytest.ini" in done.stdout
    assert not Path("tunegate-run/verdict.json").exists()


def test_the_first_run_of_the_job_is_green_and_a_worse_model_red(repository: Path) -> None:
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
    assert "::notice file=suites/instruction_following/suite.toml,line=" in first["Gate"].stdout

    recorded = Path("suites/recorded/tuned.jsonl")
    recorded.write_text(
        re.sub(r'"completion": "(?:[^"\\]|\\.)*"', '"completion": "No."', recorded.read_text()),
        encoding="utf-8",
    )
    second = runner.job(GATE, "gate")["Gate"]

    assert second.returncode == 1
    assert "::error file=suites/instruction_following/suite.toml,line=" in second.stdout
    assert "tunegate: BLOCK" in Path("step-summary.md").read_text(encoding="utf-8")


@pytest.fixture
def commenter(repository: Path) -> StepRunner:
    """Return a runner that GitHub has told of a finished run."""
    context = {
        "github.token": "t",
        "github.repository": "me/mine",
        "github.event.workflow_run.head_repository.owner.login": "you",
        "github.event.workflow_run.head_branch": "$(touch hacked)`touch hacked`",
        "github.event.workflow_run.head_sha": "abc",
        "github.event.workflow_run.id": "5",
        "github.event.workflow_run.html_url": "https://ci.example/run/1",
    }
    return StepRunner(repository, context)


SHIPPED = b'{"verdict": "SHIP"}'


def _zipped(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _comment(
    runner: StepRunner,
    artifact: bytes,
    *,
    comments: Sequence[dict[str, Any]] = (),
    commit: str = "abc",
) -> tuple[subprocess.CompletedProcess[str], list[Any]]:
    """Run the job on an artifact; return how it ended and what it wrote to GitHub."""
    runner.variables()
    (runner.shims / "artifact.zip").write_bytes(artifact)
    answers = {
        "repos/me/mine/pulls": [{"number": 7, "head": {"sha": commit}}],
        "repos/me/mine/issues/7/comments": [*comments],
        "repos/me/mine/actions/runs/5/artifacts": {
            "artifacts": [{"id": 9, "size_in_bytes": len(artifact)}]
        },
    }
    (runner.shims / "github.json").write_text(json.dumps(answers), encoding="utf-8")
    (done,) = runner.job(COMMENT, "comment").values()
    log = runner.shims / "gh.log"
    written = log.read_text().splitlines() if log.exists() else []
    return done, [json.loads(line) for line in written]


def _fenced(body: str) -> str:
    """Return what a comment shows; all of it is in the one fence."""
    head, text, end = body.split("```")
    assert head == (
        "<!-- tunegate -->\n### tunegate: SHIP\n\nAs the job of this pull request wrote it, in "
        "plain text ([report and files](https://ci.example/run/1)):\n\n"
    )
    assert end == "\n"
    return text.removeprefix("text\n")


def test_the_comment_of_the_gate_is_posted_and_updated(commenter: StepRunner) -> None:
    """What the gate's job keeps for it: verdict and tables; a branch's name runs nothing."""
    job = load(GATE)["jobs"]["gate"]["steps"]
    kept = next(s["with"] for s in job if s.get("with", {}).get("name") == "tunegate-comment")
    _named_models()
    commenter.run("tunegate gate suites --run-dir tunegate-run")
    files = {Path(path).name: Path(path).read_bytes() for path in kept["path"].split()}
    artifact = _zipped(files)

    _, ((method, place, fields),) = _comment(commenter, artifact)

    assert (method, place) == ("POST", "repos/me/mine/issues/7/comments")
    text = _fenced(fields["body"])
    assert "tunegate: SHIP" in text
    assert "| " in text
    assert "<details>" not in text
    assert not Path("hacked").exists()

    comments = [
        {"id": 1, "user": {"login": "mallory"}, "body": "<!-- tunegate -->"},
        {"id": 2, "user": {"login": "github-actions[bot]"}, "body": "hello"},
        {"id": 3, "user": {"login": "github-actions[bot]"}, "body": "<!-- tunegate -->\nold"},
    ]
    _, written = _comment(commenter, artifact, comments=comments)
    assert written[1][:2] == ["PATCH", "repos/me/mine/issues/comments/3"]
    _, written = _comment(commenter, artifact, comments=comments, commit="newer")
    assert len(written) == 2


HOSTILE = """<!-- tunegate -->
@everyone @me/admins #1 <img src=x onerror=alert(1)> ![i](https://evil.example/i.png)
[click](https://evil.example) https://evil.example www.evil.example &#64;everyone
```
````` </details>
&#96;&#96;&#96;
~~~
::set-output name=pull::1
::error::no\r\x1b[31m\u202e\u2028# SHIP
"""


def test_a_hostile_comment_is_text_in_one_fence(commenter: StepRunner) -> None:
    artifact = _zipped({"verdict.json": SHIPPED, "comment.md": HOSTILE.encode()})

    done, ((_, _, fields),) = _comment(commenter, artifact)

    text = _fenced(fields["body"])
    assert "@everyone @me/admins" in text
    assert all(c == "\n" or c.isprintable() for c in text)
    assert "evil" not in done.stdout + done.stderr
    assert "::" not in done.stdout + done.stderr


def test_a_long_comment_is_cut(commenter: StepRunner) -> None:
    """GitHub takes 65,536 characters."""
    artifact = _zipped({"verdict.json": SHIPPED, "comment.md": b"`" * 900_000})

    _, ((_, _, fields),) = _comment(commenter, artifact)

    assert len(fields["body"]) < 51_000
    assert _fenced(fields["body"]) == "'" * 50_000 + "\n"


def _linked() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("verdict.json", SHIPPED)
        link = zipfile.ZipInfo("comment.md")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return packed.getvalue()


def test_a_link_in_the_artifact_is_not_followed(commenter: StepRunner) -> None:
    _, ((_, _, fields),) = _comment(commenter, _linked())

    assert _fenced(fields["body"]) == "/etc/passwd\n"
    assert not {"verdict.json", "passwd"} & {path.name for path in Path().iterdir()}


@pytest.mark.parametrize(
    ("artifact", "said"),
    [
        (_zipped({"verdict.json": SHIPPED, "comment.md": b"x" * 20_000_000}), "more than 1 MB"),
        (_zipped({"verdict.json": b" " * 20_000_000, "comment.md": b""}), "more than 1 MB"),
        (_zipped({"verdict.json": b"[" * 100_000, "comment.md": b""}), "RecursionError"),
        (_zipped({"verdict.json": SHIPPED}), "KeyError"),
        (_zipped({"../verdict.json": SHIPPED, "/comment.md": b""}), "KeyError"),
        (
            _zipped({"verdict.json": b'{"verdict": "SHIP\\n::x"}', "comment.md": b""}),
            "not a verdict",
        ),
        (_zipped({"verdict.json": b'{"verdict": ["SHIP"]}', "comment.md": b""}), "not a verdict"),
        (_zipped({"verdict.json": SHIPPED, "comment.md": b"\xff"}), "UnicodeDecodeError"),
        (b"PK no archive", "BadZipFile"),
    ],
    ids=["bomb", "verdict", "deep", "missing", "outside", "newline", "list", "bytes", "no-zip"],
)
def test_an_artifact_that_is_none_of_ours_is_one_line(
    commenter: StepRunner, artifact: bytes, said: str
) -> None:
    done, written = _comment(commenter, artifact)

    assert done.returncode == 1
    assert written == []
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not Path("comment.md").exists()


def test_a_huge_artifact_is_not_downloaded(commenter: StepRunner) -> None:
    done, written = _comment(commenter, b"x" * 1_000_000)

    assert (done.returncode, written) == (0, [])
    assert "no artifact tunegate-comment of less than 1 MB" in done.stdout
    assert not Path("untrusted.zip").exists()


def test_the_job_of_gitlab_runs(repository: Path) -> None:
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
        "inputs.suites": "suites/instruction_following",
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
    Path("a run").mkdir()
    Path("a run/verdict.json").write_text(json.dumps({"verdict": said}), encoding="utf-8")

    done = _act(repository, options)

    assert done.returncode != 0, done.stdout
    assert Path("step-output.txt").read_text() == "verdict=ERROR\n"


def test_a_verdict_with_a_line_break_sets_no_second_output(repository: Path) -> None:
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


@pytest.mark.parametrize(
    ("name", "judge"), [("order_desk", False), ("refusals", True), ("safety", False)]
)
def test_episodes_judged_gates_and_folders_have_no_example_answers(
    project: Any, name: str, judge: bool
) -> None:
    output = _init(name, "--ci", "gitlab")

    assert "(name your fine-tune first)" in output
    assert not Path("suites", "recorded").exists()
    configuration = Path("suites", _ci_job.CONFIGURATION).read_text(encoding="utf-8")
    assert ("# gate_judge = " in configuration) is judge


@pytest.mark.parametrize("name", sorted(set(suite_names()) - {"refusals", "order_desk", "safety"}))
def test_example_answers_to_every_bundled_suite_ship(project: Any, name: str) -> None:
    if name == "charts":
        pytest.importorskip("PIL")
    if name == "code" and bubblewrap.SANDBOX.problem() is not None:
        pytest.skip("bubblewrap cannot be used here")
    _init(name, "--ci", "gitlab")

    result = project.pytest_here("--rootdir=.", f"suites/{name}/suite.toml", "--gate-run-dir=run")

    assert result.ret == 0
    assert project.verdict()["verdict"] == "SHIP"


def test_pip_gets_what_this_tunegate_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of the index, or the commit that was installed (PEP 610); a folder is local."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(_ci_job, "_origin", lambda: given)
    assert re.fullmatch(r"tunegate\[hf\]==\d+\.\d+\.\d+", _ci_job.pip_requirement("hf"))
    assert not _ci_job.is_local()

    vcs = {"vcs": "git", "commit_id": "c0ffee"}
    given |= {"url": "https://git.example/t.git", "vcs_info": vcs}
    assert _ci_job.pip_requirement() == "tunegate @ git+https://git.example/t.git@c0ffee"
    assert not _ci_job.is_local()

    given = {"url": "file:///home/me/tunegate", "dir_info": {}}
    monkeypatch.setattr(_ci_job, "_origin", lambda: given)
    assert _ci_job.is_local()


def test_the_hook_for_pre_commit_checks_a_folder_of_suites(project: Any) -> None:
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
