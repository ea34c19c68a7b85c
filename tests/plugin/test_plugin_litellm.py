"""A hosted fine-tune against its hosted base, through pytest: verdicts, versions, interruptions."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.fake_server import FakeServer, completion, prompt_of
from tunegate.harness.models.remote.litellm_calls import litellm_library

BASE, FINE_TUNE = "gpt-4o-mini", "ft:gpt-4o-mini-2024-07-18:acme::abc"
ARMS = (f"--gate-base=litellm:openai/{BASE}", f"--gate-tuned=litellm:openai/{FINE_TUNE}")
CASE = re.compile(r"q(\d+)")
CASES = 100


@pytest.fixture(autouse=True, scope="module")
def _loaded() -> None:
    """Load litellm before pytester takes down `sys.meta_path`, which it puts back later.

    litellm brings importlib_metadata, which takes the place of the standard library's finder of
    packages: without it, not one would be found for the rest of this process.
    """
    litellm_library()


@pytest.fixture(name="hosted")
def _hosted(
    fake_server: Callable[..., FakeServer], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., FakeServer]:
    """Return a function that starts a provider whose models get so many cases right."""

    def start(base: int, tuned: int) -> FakeServer:
        right = {BASE: base, FINE_TUNE: tuned}

        def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
            case = CASE.fullmatch(prompt_of(body))
            text = model if case is None else "yes" if int(case[1]) < right[model] else "no"
            dated = "gpt-4o-mini-2024-07-18" if model == BASE else model
            return {"model": dated, "system_fingerprint": "fp_1", **completion(text)}

        served = fake_server(models={BASE: {}, FINE_TUNE: {}}, reply=reply)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")
        monkeypatch.setenv("OPENAI_BASE_URL", served.url)
        return served

    return start


def cases_asked(served: FakeServer) -> Counter[tuple[str, str]]:
    """Return how often each model was asked each case."""
    pairs = [(body["model"], prompt_of(body)) for body in served.asked]
    return Counter(pair for pair in pairs if CASE.fullmatch(pair[1]))


def test_a_better_fine_tune_ships(project: Any, hosted: Callable[..., FakeServer]) -> None:
    """Each case is asked once of each model; cells say who answered, and at what price."""
    served = hosted(base=30, tuned=95)
    project.suite(n=CASES)

    result = project.gate(*ARMS, "--gate-early-stop=off")

    assert result.ret == 0
    assert project.verdict()["verdict"] == "SHIP"
    arms = project.verdict()["arms"]
    assert arms["base"]["model_version"] == "gpt-4o-mini-2024-07-18"
    assert arms["tuned"]["model_version"] == FINE_TUNE
    assert project.verdict()["comparability"]["status"] == "declared"
    assert project.verdict()["liveness"]["tuned"]["different_answers"] == 8
    assert set(cases_asked(served).values()) == {1}
    assert len(cases_asked(served)) == 2 * CASES
    lines = (project.run / "cells.jsonl").read_text(encoding="utf-8").splitlines()
    done = [json.loads(line)["completion"] for line in lines]
    assert {one["answered_by"] for one in done} == {
        "gpt-4o-mini-2024-07-18 fp_1",
        f"{FINE_TUNE} fp_1",
    }
    assert all(one["cost"] > 0 for one in done)


def test_a_worse_fine_tune_is_blocked(project: Any, hosted: Callable[..., FakeServer]) -> None:
    hosted(base=90, tuned=10)
    project.suite(n=CASES)

    result = project.gate(*ARMS)

    assert result.ret == 1
    assert project.verdict()["verdict"] == "BLOCK"


def test_no_key_reaches_a_file(project: Any, hosted: Callable[..., FakeServer]) -> None:
    hosted(base=30, tuned=95)
    project.suite(n=20)

    project.gate(*ARMS, "--gate-trace-content")

    files = [path for path in project.path.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert [path for path in files if b"sk-of-the-tests" in path.read_bytes()] == []


def test_a_version_that_changes_in_mid_run_is_not_mixed(
    project: Any, hosted: Callable[..., FakeServer]
) -> None:
    """ERROR that says what to do; run again, the new version is asked all, base nothing."""
    served = hosted(base=30, tuned=95)
    project.suite(n=CASES)
    usual, seen = served.reply, Counter[str]()

    def renamed(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        seen[model] += 1
        new = {"model": "acme-v2"} if model == FINE_TUNE and seen[model] > 40 else {}
        return {**usual(model, path, body), **new}

    served.reply = renamed
    broken = project.gate(*ARMS, "--gate-early-stop=off")
    first = cases_asked(served)
    sentence = project.verdict()["sentence"]

    assert broken.ret == 13
    assert project.verdict()["verdict"] == "ERROR"
    assert f"acme-v2 answers now, {FINE_TUNE} answered before" in sentence
    assert "Traceback" not in broken.stdout.str()

    served.asked.clear()
    again = project.gate(*ARMS, "--gate-early-stop=off")

    assert again.ret == 0
    assert project.verdict()["arms"]["tuned"]["model_version"] == "acme-v2"
    second = cases_asked(served)
    assert {case for model, case in second if model == FINE_TUNE} == {f"q{i}" for i in range(CASES)}
    assert [pair for pair in second if pair[0] == BASE and pair in first] == []


def test_what_was_answered_before_a_kill_is_not_asked_again(
    project: Any, hosted: Callable[..., FakeServer]
) -> None:
    """kill -9 in mid-run, then resume: no stored case is asked twice, and the verdict is there."""
    served = hosted(base=30, tuned=95)
    served.latency_s = 0.05
    project.suite(n=CASES)
    arguments = ["suites", *(arm.replace("--gate-", "--") for arm in ARMS)]
    process = project.start("gate", *arguments, "--run-dir", project.run)
    deadline = time.monotonic() + 60
    while len(project.stored()) < 30:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    stored = project.stored()
    served.asked.clear()

    result = project.tunegate("resume", project.run, *arguments)

    assert result.ret == 0
    assert project.verdict()["verdict"] == "SHIP"
    assert dict.fromkeys(stored, 1) == {k: project.stored()[k] for k in stored}
    assert set(cases_asked(served).values()) == {1}
    assert len(cases_asked(served)) <= 2 * CASES - len(stored)


def test_a_missing_key_is_one_line_before_any_case(
    project: Any, hosted: Callable[..., FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 4 and the variable's name; nothing was sent, nothing stored."""
    served = hosted(base=30, tuned=95)
    project.suite(n=10)
    monkeypatch.delenv("OPENAI_API_KEY")

    result = project.gate(*ARMS)

    assert result.ret == 4
    text = result.stdout.str() + result.stderr.str()
    assert "openai cannot be asked without OPENAI_API_KEY: set it" in text
    assert "Traceback" not in text
    assert served.posts == 0


