"""`tunegate init --ci`: what it writes lints, runs as it is, and trusts no pull request."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
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
SCHEMAS = {
    _ci_job.CiService.GITLAB: "gitlab-ci",
    _ci_job.CiService.AZURE: "azure-pipelines",
    _ci_job.CiService.CIRCLECI: "circle-ci",
    _ci_job.CiService.BUILDKITE: "buildkite",
    _ci_job.CiService.BITBUCKET: "bitbucket-pipelines",
}
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
    """Return a repository with the suite `instruction_following` and the jobs of all services."""
    _init("instruction_following", "--ci", "github")
    for service in set(_ci_job.CiService) - {"github"}:
        _init("--ci", service)
    return Path(project.path)


def test_what_is_written_is_said(project: Any) -> None:
    output = _init("--ci", "github")

    written = ("support_json: ", "pytest.ini", "ci.sh", "constraints.txt")
    for line in (*(f"suites/{name}" for name in written), str(GATE), str(COMMENT)):
        assert f"wrote {line}" in output
    assert "next: run `tunegate gate suites`, as the job does (it judges recorded" in output
    assert "then name your models in suites/pytest.ini: until then the job fails" in output
    assert Path("suites/recorded/tuned.jsonl").is_file()


def test_suites_that_are_there_get_a_job_and_no_answers(project: Any) -> None:
    project.suite("mine")

    output = _init("--ci", "gitlab")

    names = {p.name for p in Path("suites").iterdir()}
    assert names == {"mine", "pytest.ini", "ci.sh", "constraints.txt"}
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
    for service, schema in SCHEMAS.items():
        (file,) = _ci_job.JOBS[service].values()
        # Azure's schema has patterns that are no Unicode patterns.
        variant = ("--regex-variant", "nonunicode") * (schema == "azure-pipelines")
        _tool("check-jsonschema", *variant, "--builtin-schema", f"vendor.{schema}", file)
    _tool("zizmor", "--offline", "--no-progress", "--config", "zizmor.yml", *workflows, ACTION)
    steps = [load(ACTION)["runs"]["steps"], load(GATE)["jobs"]["gate"]["steps"]]
    steps.append(load(COMMENT)["jobs"]["comment"]["steps"])
    for script in [step["run"] for job in steps for step in job if "run" in step]:
        _tool("shellcheck", "--shell", "bash", "-", stdin=script)
    _tool("shellcheck", "--exclude", "SC1091", _ci_job.SCRIPT)


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
    others = [path for service in SCHEMAS for path in _ci_job.JOBS[service].values()]
    for path in (GATE, COMMENT, *others, ACTION):
        text = path.read_text(encoding="utf-8")
        assert "pull_request_target" not in text
        assert "secrets." not in text


def test_a_cache_holds_answers_under_their_hash_and_no_model(repository: Path) -> None:
    """A push that changes nothing saves nothing, and a large model never evicts the answers."""
    caches = [
        s["with"] for s in load(GATE)["jobs"]["gate"]["steps"] if "cache/" in s.get("uses", "")
    ]

    kept = [".tunegate/store.sqlite", ".tunegate/attempts.jsonl"]
    assert [cache["path"].split() for cache in caches] == [kept, kept]
    hashed = ", ".join(f"'{path}'" for path in kept)
    assert caches[1]["key"] == f"tunegate-answers-${{{{ hashFiles({hashed}) }}}}"
    assert caches[1]["key"].startswith(caches[0]["restore-keys"])
    assert load(GITLAB)["tunegate"]["cache"][1]["paths"] == kept


def test_the_versions_of_the_job_are_those_of_this_environment(repository: Path) -> None:
    pins = _ci_job.CONSTRAINTS.read_text(encoding="utf-8")
    script = _ci_job.SCRIPT.read_text(encoding="utf-8")

    for name in ("torch", "transformers", "numpy", "scipy", "jinja2", "httpx"):
        version = metadata.version(name).partition("+")[0]
        assert f"\n{name}=={version}\n" in pins
    assert "tunegate" not in pins.partition("suites/constraints.txt\n")[2]
    assert 'pip install -c suites/constraints.txt "tunegate[hf,server]' in script
    assert 'PIP_EXTRA_INDEX_URL="${PIP_EXTRA_INDEX_URL:-} https://download.pytorch' in script
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"python:{python}" in GITLAB.read_text(encoding="utf-8")


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
        ("Gate", 0),
    ]
    assert "tunegate: SHIP" in Path("step-summary.md").read_text(encoding="utf-8")
    log = (runner.shims / "pip.log").read_text()
    assert log.startswith("install -c suites/constraints.txt tunegate[hf,server]")
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
        "github.event.workflow_run.conclusion": "success",
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


def _fenced(body: str, verdict: str = "SHIP") -> str:
    """Return what a comment shows; all of it is in the one fence."""
    head, text, end = body.split("```")
    assert head == (
        f"<!-- tunegate -->\n### tunegate: {verdict}\n\nFor abc, as the job of this pull request "
        "wrote it, in plain text ([report.html and all files](https://ci.example/run/1#artifacts)):\n\n"
    )
    assert end == "\n"
    return text.removeprefix("text\n")


def test_the_comment_of_the_gate_is_posted_and_updated(commenter: StepRunner) -> None:
    """It shows what the gate's job wrote, unchanged, in 3 KB; a branch's name runs nothing."""
    job = load(GATE)["jobs"]["gate"]["steps"]
    kept = next(s["with"] for s in job if s.get("with", {}).get("name") == "tunegate-comment")
    _named_models()
    commenter.run("tunegate gate suites --run-dir tunegate-run")
    files = {Path(path).name: Path(path).read_bytes() for path in kept["path"].split()}
    artifact = _zipped(files)

    _, ((method, place, fields),) = _comment(commenter, artifact)

    assert (method, place) == ("POST", "repos/me/mine/issues/7/comments")
    text = _fenced(fields["body"])
    (fence,) = (t for t in MarkdownIt().parse(files["comment.md"].decode()) if t.type == "fence")
    assert text == fence.content
    assert re.search(
        r"^Typical of \d+ cases .*\n.* → .*\n  asked  .*\n  base   .*\n  tuned  ", text, re.M
    )
    assert not re.search(r"\\\W|<\w|&\w+;|^\|", text, re.MULTILINE)
    assert len(fields["body"].encode()) <= 3_000
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
    artifact = _zipped({"verdict.json": SHIPPED, "comment.md": b"`" * 900_000})

    _, ((_, _, fields),) = _comment(commenter, artifact)

    assert len(fields["body"]) <= 3_000
    assert _fenced(fields["body"]) == "'" * 2_600 + "\n… cut: report.html has all\n"


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
        (_zipped({"verdict.json": SHIPPED, "comment.md": b"x" * 20_000_000}), "ValueError"),
        (_zipped({"verdict.json": b" " * 20_000_000, "comment.md": b""}), "ValueError"),
        (_zipped({"verdict.json": b"[" * 100_000, "comment.md": b""}), "RecursionError"),
        (_zipped({"verdict.json": SHIPPED}), "KeyError"),
        (_zipped({"../verdict.json": SHIPPED, "/comment.md": b""}), "KeyError"),
        (_zipped({"verdict.json": b'{"verdict": "SHIP\\n::x"}', "comment.md": b""}), ""),
        (_zipped({"verdict.json": b'{"verdict": ["SHIP"]}', "comment.md": b""}), ""),
        (_zipped({"verdict.json": SHIPPED, "comment.md": b"\xff"}), "UnicodeDecodeError"),
        (b"PK no archive", "BadZipFile"),
        (b"x" * 1_000_000, "FileNotFoundError"),  # too large: not even downloaded
    ],
    ids=[
        "bomb",
        "verdict",
        "deep",
        "missing",
        "outside",
        "newline",
        "list",
        "bytes",
        "no-zip",
        "huge",
    ],
)
def test_an_artifact_that_is_none_of_ours_is_no_verdict(
    commenter: StepRunner, artifact: bytes, said: str
) -> None:
    """The comment of the commit before, which may be green, does not stay."""
    green = {"id": 3, "user": {"login": "github-actions[bot]"}, "body": "<!-- tunegate -->\nSHIP"}

    done, ((method, place, fields),) = _comment(commenter, artifact, comments=[green])

    assert (method, place) == ("PATCH", "repos/me/mine/issues/comments/3")
    text = _fenced(fields["body"], "no verdict")
    assert text == "The job ended with success; its log says why.\n"
    assert said in done.stdout
    assert len(done.stdout.splitlines()) == bool(said)


def test_a_mistake_is_posted_with_its_sentence(commenter: StepRunner) -> None:
    """No model is named; what the gate leaves of it is all that the comment's job gets."""
    done = commenter.job(GATE, "gate")["Gate"]
    artifact = _zipped({"comment.md": Path("tunegate-run/comment.md").read_bytes()})

    _, ((_, _, fields),) = _comment(commenter, artifact)

    assert done.returncode == 2
    text = _fenced(fields["body"], "no verdict")
    assert "name your models in suites/pytest.ini" in text
    assert "no verdict" in Path("step-summary.md").read_text(encoding="utf-8")


