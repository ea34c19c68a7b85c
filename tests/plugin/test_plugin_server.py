"""Whole runs against a server: killed in the middle, resumed, refused before a case is spent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.fake_server import FakeServer, completion, fake_server, prompt_of

__all__ = ["fake_server"]

Start = Callable[..., FakeServer]
N = 90


def judged(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Answer `yes` to 29 of the questions as base and to 84 as tuned."""
    time.sleep(0.005)
    asked = prompt_of(body)
    number = int(asked[1:]) if asked[1:].isdecimal() else 0
    right = number < {"base": 30, "tuned": 85}[model]
    return completion(model if number == 0 else "yes" if right else "no")


def options(project: Any, fake: FakeServer, run: str = "run") -> list[str]:
    """Write the suite; return the arguments of a gate over the fake server."""
    project.suite(n=N)
    specs = [f"--gate-{arm}=server:{fake.url}#{arm}" for arm in ("base", "tuned")]
    return ["suites", *specs, f"--gate-run-dir={project.path / run}"]


def asked(fake: FakeServer) -> list[tuple[str, str]]:
    """Return (model, question) of the cases that were answered, without what opening asks."""
    pairs = [(body["model"], prompt_of(body)) for body in fake.asked if "messages" in body]
    return [(model, text) for model, text in pairs if text[1:].isdecimal()]


def test_a_server_killed_in_mid_run_loses_nothing(project: Any, fake_server: Start) -> None:
    """ERROR with the way on; resumed, no question is asked twice and the verdict is the same."""
    fake = fake_server(reply=judged)
    arguments = options(project, fake, "undisturbed")
    assert project.pytest_here(*arguments, "--gate-store=other.sqlite").ret == 0
    undisturbed = project.verdict(project.path / "undisturbed")
    fake.asked.clear()
    start = fake.posts
    fake.faults = lambda number: _kill_at(fake, number - start, 130)

    broken = project.pytest_here(*options(project, fake), "--gate-deadline=5")
    assert broken.ret == 13
    assert project.verdict()["verdict"] == "ERROR"
    broken.stdout.re_match_lines(["continue with: pytest .*suites .* --gate-run-dir=run$"])
    before = asked(fake)
    fake.faults = lambda number: None
    fake.start()
    result = project.pytest_here(*options(project, fake), "--gate-deadline=5")

    assert result.ret == 0
    assert 20 < len(before) < 2 * N
    assert len(asked(fake)) == len(set(asked(fake))) == 2 * N
    assert _without_names(project.verdict()) == _without_names(undisturbed)


def _kill_at(fake: FakeServer, number: int, moment: int) -> str | None:
    if number >= moment and fake.running is not None:
        fake.kill()
    return None if number < moment else "reset"


def _without_names(verdict: dict[str, Any]) -> str:
    """Return a verdict without the name of its run."""
    return json.dumps({k: v for k, v in verdict.items() if k != "run_id"}, sort_keys=True)


def test_a_server_without_the_model_is_refused_before_a_case(
    project: Any, fake_server: Start
) -> None:
    """One line with the name that was meant, exit 2, nothing asked."""
    fake = fake_server()
    project.suite()
    specs = ["--base", f"server:{fake.url}#base", "--tuned", f"server:{fake.url}#tunde"]
    result = project.tunegate("gate", "suites", *specs, "--run-dir", project.run)

    assert result.ret == 2
    result.stdout.fnmatch_lines(["*the server has no model 'tunde'; did you mean 'tuned'?*"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert asked(fake) == []


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--gate-concurrency=0", "--gate-concurrency='0' must be a whole number of at least 1"),
        ("--gate-deadline=-1", "--gate-deadline='-1' must be a number of seconds above 0"),
        ("--gate-requests-per-minute=x", "--gate-requests-per-minute='x' must be a number above 0"),
        ("--gate-tokens-per-minute=inf", "--gate-tokens-per-minute='inf' must be a number above 0"),
    ],
)
def test_limits_are_checked(project: Any, option: str, message: str) -> None:
    """Each names its value and what is allowed."""
    project.suite()
    result = project.pytest_here("suites", option)

    assert result.ret == 4
    assert message in result.stdout.str() + result.stderr.str()
