"""A hosted model as an arm: what it is asked, what of its answer counts, and who answered."""

from __future__ import annotations

import importlib.util
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fake_server import FakeServer, completion
from tests.image_files import png, write_image_suite
from tunegate.harness.checks import liveness
from tunegate.harness.contracts.model import Arm, PoolLimits, ProbedArm, RemoteArm, Request
from tunegate.harness.contracts.reasoning import answer_tokens
from tunegate.harness.models.litellm import LitellmArm, litellm
from tunegate.harness.models.remote.chat_settings import thinking_parameters
from tunegate.harness.records.answers import Cell, CellKind, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import BackendError, MissingExtra, ModelError, NotComparable
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.suite import load_suite

BASE, FINE_TUNE = "gpt-4o-mini", "ft:gpt-4o-mini-2024-07-18:acme::abc"
VERSIONS = {BASE: "gpt-4o-mini-2024-07-18", FINE_TUNE: FINE_TUNE}
GREEDY = GenerationSettings(max_new_tokens=16)
QUICK = PoolLimits(concurrency=4, deadline_s=20, attempts=2)


def hosted(content: Callable[[str], dict[str, Any]] = completion) -> Callable[..., dict[str, Any]]:
    """Return a reply in the name of the model's dated version."""

    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        said = content(f"{model} says {body['messages'][-1]['content']}")
        return {"model": VERSIONS[model], "system_fingerprint": "fp_1", **said}

    return reply


