"""Whole runs against a server: killed in the middle, resumed, refused before a case is spent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.fake_programs import Program
from tests.fake_server import FakeServer, completion, prompt_of
from tests.models.servers.caching_server import CachingServer
from tests.tiny_models import make_tokenizer

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


# The prompt that servers build


def programs(
    fake_server: Start, program: str = "llama.cpp", **changed: dict[str, Any]
) -> FakeServer:
    """Start a program that answers as `judged`, with faults in what it builds for a model."""
    of = {
        name: Program(make_tokenizer(), program, **changed.get(name, {}))
        for name in ("base", "tuned")
    }

    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        found = of[model](model, path, body)
        if path != "/v1/chat/completions" or "_debug_info" in found:
            return found
        return {**judged(model, path, body), "usage": found["usage"]}

    cards = {name: {"owned_by": of["base"].owner} for name in of}
    return fake_server(reply=reply, models=cards, pages=of["base"].pages)


def test_servers_that_build_different_prompts_are_not_comparable(
    project: Any, fake_server: Start
) -> None:
    """Exit 12 with the cause before a case is asked; allowed, the run goes on and says so first."""
    fake = programs(fake_server, tuned={"system": "You are Qwen."})

    refused = project.pytest_here(*options(project, fake))

    assert refused.ret == 12
    verdict = project.verdict()
    assert verdict["verdict"] == "NOT_COMPARABLE"
    assert "a system prompt that the server puts in front" in verdict["sentence"]
    chats = [body for body in fake.asked if "messages" in body and "max_tokens" in body]
    counted = {body["max_tokens"] for body in chats if prompt_of(body)[1:].isdecimal()}
    assert counted == {1}  # one token each, to count the prompt

    allowed = project.pytest_here(*options(project, fake, "two"), "--gate-allow-prompt-difference")

    assert allowed.ret == 0
    assert project.verdict(project.path / "two")["verdict"] == "SHIP"


def test_a_template_without_the_users_message_is_refused(project: Any, fake_server: Start) -> None:
    """Every prompt is the same six letters for both arms, whose answers would still differ."""
    broken = {"template": "llama2"}
    fake = programs(fake_server, base=broken, tuned=broken)

    assert project.pytest_here(*options(project, fake)).ret == 12
    assert "the whole prompt is 'llama2'" in project.verdict()["sentence"]


def test_another_prompt_than_the_trained_one_is_said_first(
    project: Any, fake_server: Start
) -> None:
    own = {"generation_prompt": False}
    fake = programs(fake_server, "Ollama", base=own, tuned=own)
    make_tokenizer().save_pretrained(project.path / "trained")
    arguments = [text.replace("/v1#", "/v1?tokenizer=trained#") for text in options(project, fake)]

    result = project.pytest_here(*arguments)

    text = result.stdout.str()
    assert result.ret == 0
    warning = "but base and tuned: asked with another prompt than that of its training"
    assert text.index("SHIP: ") < text.index(warning) < text.index("report: ")
    page = (project.path / "run" / "report.html").read_text()
    assert page.index(f"<b>But</b> {warning[4:]}") < page.index("Not checked:")
    assert "**But base and tuned: " in (project.path / "run" / "summary.md").read_text()


def test_servers_that_show_equal_prompts_are_proven_comparable(
    project: Any, fake_server: Start
) -> None:
    result = project.pytest_here(*options(project, programs(fake_server)))

    assert result.ret == 0
    comparability = project.verdict()["comparability"]
    assert comparability["status"] == "proven"
    assert comparability["by"] == "what the servers show of one conversation of each shape"
    assert "no trained chat template is known" in result.stdout.str()


# The cache that arms share


@pytest.mark.parametrize(
    ("owner", "switch"),
    [("vllm", "--no-enable-prefix-caching"), ("llamacpp", "--no-cache-prompt")],
)
def test_a_server_whose_arms_leak_into_each_other_is_refused(
    project: Any, fake_server: Start, owner: str, switch: str
) -> None:
    """Exit 12, before a case is asked, and with nothing stored."""
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(project.path / "saved")
    server = CachingServer(tokenizer, keyed=False)
    fake = fake_server(reply=server, models={n: {"owned_by": owner} for n in ("base", "tuned")})
    arguments = [text.replace("/v1#", "/v1?tokenizer=saved#") for text in options(project, fake)]

    refused = project.pytest_here(*arguments)

    verdict = project.verdict()
    assert (refused.ret, verdict["verdict"]) == (12, "NOT_COMPARABLE")
    assert "base and tuned leak into each other" in verdict["sentence"]
    assert switch in verdict["sentence"]
    assert verdict["served_prompts"]["tuned"]["prefix_cache"]["base"]["status"] == "leaks"
    before = fake.posts

    server.keyed = True
    passed = project.pytest_here(*arguments)

    assert passed.ret == 0
    assert fake.posts - before > 2 * N
    assert "no leak between base and tuned on 16 shared prefixes" in passed.stderr.str()
    found = project.verdict()["served_prompts"]["tuned"]["prefix_cache"]["base"]
    assert (found["status"], found["prefixes"]) == ("isolated", 16)
    assert "isolated" in (project.path / "run" / "report.html").read_text()

    server.questions = 0
    project.pytest_here(*arguments, "--gate-run-dir=again")
    assert server.questions == 0
    found = project.verdict(project.path / "again")["served_prompts"]["tuned"]["prefix_cache"]
    assert found["base"]["status"] == "not checked"


def test_a_server_that_fails_over_the_check_of_its_cache_goes_on(
    project: Any, fake_server: Start
) -> None:
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(project.path / "saved")
    server = CachingServer(tokenizer, fails=lambda path: True)
    fake = fake_server(reply=server, models={n: {"owned_by": "vllm"} for n in ("base", "tuned")})
    arguments = [text.replace("/v1#", "/v1?tokenizer=saved#") for text in options(project, fake)]

    assert project.pytest_here(*arguments).ret == 0
    note = project.verdict()["served_prompts"]["tuned"]["note"]
    assert "not checked for leaks between base and tuned on their server: the server failed" in note
