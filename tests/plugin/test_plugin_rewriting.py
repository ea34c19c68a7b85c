"""pytest does not rewrite the asserts of our own modules; a user's tests keep theirs."""

from __future__ import annotations

from typing import Any

from tests.early_modules import EARLY_MODULES

SEEN = """
def pytest_sessionfinish(session):
    import sys
    from _pytest.assertion.rewrite import AssertionRewritingHook as Hook
    ours = [m for name, m in sorted(sys.modules.items())
            if name.partition(".")[0] == "tunegate"]
    print()
    print("LOADED", len(ours))
    print("REWRITTEN", *(m.__name__ for m in ours if isinstance(m.__loader__, Hook)))
"""
OWN = """
def test_of_a_user(gate):
    assert [1, 2] == [1, 3]
"""


def test_our_modules_are_imported_as_they_are(project: Any) -> None:
    project.suite()
    project.pytester.makeconftest(SEEN)

    result = project.pytest_apart("suites", "-s", "--gate-run-dir=run", *project.models())

    assert result.ret == 0
    told = {line.partition(" ")[0]: line.split()[1:] for line in result.outlines}
    assert int(told["LOADED"][0]) > 50
    # pytest 8.0 finds no module of an editable installation, and so rewrites none.
    assert sorted(told["REWRITTEN"]) in (sorted(EARLY_MODULES), [])


def test_asserts_of_users_are_explained(project: Any) -> None:
    project.suite()
    project.pytester.makepyfile(test_own=OWN)

    result = project.pytest_here("test_own.py", *project.models())

    result.stdout.fnmatch_lines(["E*At index 1 diff: 2 != 3"])