@pytest.fixture(name="served")
def _served(fake_server: Callable[..., FakeServer], monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    """A provider with a base model and a fine-tune of it."""
    served = fake_server(models={BASE: {}, FINE_TUNE: {}}, reply=hosted())
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")
    monkeypatch.setenv("OPENAI_BASE_URL", served.url)
    return served


def opened(served: FakeServer, model: str = BASE, limits: PoolLimits = QUICK) -> LitellmArm:
    """Return the arm; what it asked so far is forgotten."""
    arm = litellm(f"openai/{model}", limits=limits)
    served.asked.clear()
    return arm


def request(
    case: Case | None = None, generation: GenerationSettings = GREEDY, *, arm: Arm, key: str = "k"
) -> Request:
    """Return a request as the plan makes it."""
    case = case or Case(id="c1", prompt="Where is my parcel?")
    prompt = arm.prompt(case, generation)
    cell = Cell(suite="s", case=case.id, arm="", kind=CellKind.GENERATE, key=key)
    return Request(cell, case, prompt, generation, seed=7)


def answered(arm: LitellmArm, *requests: Request) -> dict[str, StoredAnswer]:
    """Return the answers by key."""
    return {answer.key: answer for answer in arm.complete(requests)}


def test_a_completion_says_all_that_is_known(served: FakeServer) -> None:
    """Text, tokens, price, time, and who answered: 5 tokens in at 0.15, 6 out at 0.60 a million."""
    arm = opened(served)

    answer = answered(arm, request(arm=arm))["k"]

    assert answer.error is None
    assert answer.completion is not None
    done = answer.completion
    assert done.text == "gpt-4o-mini says Where is my parcel?"
    assert (done.finish_reason, done.input_tokens, done.output_tokens) == ("stop", 5, 6)
    assert done.cost == pytest.approx(5 * 0.15e-6 + 6 * 0.60e-6)
    assert done.answered_by == "gpt-4o-mini-2024-07-18 fp_1"
    assert done.latency_s is not None
    assert 0 < done.latency_s < 20
    assert (done.batch_size, done.attempts) == (1, 1)


def test_images_are_sent_as_data_urls(served: FakeServer, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    (tmp_path / "1.png").write_bytes(png())
    (case,) = load_suite(write_image_suite(tmp_path, {"a": "1.png"})).cases
    arm = opened(served)
    sent = request(case, arm=arm)

    answered(arm, sent)

    (text, image) = served.asked[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is the total?"}
    assert image == {"type": "image_url", "image_url": {"url": case.images[0].data_url()}}
    (tmp_path / "1.png").unlink()
    assert (
        answered(arm, sent)["k"].error == "image 1.png: cannot be read (No such file or directory)"
    )


def test_what_is_sent_is_the_case_and_the_suite_settings(served: FakeServer) -> None:
    arm = opened(served)
    tool = {"name": "track", "parameters": {"type": "object", "properties": {}}}
    generation = GenerationSettings(system="Be brief.", max_new_tokens=9, stop=("\n",))
    case = Case(id="c", prompt="Hi", tools=(tool,))

    answered(arm, request(case, generation, arm=arm))

    assert served.asked == [
        {
            "model": BASE,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi"},
            ],
            "temperature": 0.0,
            "max_tokens": 9,
            "stop": ["\n"],
            "tools": [{"type": "function", "function": tool}],
        }
    ]


def test_sampling_is_seeded_by_the_cell(served: FakeServer) -> None:
    arm = opened(served)

    answered(arm, request(generation=GenerationSettings(temperature=0.7, top_p=0.9), arm=arm))

    (body,) = served.asked
    assert (body["seed"], body["temperature"], body["top_p"]) == (7, 0.7, 0.9)


def test_an_answer_is_cut_at_every_stop(served: FakeServer) -> None:
    arm = opened(served)
    stops = ("AA", "BB", "CC", "DD", "says")

    answer = answered(arm, request(generation=GenerationSettings(stop=stops), arm=arm))["k"]

    assert served.asked[0]["stop"] == ["AA", "BB", "CC", "DD"]
    assert answer.completion is not None
    assert answer.completion.text == "gpt-4o-mini "
    assert answer.completion.finish_reason == "stop"


def test_tool_calls_are_the_answer(served: FakeServer) -> None:
    arm = opened(served)
    call = {"id": "x1", "type": "function", "function": {"name": "track", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    served.reply = hosted(lambda text: completion("", message=message, finish_reason="tool_calls"))
    tool = {"name": "track", "parameters": {"type": "object", "properties": {}}}
    offered = Case(id="c1", prompt="Where is my parcel?", tools=(tool,))

    answer = answered(arm, request(offered, arm=arm))["k"]
    unasked = answered(arm, request(arm=arm))["k"]

    assert unasked.completion is None
    assert unasked.error == "answered with a tool call, and the case offers no tools"
    assert answer.completion is not None
    assert answer.completion.text == '<tool_call>{"name": "track", "arguments": {}}</tool_call>'


@pytest.mark.parametrize(
    ("content", "finish_reason", "why"),
    [
        ("", "stop", "empty answer"),
        ("half of", "content_filter", "filter"),
        ("", "length", "raise"),
    ],
)
def test_no_answer_is_an_error_of_its_case(
    served: FakeServer, content: str, finish_reason: str, why: str
) -> None:
    """Unscored with the reason; an empty text would be scored as a wrong answer."""
    arm = opened(served)
    served.reply = hosted(lambda text: completion(content, finish_reason=finish_reason))

    answer = answered(arm, request(arm=arm))["k"]

    assert answer.completion is None
    assert answer.error is not None
    assert why in answer.error


def test_a_refused_case_leaves_the_others(served: FakeServer) -> None:
    """One prompt is too long for the model; the other is answered."""
    arm = opened(served)
    usual = hosted()

    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if "long" in body["messages"][-1]["content"]:
            raise LookupError(400, "This model's maximum context length is 8 tokens")
        return usual(model, path, body)

    served.reply = reply
    long, short = Case(id="l", prompt="long"), Case(id="s", prompt="short")

    found = answered(arm, request(long, arm=arm, key="l"), request(short, arm=arm, key="s"))

    assert found["s"].completion is not None
    assert found["l"].completion is None
    assert "maximum context length" in str(found["l"].error)


def test_a_rate_limit_is_waited_for(served: FakeServer) -> None:
    """429 with the pause that the provider asks for, then the answer."""
    arm = opened(served)
    first = served.posts
    served.faults = lambda number: "429:1" if number == first else None
    began = time.monotonic()

    answer = answered(arm, request(arm=arm))["k"]

    assert answer.completion is not None
    assert 1.0 <= time.monotonic() - began < 10
    assert answer.completion.latency_s is not None
    assert answer.completion.latency_s < 1.0
    assert answer.completion.attempts == 2


@pytest.mark.parametrize("fault", ["silent", "drip"])
def test_a_provider_that_hangs_is_left_at_the_deadline(served: FakeServer, fault: str) -> None:
    arm = opened(served, limits=PoolLimits(concurrency=1, deadline_s=1.0, attempts=1))
    served.faults = lambda number: fault
    began = time.monotonic()

    answer = answered(arm, request(arm=arm))["k"]

    assert time.monotonic() - began < 4
    assert re.search("no answer within 1 s|timed out", str(answer.error))


def test_the_identity_is_what_the_provider_says(served: FakeServer) -> None:
    """Name, version, address; the key is nowhere in it."""
    arm = opened(served, FINE_TUNE)

    assert arm.identity["model"] == f"openai/{FINE_TUNE}"
    assert arm.identity["model_version"] == FINE_TUNE
    assert arm.identity["system_fingerprint"] == "fp_1"
    assert arm.identity["place"] == served.url
    assert arm.identity["engine"].startswith("litellm 1.")
    assert "sk-of-the-tests" not in json.dumps(arm.identity)


def test_another_version_is_another_arm(served: FakeServer) -> None:
    """It is asked again; an upgrade of litellm or a new configuration changes nothing."""
    before = opened(served).fingerprint
    served.reply = lambda model, path, body: {
        **completion("x"), "model": VERSIONS[model], "system_fingerprint": "fp_2",
    }  # fmt: skip
    same = opened(served).fingerprint
    served.reply = lambda model, path, body: {**completion("x"), "model": "gpt-4o-mini-2025-01-01"}

    assert same == before
    assert opened(served).fingerprint != before


def test_a_version_that_changes_ends_the_run(served: FakeServer) -> None:
    arm = opened(served)
    served.reply = lambda model, path, body: {**completion("x"), "model": "gpt-4o-mini-2025-01-01"}

    with pytest.raises(BackendError) as caught:
        answered(arm, request(arm=arm))

    line = str(caught.value)
    assert "gpt-4o-mini-2025-01-01 answers now, gpt-4o-mini-2024-07-18 answered before" in line
    assert "Run again to ask the new version every case" in line
    assert "\n" not in line


def test_probe_answers_are_greedy_and_in_order(served: FakeServer) -> None:
    """The same texts for every arm, so that two arms can be compared."""
    base, tuned = opened(served), opened(served, FINE_TUNE)

    base.ask_probes()
    tuned.ask_probes()
    ours, theirs = base.probed, tuned.probed

    assert len(ours) == len(theirs) == 8
    assert ours[0] == ("gpt-4o-mini says The capital of France is",) * 2
    assert [a.replace(BASE, FINE_TUNE, 1) for a, _ in ours] == [a for _, a in theirs]
    assert {body["temperature"] for body in served.asked} == {0.0}
    assert len(served.asked) == 2 * 2 * 8
    assert isinstance(base, RemoteArm)
    assert isinstance(base, ProbedArm)


def test_a_fine_tune_that_answers_the_probes_otherwise_is_proven(served: FakeServer) -> None:
    """The names are the provider's word; that they answer differently is seen."""
    arms = {"base": opened(served), "tuned": opened(served, FINE_TUNE)}

    proof = liveness.check_liveness(arms)["tuned"]

    assert proof == {"status": "proven", "probes": 8, "different_answers": 8}


def test_the_same_answers_of_two_versions_are_taken_on_trust(served: FakeServer) -> None:
    """A fine-tune for one job may answer general texts as its base does: shown, not refused."""
    served.reply = hosted(lambda text: completion("the same"))
    arms = {"base": opened(served), "tuned": opened(served, FINE_TUNE)}

    proof = liveness.check_liveness(arms)["tuned"]

    assert proof["status"] == "declared"
    assert f"gpt-4o-mini-2024-07-18 and {FINE_TUNE} answer" in proof["note"]


def test_the_same_answers_of_one_version_are_not_comparable(served: FakeServer) -> None:
    served.reply = lambda model, path, body: {**completion("the same"), "model": "one-model"}
    arms = {"base": opened(served), "tuned": opened(served, FINE_TUNE)}

    with pytest.raises(NotComparable, match="exactly as base does"):
        liveness.check_liveness(arms)


def test_a_model_that_cannot_be_greedy_is_probed_as_it_is(served: FakeServer) -> None:
    served.models, served.reply = {"o1": {}}, lambda model, path, body: completion("hm")
    arm = opened(served, "o1")

    arm.ask_probes()

    assert arm.probed == (("hm", "hm"),) * 8
    assert not any("temperature" in body for body in served.asked)


def test_settings_that_the_model_does_not_take_are_refused(served: FakeServer) -> None:
    served.models, served.reply = {"o1": {}}, lambda model, path, body: completion("hm")
    arm = opened(served, "o1")

    with pytest.raises(ModelError, match=r"litellm:openai/o1 .*temperature=0.0"):
        arm.prompt(Case(id="c", prompt="Hi"), GREEDY)

    assert (
        arm.prompt(Case(id="c", prompt="Hi"), GenerationSettings(temperature=1.0)).token_ids is None
    )


def test_plain_prompts_are_refused(served: FakeServer) -> None:
    """A chat API wraps what it is sent: `template = "none"` would say that it does not."""
    arm = opened(served)

    with pytest.raises(ModelError, match='template = "none"'):
        arm.prompt(Case(id="c", prompt="Hi"), GenerationSettings(template="none"))


def test_the_prompt_is_all_that_is_sent(served: FakeServer) -> None:
    arm = opened(served)
    tool = {"type": "function", "function": {"name": "track", "parameters": {}}}
    plain = arm.prompt(Case(id="c", prompt="Hi"), GREEDY)

    assert json.loads(plain.text) == {"messages": [{"role": "user", "content": "Hi"}]}
    assert arm.prompt(Case(id="c", prompt="Hi", tools=(tool,)), GREEDY).sha256 != plain.sha256


def test_a_case_binds_the_answer(served: FakeServer) -> None:
    arm = opened(served)
    tool = {"type": "function", "function": {"name": "track", "parameters": {}}}
    form = {"type": "json_object"}
    bound = {"tool_choice": "required", "response_format": form}
    case = Case(id="c", prompt="Hi", tools=(tool,), **bound)

    answered(arm, request(case, arm=arm))

    (body,) = served.asked
    assert {name: body[name] for name in bound} == bound
    free = arm.prompt(Case(id="c", prompt="Hi", tools=(tool,)), GREEDY)
    assert arm.prompt(case, GREEDY).sha256 != free.sha256
    answered(arm, request(Case(id="d", prompt="Hi", tool_choice="required"), arm=arm))
    assert "tool_choice" not in served.asked[-1]


def test_log_likelihoods_are_refused_with_the_way_out(served: FakeServer) -> None:
    arm = opened(served)

    assert arm.kinds == {CellKind.GENERATE, CellKind.LATENCY}
    assert "no log-likelihoods" in arm.cannot(CellKind.ANSWER)
    assert "server:" in arm.cannot(CellKind.CHOICES)


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (401, "Incorrect API key provided", "Incorrect API key"),
        (404, "The model `gpt-4o-mini` does not exist", "does not exist"),
    ],
)
def test_a_wrong_key_or_name_is_one_line(
    served: FakeServer, status: int, text: str, said: str
) -> None:
    def refuse(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        raise LookupError(status, text)

    served.reply = refuse

    with pytest.raises(ModelError) as caught:
        litellm(f"openai/{BASE}", limits=QUICK)

    assert said in str(caught.value)
    assert str(caught.value).count(f"openai/{BASE}") == 1
    assert "\n" not in str(caught.value)


def test_nobody_there_is_a_failed_backend(served: FakeServer) -> None:
    served.kill()

    with pytest.raises(BackendError, match="litellm:openai/gpt-4o-mini"):
        litellm(f"openai/{BASE}", limits=PoolLimits(attempts=1, deadline_s=10))


def test_a_missing_key_is_named_before_anything_is_sent(
    served: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")

    with pytest.raises(ModelError, match="openai cannot be asked without OPENAI_API_KEY: set it"):
        litellm(f"openai/{BASE}")

    assert served.posts == 0


def test_a_missing_litellm_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(MissingExtra, match=r"pip install 'tunegate\[litellm\]'"):
        litellm(f"openai/{BASE}")


def test_a_server_of_our_own_is_found_by_its_variable(
    served: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.models, served.reply = {"acme/support": {}}, lambda model, path, body: completion("hm")
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", served.url.replace("//", "//user:secret@"))

    arm = litellm("hosted_vllm/acme/support", limits=QUICK)
    answer = answered(arm, request(arm=arm))["k"]

    assert answer.completion is not None
    assert (answer.completion.text, answer.completion.cost) == ("hm", None)
    assert arm.identity["place"] == served.url


def reasoned(**message: Any) -> Callable[[str], dict[str, Any]]:
    """Return a reply of 9 tokens, 6 of them thoughts."""
    reason = message.pop("finish_reason", "stop")

    def content(text: str) -> dict[str, Any]:
        reply = completion("", message={"role": "assistant", **message}, finish_reason=reason)
        details = {"reasoning_tokens": 6}
        reply["usage"] |= {"completion_tokens": 9, "completion_tokens_details": details}
        return reply

    return content


@pytest.mark.parametrize(
    ("message", "text", "thoughts", "closed"),
    [
        ({"content": "Oslo.", "reasoning_content": "Hm."}, "Oslo.", "Hm.", True),
        ({"content": "<think>Hm.</think>Oslo."}, "Oslo.", "Hm.", True),
        ({"content": "", "reasoning_content": "Hm", "finish_reason": "length"}, "", "Hm", False),
        ({"content": "", "finish_reason": "length"}, "", None, False),
        ({"content": "", "reasoning_content": "Hm."}, "", "Hm.", True),
    ],
)
def test_thoughts_are_no_part_of_the_answer(
    served: FakeServer, message: dict[str, Any], text: str, thoughts: str | None, closed: bool
) -> None:
    """A model that spent its tokens on thoughts, seen or hidden, answered nothing: no failure."""
    arm = opened(served)
    served.reply = hosted(reasoned(**message))

    done = answered(arm, request(arm=arm))["k"].completion

    assert done is not None
    assert (done.text, done.reasoning, done.reasoning_closed) == (text, thoughts, closed)
    assert (done.output_tokens, done.reasoning_tokens, answer_tokens(done)) == (9, 6, 3)


def test_thinking_of_a_model_without_it_is_refused(served: FakeServer) -> None:
    """`gpt-4o-mini` takes neither `thinking` nor an effort; off is how it answers anyway."""
    arm = opened(served)
    on = GenerationSettings(thinking="on")

    with pytest.raises(ModelError, match=r'thinking = "on".*neither'):
        arm.prompt(Case(id="c", prompt="Hi"), on)
    off = GenerationSettings(thinking="off")
    assert arm.prompt(Case(id="c", prompt="Hi"), off) == arm.prompt(
        Case(id="c", prompt="Hi"), GenerationSettings()
    )


@pytest.mark.parametrize(
    ("accepted", "thinking", "budget", "sent"),
    [
        ({"thinking"}, "on", 900, {"thinking": {"type": "enabled", "budget_tokens": 900}}),
        ({"thinking", "reasoning_effort"}, "off", None, {"thinking": {"type": "disabled"}}),
        ({"reasoning_effort"}, "on", 900, {"reasoning_effort": "low"}),
        ({"reasoning_effort"}, "on", None, {"reasoning_effort": "medium"}),
        ({"reasoning_effort"}, "off", None, {"reasoning_effort": "none"}),
        ({"thinking"}, "template", 900, {}),
    ],
)
def test_each_api_has_its_own_switch(
    accepted: set[str], thinking: Any, budget: int | None, sent: dict[str, Any]
) -> None:
    """Anthropic's budget, OpenAI's effort; a server behind litellm gets template variables."""
    settings = GenerationSettings(thinking=thinking, thinking_budget=budget)

    assert thinking_parameters("spec", settings, "openai", accepted) == sent
    variables = {"enable_thinking": thinking == "on", "thinking": thinking == "on"}
    behind = {} if thinking == "template" else {"extra_body": {"chat_template_kwargs": variables}}
    assert thinking_parameters("spec", settings, "hosted_vllm", accepted) == behind


@pytest.mark.parametrize(
    ("accepted", "sent"),
    [
        ({"thinking"}, "sent as thinking={'type': 'enabled', 'budget_tokens': 900}"),
        ({"reasoning_effort"}, "sent as reasoning_effort=low"),
    ],
)
def test_one_limit_is_said_with_how_the_budget_is_sent(
    served: FakeServer, accepted: set[str], sent: str
) -> None:
    """900 tokens of thoughts and 256 of the answer are one limit of 1,156; nothing without one."""
    arm = replace(opened(served), accepted=frozenset(accepted), provider="openai")

    note = arm.shared_limit(GenerationSettings(thinking="on", thinking_budget=900))

    assert note is not None
    assert "(1156 tokens)" in note
    assert sent in note
    assert arm.shared_limit(GenerationSettings()) is None
