"""Sandboxes that work here, and what is left after them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunegate.harness.sandbox.bubblewrap import SANDBOX


@pytest.fixture
def bubblewrap() -> None:
    if problem := SANDBOX.problem():
        pytest.skip(problem)


def _left() -> tuple[set[str], set[str]]:
    """Return this process's descendants and the temporary folders of sandboxes."""
    found, waiting = set(), [os.getpid()]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            try:
                children = task.read_text().split()
            except OSError:
                continue
            found |= set(children)
            waiting += map(int, children)
    return found, {p.name for p in Path(tempfile.gettempdir()).glob("tunegate-*")}


@pytest.fixture
def leaves_nothing() -> Iterator[None]:
    processes, _ = _left()
    with tempfile.TemporaryDirectory(prefix="own-") as own, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", own)
        yield
        after, folders = _left()
        assert after <= processes
        assert not folders
