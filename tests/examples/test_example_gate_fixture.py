"""Ask for a difference in code: the `gate` fixture in a project's own tests.

The models stand in pytest.ini, so plain `pytest` runs the gate; the assertions are Python, so a
team can say what a suite.toml cannot.
"""

from __future__ import annotations

from typing import Any

TESTS = '''\
"""Is the candidate safe for the refund desk?"""

REFUNDS = "suites/refunds"


def test_refunds_are_recognised(gate):
    """The candidate must be good, better than today, and not merely by luck."""
    delta = gate.compare(REFUNDS, metric="exact_match")
    assert delta.tuned >= 0.9
    assert delta.gains(by=0.10)


def test_no_answer_became_ten_times_as_long(gate):
    """A user's own look at every pair of completions."""
    for pair in gate.pairs(REFUNDS):
        assert len(pair.tuned.text) <= 10 * len(pair.base.text), pair.case.id
'''


def test_a_project_asserts_on_deltas(project: Any, workers: tuple[str, ...]) -> None:
    project.suite("refunds")
    base, good = project.model("base", 30), project.model("good", 95)
    project.pytester.makeini(f"[pytest]\ngate_base = {base}\ngate_tuned = {good}\n")
    project.pytester.makepyfile(test_refunds=TESTS)
    run = project.pytest_apart if workers else project.pytest_here

    shipped = run("test_refunds.py", *workers)

    shipped.assert_outcomes(passed=2)
    assert shipped.ret == 0

    worse = project.pytest_here("test_refunds.py", f"--gate-tuned={project.model('worse', 12)}")

    worse.assert_outcomes(passed=1, failed=1)
    assert worse.ret == 1
