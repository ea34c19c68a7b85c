"""A user's project with packages called harness, suites, trainers and reports: both are found.

The wheel is installed beside the project, as users have it; the source tree is on no path.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.installed_wheel import Installed, installed

__all__ = ["installed"]

FOLDERS = ("harness", "suites", "trainers", "reports")
TEST = """
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", ["harness", "suites", "trainers", "reports"])
def test_the_projects_own_package_is_imported(name):
    package = __import__(name)
    assert Path(package.__file__).parent == HERE / name
    assert package.OWNER == "the project"


@pytest.mark.parametrize("name", ["harness", "suites", "trainers", "reports"])
def test_tunegate_has_its_own(name):
    module = __import__(f"tunegate.{name}", fromlist=["__file__"])
    assert not Path(module.__file__).is_relative_to(HERE)
    assert not hasattr(module, "OWNER")


def test_a_public_name():
    from tunegate import GateCallback, load_suite

    assert GateCallback and load_suite(HERE / "suites" / "demo").name == "demo"
"""
SUITE = """
name = "demo"
cases = "cases.jsonl"

[[metrics]]
use = "exact_match"

[[gates]]
metric = "exact_match"
floor = 0.2
"""


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    """Return a project that has the four packages, a test of its own and a suite among them."""
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        text = '"""One of the project\'s own packages."""\nOWNER = "the project"\n'
        (tmp_path / name / "__init__.py").write_text(text, encoding="utf-8")
    (tmp_path / "test_names.py").write_text(TEST, encoding="utf-8")
    suite = tmp_path / "suites" / "demo"
    suite.mkdir()
    (suite / "suite.toml").write_text(SUITE, encoding="utf-8")
    cases = [{"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes"} for i in range(100)]
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    (suite / "cases.jsonl").write_text(lines, encoding="utf-8")
    for arm, right in (("base", 30), ("tuned", 95)):
        answers = {case["id"]: "yes" if i < right else "no" for i, case in enumerate(cases)}
        path = tmp_path / f"{arm}.json"
        path.write_text(json.dumps({"completions": answers}), encoding="utf-8")
    return tmp_path


MODELS = ("scripted:base.json", "scripted:tuned.json")


@pytest.mark.parametrize(
    "command",
    [("pytest",), ("pytest", "--import-mode=importlib"), ("python", "-m", "pytest")],
    ids=" ".join,
)
def test_pytest_finds_both(installed: Installed, project: Path, command: tuple[str, ...]) -> None:
    """However pytest is started: the project's tests and the suite's gate pass, in one session."""
    (project / "pytest.ini").write_text("[pytest]\npythonpath = .\n", encoding="utf-8")
    base, tuned = MODELS

    done = installed.run(
        *_module(command), "-p", "no:cacheprovider", "-q", "test_names.py", "suites",
        f"--gate-base={base}", f"--gate-tuned={tuned}", "--gate-run-dir=run", cwd=project,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert "10 passed" in done.stdout
    assert _verdict(project / "run") == "SHIP"


EDITOR = """
import sys
from pathlib import Path

import pytest

project, *nodes = sys.argv[1:]
sys.path.insert(1, project)
sys.exit(pytest.main(["--rootdir", project, "-p", "no:cacheprovider", "-q", *nodes]))
"""
"""What an editor's test runner does: a script of its own, which calls pytest with node ids."""


def test_an_editors_test_runner_finds_both(
    installed: Installed, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = tmp_path_factory.mktemp("editor") / "run_tests.py"
    script.write_text(EDITOR, encoding="utf-8")
    node = f"{project / 'test_names.py'}::test_tunegate_has_its_own"
    base, tuned = (f"scripted:{project / name}.json" for name in ("base", "tuned"))

    done = installed.run(
        "python", script, project, node, project / "suites", f"--gate-base={base}",
        f"--gate-tuned={tuned}", f"--gate-run-dir={project / 'run'}", cwd=script.parent,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout
    assert _verdict(project / "run") == "SHIP"


def test_the_command_finds_its_own(installed: Installed, project: Path) -> None:
    """`tunegate gate` runs in the project's folder, where four names are taken."""
    base, tuned = MODELS
    words = ["gate", "suites", "--base", base, "--tuned", tuned, "--run-dir", "run"]

    done = installed.run("tunegate", *words, cwd=project)

    assert done.returncode == 0, done.stdout
    assert _verdict(project / "run") == "SHIP"
    assert (project / "run" / "report.html").is_file()


def test_a_module_of_tunegate_is_run_by_its_name(installed: Installed, project: Path) -> None:
    """`python -m tunegate.harness.cli`, with the project's folder first on the path."""
    done = installed.run("python", "-m", "tunegate.harness.cli", "--version", cwd=project)

    assert (done.returncode, done.stdout[:9]) == (0, "tunegate "), done.stdout


def _module(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command for the environment, which has no pytest script."""
    return command if command[0] == "python" else ("python", "-c", _PYTEST, *command[1:])


_PYTEST = "import sys, pytest; sys.path.remove(''); sys.exit(pytest.console_main())"
"""What the script `pytest` does, for which the folder at hand is not on the path."""


def _verdict(run: Path) -> str:
    verdict: str = json.loads((run / "verdict.json").read_text(encoding="utf-8"))["verdict"]
    return verdict
