"""The bundled suite that a module of this room is about: it says which by its `FOLDER`."""

from __future__ import annotations

import pytest

from tunegate.harness.records.cases import Case
from tunegate.harness.suite import Suite, load_suite


@pytest.fixture(name="suite", scope="module")
def _suite(request: pytest.FixtureRequest) -> Suite:
    """Return the suite, loaded."""
    return load_suite(request.module.FOLDER)


@pytest.fixture(name="cases", scope="module")
def _cases(suite: Suite) -> list[Case]:
    """Return its cases without their places."""
    return list(suite.cases)
