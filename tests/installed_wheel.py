"""tunegate as its users have it: the wheel, installed by pip into an environment of its own.

What the wheel depends on is taken from the environment of the tests, so that nothing is fetched;
tunegate itself is not: the other environment's editable installation is a `.pth` file, which
Python obeys only in the folders of its own installation.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_OURS = ("PYTHONPATH", "PYTEST_", "OTEL_", "GITHUB_", "CI", "TUNEGATE_")
"""What a user's terminal has not set: prefixes of variables."""


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel, and no way to the source tree."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"

    def run(self, name: str, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run one of its commands in a folder, as a user would; both streams are in stdout."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
        environment["PATH"] = f"{self.folder / 'bin'}{os.pathsep}{environment['PATH']}"
        return subprocess.run(
            [self.folder / "bin" / name, *words],
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return an environment with the wheel of this tree: built without an index, in two seconds."""
    from hatchling.builders.wheel import WheelBuilder

    place = tmp_path_factory.mktemp("installed")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(place), versions=["standard"])
    made = Installed(place / "environment")
    venv.create(made.folder, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", made.python, "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", wheel], check=True)
    (packages,) = made.folder.glob("lib/python*/site-packages")
    libraries = sysconfig.get_path("purelib")
    (packages / "libraries.pth").write_text(f"{libraries}\n", encoding="utf-8")
    return made
