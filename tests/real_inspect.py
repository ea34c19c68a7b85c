"""Inspect itself, in an environment of its own: an agent task, and the Python that plays it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunegate.harness.contracts.inspect_task import INSPECT_PYTHON

TASK = '''
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, accuracy, scorer
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import tool


@tool
def find():
    async def execute(order: str) -> str:
        """Look an order up.

        Args:
            order: Order number.
        """
        if order == "X3":
            raise OSError("the sandbox crashed")
        return "lost"

    return execute


@scorer(metrics=[accuracy()])
def told():
    async def score(state, target):
        return Score(value=float("lost" in state.output.completion))

    return score


@task
def desk():
    samples = [Sample(id=name, input=f"Where is {name}?") for name in ("A1", "B2", "X3")]
    return Task(dataset=samples, solver=[use_tools(find()), generate()], scorer=told())
'''


@pytest.fixture(scope="module")
def inspect_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that has Inspect."""
    if os.environ.get(INSPECT_PYTHON):
        return Path(os.environ[INSPECT_PYTHON])
    folder = tmp_path_factory.mktemp("inspect")
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin/python"), "-m", "pip", "install", "-q", "inspect-ai", "openai"],
    ):
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            pytest.skip(f"Inspect cannot be installed: {ran.stderr.strip()[-300:]}")
    return folder / "bin/python"