def test_a_job_that_is_not_green_ships_nothing(commenter: StepRunner) -> None:
    commenter.context = {
        **commenter.context,
        "github.event.workflow_run.conclusion": "failure",
    }
    files = {"verdict.json": SHIPPED, "comment.md": b"tunegate: SHIP"}

    _, ((_, _, fields),) = _comment(commenter, _zipped(files))

    text = _fenced(fields["body"], "no verdict")
    assert text == "The job ended with failure; its log says why.\n"


SCRIPTS = {
    _ci_job.CiService.GITLAB: lambda read: read["tunegate"]["script"],
    _ci_job.CiService.AZURE: lambda read: [read["jobs"][0]["steps"][4]["bash"]],
    _ci_job.CiService.CIRCLECI: lambda read: [
        read["jobs"]["tunegate"]["steps"][3]["run"]["command"]
    ],
    _ci_job.CiService.BUILDKITE: lambda read: [read["steps"][0]["command"]],
    _ci_job.CiService.BITBUCKET: lambda read: read["definitions"]["steps"][0]["step"]["script"],
}
"""Service → what its job runs."""


def test_every_service_runs_the_same_script_and_publishes_what_it_writes(repository: Path) -> None:
    """A mistake is red, too."""
    junit = "sh suites/ci.sh --junit test-results/tunegate.xml"
    runner = StepRunner(repository)

    mistake = runner.run(junit)
    _named_models()
    shipped = runner.run(junit)

    assert (mistake.returncode, shipped.returncode) == (2, 0)
    for service, script in SCRIPTS.items():
        (file,) = _ci_job.JOBS[service].values()
        assert script(load(file))[-1] in ("sh suites/ci.sh", junit)
    for service in {*SCRIPTS, "jenkins"}:
        (file,) = _ci_job.JOBS[_ci_job.CiService(service)].values()
        named = re.findall(r"(?:tunegate-run|test-results)\b[\w./]*", file.read_text("utf-8"))
        assert len(named) > 1
        assert [path for path in named if not Path(path.rstrip("/.")).exists()] == []


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
    ("name", "judge"),
    [("order_desk", False), ("refusals", True), ("safety", False), ("languages", False)],
)
def test_episodes_judged_gates_and_folders_have_no_example_answers(
    project: Any, name: str, judge: bool
) -> None:
    output = _init(name, "--ci", "gitlab")

    assert "(name your fine-tune first)" in output
    assert not Path("suites", "recorded").exists()
    configuration = Path("suites", _ci_job.CONFIGURATION).read_text(encoding="utf-8")
    assert ("# gate_judge = " in configuration) is judge


@pytest.mark.parametrize(
    "name", sorted(set(suite_names()) - {"refusals", "order_desk", "safety", "languages"})
)
def test_example_answers_to_every_bundled_suite_ship(project: Any, name: str) -> None:
    if name == "charts":
        pytest.importorskip("PIL")
    if name == "code" and bubblewrap.SANDBOX.problem() is not None:
        pytest.skip("bubblewrap cannot be used here")
    _init(name, "--ci", "gitlab")

    result = project.pytest_here("--rootdir=.", f"suites/{name}/suite.toml", "--gate-run-dir=run")

    verdict = project.verdict()
    assert result.ret == 0
    assert verdict["verdict"] == "SHIP"
    assert not [n for s in verdict["suites"] for n in s["notes"] if " answers of base " in n]


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
