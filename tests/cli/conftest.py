"""The tiny models, for this room, and torch where a command would load it."""

from __future__ import annotations

import importlib

import pytest

from tests.tiny_models import tiny

__all__ = ["tiny"]


@pytest.fixture(scope="session")
def torch_stays() -> None:
    """Load torch before pytester takes its snapshot of the modules.

    It would unload it after the test, and torch cannot be loaded twice.
    """
    importlib.import_module("torch")
