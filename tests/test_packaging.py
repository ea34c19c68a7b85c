"""The wheel: one package with its data, and nothing else."""

from __future__ import annotations

import tomllib
import zipfile
from email.parser import Parser
from itertools import chain
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
PACKAGES = {"harness", "suites", "trainers", "reports"}


@pytest.fixture(name="wheel", scope="module")
def _wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Return the wheel, built by hatchling itself: no index, no virtual environment."""
    folder = tmp_path_factory.mktemp("wheel")
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return zipfile.ZipFile(built)


def test_one_package_and_the_metadata(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"tunegate"}
    assert len(tops) == 2


def test_every_file_of_the_packages_is_inside(wheel: zipfile.ZipFile) -> None:
    inside = set(wheel.namelist())
    missing = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
        if f"tunegate/{path.relative_to(ROOT)}" not in inside
    ]

    assert missing == []


def test_the_data_that_code_reads_is_inside(wheel: zipfile.ZipFile) -> None:
    inside = set(wheel.namelist())

    assert inside >= {
        "tunegate/harness/checks/everyday/cases.jsonl",
        "tunegate/harness/checks/everyday/suite.toml",
        "tunegate/harness/cli/ci/github.yml",
        "tunegate/harness/cli/ci/jenkins.groovy",
        "tunegate/harness/cli/ci/ci.sh",
        "tunegate/harness/records/schemas/case.schema.json",
        "tunegate/harness/records/schemas/suite.schema.json",
        "tunegate/harness/records/schemas/verdict.schema.json",
        "tunegate/suites/support_json/suite.toml",
        "tunegate/suites/support_json/cases.jsonl",
        "tunegate/suites/support_json/ticket.schema.json",
        "tunegate/reports/templates/page.html",
        "tunegate/reports/templates/style.css",
        "tunegate/trainers/demo/everyday.jsonl",
        "tunegate/trainers/demo/good.yaml",
        "tunegate/guides/forgetting.md",
        "tunegate/statistics.md",
        *(f"tunegate/{package}/py.typed" for package in PACKAGES),
        "tunegate/py.typed",
    }


def test_tests_stay_at_home(wheel: zipfile.ZipFile) -> None:
    assert [n for n in wheel.namelist() if "tests/" in n or "conftest" in n or "test_" in n] == []


def test_metadata(wheel: zipfile.ZipFile) -> None:
    """Licence, Python version and the two entry points are what users get."""
    (info,) = {n.split("/")[0] for n in wheel.namelist() if ".dist-info/" in n}
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode("utf-8"))
    entries = wheel.read(f"{info}/entry_points.txt").decode("utf-8")

    assert (metadata["Name"], metadata["License-Expression"]) == ("tunegate", "Apache-2.0")
    assert metadata["Requires-Python"] == ">=3.11"
    assert any(name.endswith("LICENSE") for name in wheel.namelist())
    assert "tunegate = tunegate.harness.cli:main" in entries
    assert "[pytest11]\ntunegate = tunegate.harness.plugin" in entries


def test_what_is_imported_is_required() -> None:
    import ast
    import sys
    from importlib.metadata import packages_distributions

    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, trackers = pyproject["project"], pyproject["dependency-groups"]["trackers"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *chain.from_iterable(extras.values()), *trackers]
    required = {_distribution(requirement) for requirement in wanted}
    # namespace packages and the parts of a distribution that we name by its main one
    parts = {
        "opentelemetry": "opentelemetry-proto",
        "_pytest": "pytest",
        "google": "protobuf",
        "lm_eval": "lm-eval",
        "pydantic_core": "pydantic",
        # of an extra that `all` does not have
        "sigstore": "sigstore",
        # Python's own from 3.14 on; before that zstandard, which pyarrow stands in for in tests
        "compression": "zstandard",
        "zstandard": "zstandard",
        # comes with Transformers; a notebook without it shows plain lines
        "tqdm": "transformers",
        # a user of --log-to has the library of the tracker
        "mlflow": "mlflow-skinny",
        **{name: name for name in ("tensorboard", "trackio", "wandb")},
    }
    # MLX's worker runs under a Python of its own, which `tunegate install mlx` makes
    elsewhere = {"mlx", "mlx_lm"}
    homes = packages_distributions()
    missing = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level:
                    names.append(node.module or "")
                for top in {name.split(".")[0] for name in names}:
                    known = top in {"tunegate", *elsewhere, *sys.stdlib_module_names}
                    home = {parts[top]} if top in parts else set(homes.get(top, ()))
                    if not known and not {_distribution(h) for h in home} & required:
                        missing.add((top, str(path.relative_to(ROOT))))

    assert missing == set()


def test_the_proxy_of_the_tests_is_the_one_of_the_extra() -> None:
    """What litellm's proxy is started with here is what `tunegate[proxy]` installs."""
    from importlib.metadata import version

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pytest.importorskip("fastapi_sso", reason="tunegate[proxy] is not installed")
    named = map(Requirement, project["optional-dependencies"]["proxy"])
    wanted = [one for one in named if one.marker is None or one.marker.evaluate()]

    unfit = [str(one) for one in wanted if not one.specifier.contains(version(one.name))]
    assert unfit == []
    assert len(wanted) >= 18


def _distribution(requirement: str) -> str:
    """Return the normalised name in front of extras and versions."""
    import re

    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()
