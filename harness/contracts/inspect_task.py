"""Inspect tasks: episodes that Inspect (UK AISI) plays in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate.harness.contracts import keyword_options
from tunegate.harness.contracts.source_files import with_imports
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.hashing import file_sha256, sha256

INSPECT_PYTHON = "TUNEGATE_INSPECT_PYTHON"
"""Environment variable with the Python that has Inspect, for suites that name none."""
_TASK = re.compile(r"(?P<file>[^@]+\.py)@(?P<name>[^@/\s]+)|[A-Za-z_]\w*/[\w./-]+")
_OWN_FLAGS = frozenset(
    {
        "--epochs", "--log-dir", "--log-format", "--max-tokens", "--model", "--model-base-url",
        "--sample-id", "--system-message", "--temperature", "--top-p", "-T", "--task-config",
    }
)  # fmt: skip
"""Options of `inspect eval` that follow from the suite and the run."""


@dataclass(frozen=True)
class InspectTask:
    """A task of Inspect, which another process runs."""

    spec: str
    """`file.py@task`, or `package/task`."""
    folder: str
    """The suite's folder."""
    python: str = ""
    """Python that has Inspect, relative to the suite's folder; empty for the default one."""
    flags: tuple[str, ...] = ()
    """Further arguments of `inspect eval`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the task."""

    @property
    def interpreter(self) -> str:
        """The Python that runs it: the suite's, the environment variable's, or this one."""
        if os.sep in self.python:
            return str(Path(self.folder).resolve() / self.python)
        python = self.python or os.environ.get(INSPECT_PYTHON) or sys.executable
        return str(Path(python).absolute()) if os.sep in python else python

    @property
    def sha256(self) -> str:
        """Hash of the task's source files, its options and flags."""
        match = _TASK.fullmatch(self.spec)
        file = match and match["file"]
        sources = with_imports([(Path(self.folder) / file).resolve()]) if file else set()
        name = match["name"] if match and file else self.spec
        digests = sorted(file_sha256(path) for path in sources)
        return sha256([name, dict(self.options), list(self.flags), digests])

    def problems(self) -> Iterator[str]:
        """Yield the problems that can be seen without running anything."""
        match = _TASK.fullmatch(self.spec)
        if match is None:
            yield f"inspect={self.spec!r}: write it as 'file.py@task' or 'package/task'"
            return
        if file := match["file"]:
            if outside := keyword_options.outside_problem(Path(self.folder), file):
                yield outside
            elif not (Path(self.folder) / file).is_file():
                yield f"inspect={self.spec!r}: no such file: {Path(self.folder) / file}"
        for flag in self.flags:
            if flag.partition("=")[0] in _OWN_FLAGS:
                yield (
                    f"flags: {flag} follows from the suite and the run; remove it (arguments of "
                    "the task are `options`, samples and temperature are under [generation])"
                )

    def version(self) -> str:
        """Return the version of Inspect that runs it.

        Raises:
            UsageError: it is not installed.
        """
        program = shutil.which(self.interpreter)
        script = "import importlib.metadata as m; print(m.version('inspect-ai'))"
        ran = program and subprocess.run(
            [program, "-c", script], capture_output=True, text=True, check=False, timeout=60
        )
        if ran and ran.returncode == 0:
            return ran.stdout.strip()
        lacking = "has no inspect-ai" if program else "is not a program"
        raise UsageError(
            f"inspect={self.spec!r}: {self.interpreter} {lacking}; `pip install inspect-ai openai` "
            f"into an environment, and name its Python with `python = …` under [episode] or "
            f"{INSPECT_PYTHON}=…"
        )