def test_log_likelihood_metrics_are_refused_before_any_case(
    project: Any, hosted: Callable[..., FakeServer]
) -> None:
    served = hosted(base=30, tuned=95)
    toml = (
        'name = "demo"\ncases = "cases.jsonl"\n\n[[metrics]]\nuse = "answer_logprob"\n\n'
        '[[gates]]\nmetric = "answer_logprob"\ntolerance = 0.02\n'
    )
    cases = [{"id": f"c{i}", "prompt": f"q{i}", "expected": "yes"} for i in range(10)]
    project.raw_suite(toml, cases)

    result = project.gate(*ARMS)
    text = result.stdout.str() + result.stderr.str()

    assert result.ret == 4
    assert "a hosted chat model gives no log-likelihoods" in text
    assert cases_asked(served) == Counter()


def test_a_cost_gate_rests_on_the_providers_price(
    project: Any, hosted: Callable[..., FakeServer]
) -> None:
    hosted(base=30, tuned=95)
    toml = (
        'name = "demo"\ncases = "cases.jsonl"\n\n[[metrics]]\nuse = "cost"\n\n'
        '[[gates]]\nmetric = "cost"\nceiling = 2e-6\n'
    )
    cases = [{"id": f"c{i}", "prompt": f"q{i}", "expected": "yes"} for i in range(20)]
    project.raw_suite(toml, cases)

    result = project.gate(*ARMS)

    (gate,) = project.verdict()["suites"][0]["gates"]
    assert result.ret == 1
    assert gate["base"] == pytest.approx(5 * 0.15e-6 + 0.60e-6)
    assert gate["tuned"] == pytest.approx(5 * 0.30e-6 + 1.20e-6)
