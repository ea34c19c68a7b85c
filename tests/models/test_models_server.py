"""Models behind a server: opened with care, asked many at a time, the same answers as here."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_server import FakeServer, completion, prompt_of
from tests.image_files import png, write_image_suite
from tests.served_models import Served
from tunegate.harness.checks import comparability, liveness
from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.contracts.reasoning import no_answer_reason
from tunegate.harness.engine.inference.local_engine import complete_requests
from tunegate.harness.engine.plan import make_plan
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.models.server import ServerArm, server
from tunegate.harness.models.servers.replies import is_foreign
from tunegate.harness.models.servers.target import key_for, parse_target
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import BackendError, ModelError, NotComparable
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.suite import load_suite

Start = Callable[..., FakeServer]
KEY = "sk-very-secret-0123456789"
CASES = [
    Case(id=f"c{i}", prompt=text)
    for i, text in enumerate(
        (
            "the parcel is late",
            "a refund for the customer",
            "the capital of France is",
            "the customer wants",
            "Spain",
        )
    )
]


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the keys of whoever runs the tests."""
    monkeypatch.delenv("TUNEGATE_SERVER_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def opened(fake: FakeServer, model: str = "tuned", query: str = "", **limits: Any) -> ServerArm:
    """Open a model of a fake server."""
    return server(f"{fake.url}{query}#{model}", PoolLimits(**limits))


def served(tiny: Any, **how: Any) -> dict[str, Any]:
    """Return the settings of a server with the tiny base and its adapter, listed as vLLM does."""
    pair = tiny.pair()
    cards = {
        "base": {"owned_by": "vllm", "root": str(tiny.base()), "parent": None},
        "tuned": {"owned_by": "vllm", "root": str(tiny.adapter()), "parent": "base"},
    }
    return {"reply": Served(pair, **how), "models": cards}


# What is refused before a case is spent


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "localhost:8000/v1#m",
            "no address of a server; write it as server:http://host:port/v1#MODE",
        ),
        ("http://host:port/v1#m", "no address of a server"),
        ("http://h/v1?tokeniser=x#m", "unknown option 'tokeniser'; did you mean 'tokenizer'"),
        ("http://h/v1?tokenizer=#m", "names no folder"),
        (
            "http://me:secret@h/v1#m",
            "an address must hold no password; put the key into TUNEGATE_S",
        ),
    ],
)
def test_a_spec_that_is_none_is_refused(target: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_target(target)

    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("tunde", "the server has no model 'tunde'; did you mean 'tuned'?"),
        ("xyz", "the server has no model 'xyz'; there are: base, tuned"),
        ("", "name the model after a #; there are: base, tuned"),
    ],
)
def test_a_model_that_is_not_there_is_refused(fake_server: Start, model: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        opened(fake_server(), model)

    assert message in str(caught.value)


def test_a_wrong_address_is_refused(fake_server: Start) -> None:
    fake = fake_server(pages={"/models": "<html>Welcome</html>"})

    with pytest.raises(ModelError, match=r"HTTP 404 .*it ends in /v1"):
        server(f"{fake.url}/v2#tuned")
    with pytest.raises(ModelError, match=r"HTML instead of JSON: '<html>Welcome.*it ends in /v1"):
        server(f"http://127.0.0.1:{fake.port}#tuned")


def test_nobody_there_is_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(ModelError, match=r"refused.*is the server up"):
        server(f"http://127.0.0.1:{port}/v1#tuned")


def test_a_missing_key_is_refused(fake_server: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy names the variable; with it the server answers, and the key is shown nowhere."""
    fake = fake_server(key=KEY)
    with pytest.raises(ModelError, match=r"HTTP 401 .*set the key .* TUNEGATE_SERVER_KEY"):
        opened(fake)

    monkeypatch.setenv("TUNEGATE_SERVER_KEY", KEY)
    arm = opened(fake)

    assert KEY not in json.dumps(dict(arm.identity)) + repr(arm)


def test_keys_go_where_they_belong() -> None:
    """The server's own key first; OpenAI's only to this machine or over an encrypted line."""
    both = {"TUNEGATE_SERVER_KEY": "a", "OPENAI_API_KEY": "b"}
    openai = {"OPENAI_API_KEY": "b"}

    assert key_for(parse_target("http://far.example/v1#m"), both) == "a"
    assert key_for(parse_target("http://far.example/v1#m"), openai) is None
    assert key_for(parse_target("https://far.example/v1#m"), openai) == "b"
    assert key_for(parse_target("http://localhost:1/v1#m"), openai) == "b"
    assert key_for(parse_target("http://localhost:1/v1#m"), {}) is None
    with pytest.raises(ModelError, match="TUNEGATE_SERVER_KEY holds characters that no key has"):
        key_for(parse_target("http://localhost:1/v1#m"), {"TUNEGATE_SERVER_KEY": "a b\nc"})


def test_a_tokenizer_of_another_family_is_refused(fake_server: Start, tiny: Any) -> None:
    def counted(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/tokenize":
            raise LookupError(404, "no such page")
        return {**completion("x"), "usage": {"prompt_tokens": 3, "completion_tokens": 1}}

    def split(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"tokens": [5, 6, 7]} if path == "/tokenize" else completion("x")

    query = f"?tokenizer={tiny.base()}"
    with pytest.raises(ModelError, match=r"makes 3 tokens, ours makes \d+ .*another family"):
        opened(fake_server(reply=counted), query=query)
    with pytest.raises(ModelError, match=r"makes other token ids .*another family"):
        opened(fake_server(reply=split), query=query)


# Messages: the server renders


def test_messages_are_sent_where_no_tokenizer_is_known(fake_server: Start, ask: Any) -> None:
    fake = fake_server()
    arm = opened(fake)
    tools = ({"type": "function", "function": {"name": "refund", "parameters": {}}},)
    case = Case(id="a", prompt="hello", tools=tools)
    settings = {"template": "chat", "system": "Be brief.", "stop": ("END",), "max_new_tokens": 7}
    (greedy,) = arm.complete(ask(arm, [case], **settings))
    list(arm.complete(ask(arm, [case], seed=11, temperature=0.5, top_p=0.9, **settings)))

    sent = [{k: v for k, v in body.items() if "penalty" not in k} for body in fake.asked[-2:]]
    common = {
        "model": "tuned",
        "max_tokens": 7,
        "stop": ["END"],
        "tools": list(tools),
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hello"},
        ],
        "top_k": -1,
        "min_p": 0.0,
    }
    assert sent[0] == {**common, "temperature": 0.0}
    assert sent[1] == {**common, "temperature": 0.5, "top_p": 0.9, "seed": 11}
    assert greedy.completion is not None
    assert greedy.completion.text == "tuned: hello"


def test_a_case_binds_the_answer(fake_server: Start, ask: Any) -> None:
    fake = fake_server()
    arm = opened(fake)
    tools = ({"type": "function", "function": {"name": "refund", "parameters": {}}},)
    bound = {"tool_choice": "required", "response_format": {"type": "json_object"}}
    case = Case(id="a", prompt="hello", tools=tools, **bound)

    list(arm.complete(ask(arm, [case], template="chat")))

    assert {name: fake.asked[-1][name] for name in bound} == bound
    assert json.loads(arm.prompt(case, GenerationSettings()).text).keys() == {
        "messages",
        "tools",
        *bound,
    }


def test_calls_of_tools_are_written_out(fake_server: Start, ask: Any) -> None:
    def calling(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        function = {"name": "refund", "arguments": '{"order": 7}'}
        calls = [{"id": "1", "type": "function", "function": function}]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        called = completion("", message=message, finish_reason="tool_calls")
        return called if prompt_of(body) == CASES[0].prompt else completion("hello")

    arm = opened(fake_server(reply=calling))
    tool = {"type": "function", "function": {"name": "refund", "parameters": {}}}
    offered = CASES[0].model_copy(update={"tools": (tool,)})
    (answer,) = arm.complete(ask(arm, [offered], template="chat"))
    (unasked,) = arm.complete(ask(arm, CASES[:1], template="chat"))

    assert unasked.completion is None
    assert unasked.error == "answered with a tool call, and the case offers no tools"
    assert answer.completion is not None
    text = '<tool_call>{"name": "refund", "arguments": {"order": 7}}</tool_call>'
    assert answer.completion.text == text
    assert answer.completion.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("message", "more", "why"),
    [
        ({"content": None}, {}, "the reply's content is null (finish reason stop)"),
        ({"content": "half"}, {"finish_reason": "content_filter"}, "a content filter withheld"),
        ({"content": "x"}, {"error": {"code": 502}}, "the reply is an error: {'code': 502}"),
        ({"content": "hi"}, {"model": "spare"}, "'spare' answered instead of 'tuned'"),
        ({"content": 7}, {}, "the reply has '7' instead of a text"),
        ({"tool_calls": ["f"]}, {}, "the reply's tool call is not a call: f"),
        ({"function_call": {"name": "f"}}, {}, "answered with a tool call"),
    ],
)
def test_what_is_no_answer_of_the_model_is_unscored(
    fake_server: Start, ask: Any, message: dict[str, Any], more: dict[str, Any], why: str
) -> None:
    def failing(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if prompt_of(body) != CASES[0].prompt:
            return completion(f"{model}: hello")
        fields = {name: value for name, value in more.items() if name != "model"}
        reply = completion("", message={"role": "assistant", **message}, **fields)
        return reply | {"model": more.get("model", model)}

    arm = opened(fake_server(reply=failing), attempts=1)
    failed, fine = sorted(
        arm.complete(ask(arm, CASES[:2], template="chat")), key=lambda answer: answer.cell.case
    )

    assert failed.completion is None
    assert why in (failed.error or "")
    assert fine.completion is not None


def test_a_refusal_field_is_the_answer(fake_server: Start, ask: Any) -> None:
    """As of a hosted model: it is what the user would read."""
    message = {"role": "assistant", "content": None, "refusal": "I can't help with that."}
    arm = opened(fake_server(reply=lambda *asked: completion("", message=message)))

    (answer,) = arm.complete(ask(arm, CASES[:1], template="chat"))

    assert answer.completion is not None
    assert answer.completion.text == "I can't help with that."


@pytest.mark.parametrize(
    ("asked", "answered", "foreign"),
    [
        ("tuned", "tuned", False),
        ("gpt-4o", "gpt-4o-2024-08-06", False),
        ("gpt-4o", "gpt-4o-mini", True),
        ("llama3", "llama3:latest", False),
        ("qwen", "acme/qwen@main", False),
        ("acme/qwen", "other/qwen", True),
        ("tuned", "base", True),
    ],
)
def test_a_version_is_the_same_model(asked: str, answered: str, foreign: bool) -> None:
    """A date, a revision or an owner does not make another model; another name does."""
    assert is_foreign(asked, answered) is foreign


def test_rendered_elsewhere_is_declared_and_not_proven(fake_server: Start) -> None:
    """The record says why; log-likelihoods cannot be asked, and the reason names the remedy."""
    fake = fake_server()
    arms = open_arms({"base": f"server:{fake.url}#base", "tuned": f"server:{fake.url}#tuned"})
    settings = GenerationSettings()
    prompts = {("s", "c0", name): arm.prompt(CASES[0], settings) for name, arm in arms.items()}

    assert comparability.check_comparability(prompts, arms) == {
        "status": "declared",
        "prompts": 1,
        "note": "base and tuned rendered elsewhere: prompts taken on trust",
    }
    kind = next(iter(open_kinds("choices")))
    arms["base"].discover_kinds({kind})
    assert sorted(arms["base"].kinds) == ["drafts", "generate", "latency"]
    assert f"name its tokenizer: server:{fake.url}?tokenizer=FOLDER#base" in arms["base"].cannot(
        kind
    )


def open_kinds(*names: str) -> list[Any]:
    """Return kinds of question by name."""
    from tunegate.harness.records.answers import CellKind

    return [CellKind(name) for name in names]


# Rendered here


def texts(answers: Any) -> dict[str, tuple[Any, ...]]:
    """Return what was answered to each case, without times."""
    found = {}
    for answer in answers:
        assert answer.error is None, answer.error
        c = answer.completion
        found[answer.key] = (c.text, c.finish_reason, c.input_tokens)
    return found


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("template", ["none", "chat"])
def test_a_server_answers_as_the_model_here(
    fake_server: Start, tiny: Any, ask: Any, ids: bool, template: str
) -> None:
    """Base and adapter of one server, by token ids or text: the completions of `hf:` exactly."""
    fake = fake_server(**served(tiny, ids=ids))
    arms = open_arms({"base": f"server:{fake.url}#base", "tuned": f"server:{fake.url}#tuned"})
    here = tiny.pair()
    settings = {"template": template, "max_new_tokens": 12}

    for name in ("base", "tuned"):
        expected = texts(complete_requests(here[name], ask(here[name], CASES, **settings)))
        assert texts(arms[name].complete(ask(arms[name], CASES, **settings))) == expected
    prompts = {
        ("s", case.id, name): arm.prompt(case, GenerationSettings(template=template))
        for name, arm in arms.items()
        for case in CASES
    }
    proof = comparability.check_comparability(prompts, arms)
    assert (proof["status"], proof["by"]) == ("proven", "token ids" if ids else "text")
    assert liveness.check_liveness(arms)["tuned"]["status"] == "proven"
    assert arms["tuned"].identity["card"]["parent"] == "base"


@pytest.mark.parametrize("form", ["prompt_logprobs", "echo"])
def test_likelihoods_are_those_of_the_model_here(
    fake_server: Start, tiny: Any, ask: Any, form: str
) -> None:
    """In both forms in which servers tell them, to 1e-4."""
    fake = fake_server(**served(tiny, logprobs=form))
    arm, here = opened(fake), tiny.pair()["tuned"]
    cases = [
        Case(
            id="a", prompt="the capital of France is", choices=("Paris", "Madrid, Spain"), answer=0
        ),
        Case(
            id="b", prompt="the parcel is", choices=("late", "the customer", "a refund"), answer=0
        ),
    ]
    expecting = [Case(id="a", prompt="the capital of", expected=("France", "Spain is Madrid"))]

    for kind, asked in (("choices", cases), ("answer", expecting)):
        name = {"choices": "choice_logprobs", "answer": "answer_logprob"}[kind]
        ours = {
            a.key: getattr(a.completion, name)
            for a in complete_requests(here, ask(here, asked, kind))
        }
        theirs = {a.key: getattr(a.completion, name) for a in arm.complete(ask(arm, asked, kind))}
        assert {k: pytest.approx(v, abs=1e-4) for k, v in ours.items()} == theirs


def test_the_end_marker_is_not_counted(fake_server: Start, tiny: Any, ask: Any) -> None:
    def counting(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(body.get("prompt"), str):
            raise LookupError(400, "text only")
        if body["prompt"] != "the parcel is late":
            return {**completion("x"), "usage": None}
        count = len(
            tiny.pair()["base"].tokenizer("a refund", add_special_tokens=False)["input_ids"]
        )
        more = body["max_tokens"] - 8
        usage = {"prompt_tokens": 4, "completion_tokens": count + more}
        return {**completion("a refund"), "usage": usage}

    arm = opened(fake_server(reply=counting), query=f"?tokenizer={tiny.base()}")
    counts = [
        answer.completion.output_tokens
        for tokens in (8, 9)
        for answer in arm.complete(ask(arm, CASES[:1], max_new_tokens=tokens))
        if answer.completion
    ]

    assert len(set(counts)) == 1


def test_a_server_that_tells_no_likelihoods_says_so(fake_server: Start, tiny: Any) -> None:
    """At load, with what would help."""
    arm = opened(fake_server(**served(tiny, logprobs=None)))

    (kind,) = open_kinds("answer")
    arm.discover_kinds({kind})
    assert kind not in arm.kinds
    assert "does not report the log-probabilities of a given text (vLLM: prompt_" in arm.cannot(
        kind
    )


def test_two_names_of_one_model_are_not_comparable(fake_server: Start, tiny: Any) -> None:
    """An adapter that was not loaded answers as base does; the remedy names vLLM's switch."""
    base = tiny.pair()["base"]
    settings = served(tiny) | {"reply": Served({"base": base, "tuned": base})}
    fake = fake_server(**settings)
    arms = open_arms({"base": f"server:{fake.url}#base", "tuned": f"server:{fake.url}#tuned"})

    with pytest.raises(NotComparable, match="tuned answers all 6 probe prompts exactly as base"):
        liveness.check_liveness(arms)


def test_names_that_never_answer_the_same_twice_are_declared(fake_server: Start) -> None:
    """Noise proves nothing; the hash of such answers is left out of the identity."""
    count = iter(range(10_000))

    def wavering(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return completion(f"answer {next(count)}")

    fake = fake_server(reply=wavering)
    arms = open_arms({"base": f"server:{fake.url}#base", "tuned": f"server:{fake.url}#tuned"})

    assert liveness.check_liveness(arms)["tuned"]["status"] == "declared"
    assert arms["base"].identity["steady"] is False
    assert arms["base"].fingerprint == opened(fake, "base").fingerprint


def test_what_changes_answers_is_in_the_fingerprint(fake_server: Start, tiny: Any) -> None:
    """Other answers under the same name, another version: another arm; another port: the same.

    The weights are on this machine, so the address is left out of the identity.
    """
    settings = served(tiny)
    first, second = fake_server(**settings), fake_server(**settings)
    newer = fake_server(**settings, pages={"/version": {"version": "0.33"}})
    base = tiny.pair()["base"]
    other = fake_server(**settings | {"reply": Served({"base": base, "tuned": base})})
    prints = [opened(fake).fingerprint for fake in (first, second, newer, other)]

    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_where_nothing_is_seen_the_address_counts(fake_server: Start) -> None:
    first, second = fake_server(), fake_server()

    assert opened(first).fingerprint == opened(first).fingerprint
    assert opened(first).fingerprint != opened(second).fingerprint


# Under way


def slowly(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Answer after a moment."""
    import time

    time.sleep(0.2)  # long enough for eight to meet on a busy machine
    return completion(f"{model} {prompt_of(body)}")


def test_many_are_asked_at_a_time_and_timed_ones_alone(fake_server: Start, ask: Any) -> None:
    """Eight by default; a question whose time is taken has the server to itself."""
    fake = fake_server(reply=slowly)
    arm = opened(fake)
    cases = [Case(id=f"c{i}", prompt=f"q{i}") for i in range(24)]
    fake.busiest = 0
    list(arm.complete(ask(arm, cases, template="chat")))
    many, fake.busiest = fake.busiest, 0
    timed = list(arm.complete(ask(arm, cases[:4], "latency", template="chat")))

    assert many == 8
    assert fake.busiest == 1
    assert all(a.completion and (a.completion.latency_s or 0) >= 0.03 for a in timed)


@pytest.mark.parametrize(
    "fault", ["429:0.2", "500", "html", "truncated", "array", "empty", "reset"]
)
def test_a_storm_costs_no_answer(fake_server: Start, ask: Any, fault: str) -> None:
    fake = fake_server()
    arm = opened(fake)
    fake.asked.clear()
    fake.faults = lambda number: fault if number % 3 == 0 else None
    cases = [Case(id=f"c{i}", prompt=f"q{i}") for i in range(20)]
    answers = list(arm.complete(ask(arm, cases, template="chat")))
    found = texts(answers)

    assert {key: value[0] for key, value in found.items()} == {
        case.id: f"tuned: {case.prompt}" for case in cases
    }
    assert len(fake.asked) == 20
    attempts = [a.completion.attempts or 0 for a in answers if a.completion]
    assert sum(attempts) > len(attempts) == 20


def test_a_prompt_too_long_is_one_case(fake_server: Start, ask: Any) -> None:
    """The server's own words are the reason; the others are answered."""

    def strict(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if prompt_of(body) == "q3":
            raise LookupError(400, "This model's maximum context length is 10 tokens.")
        return completion("fine")

    arm = opened(fake_server(reply=strict))
    cases = [Case(id=f"c{i}", prompt=f"q{i}") for i in range(6)]
    errors = {a.key: a.error for a in arm.complete(ask(arm, cases, template="chat"))}

    assert errors.pop("c3") == 'HTTP 400: "This model\'s maximum context length is 10 tokens."'
    assert set(errors.values()) == {None}


def test_a_server_that_goes_away_ends_the_run(fake_server: Start, ask: Any) -> None:
    """What was answered before is yielded; the error names the spec."""
    fake = fake_server(reply=slowly)
    arm = opened(fake, attempts=1)
    cases = [Case(id=f"c{i}", prompt=f"q{i}") for i in range(200)]
    found = []

    def read() -> None:
        for answer in arm.complete(ask(arm, cases, template="chat")):
            found.append(answer)
            if len(found) == 20:
                fake.kill()

    with pytest.raises(BackendError, match=rf"server:{fake.url}#tuned: \d+ questions in a row"):
        read()

    assert sum(answer.completion is not None for answer in found) >= 20
    assert len(found) < 100


def test_a_model_that_is_taken_away_ends_the_run(fake_server: Start, ask: Any) -> None:
    """Every further question would be refused alike."""
    fake = fake_server()
    arm = opened(fake)
    del fake.models["tuned"]

    with pytest.raises(BackendError, match=r"HTTP 404 .*The model `tuned` does not exist"):
        list(arm.complete(ask(arm, CASES, template="chat")))


def test_a_tokenizer_that_is_none_is_refused(fake_server: Start, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{tmp_path}: no usable tokenizer"):
        opened(fake_server(), query=f"?tokenizer={tmp_path}")


# Thoughts


def test_a_server_that_separates_thoughts_is_taken_at_its_word(
    fake_server: Start, ask: Any
) -> None:
    """`reasoning_content` and `reasoning` are thoughts; cut off, they leave no answer."""

    def thinking(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        message, reason = {"content": "Oslo.", "reasoning_content": "Hm."}, "stop"
        if body["messages"][-1]["content"] == "cut":
            message, reason = {"content": "", "reasoning": "Hm, hm"}, "length"
        reply = completion("", message=message, finish_reason=reason)
        reply["usage"]["completion_tokens_details"] = {"reasoning_tokens": 3}
        return reply

    arm = opened(fake_server(reply=thinking))
    cases = [Case(id="a", prompt="Where?"), Case(id="b", prompt="cut")]
    answers = {a.cell.key: a.completion for a in arm.complete(ask(arm, cases, template="chat"))}
    done, cut = (answers[key] for key in sorted(answers))

    assert (done.text, done.reasoning, done.reasoning_closed) == ("Oslo.", "Hm.", True)
    assert done.reasoning_tokens == 3
    assert (cut.text, cut.reasoning, cut.reasoning_closed) == ("", "Hm, hm", False)
    assert no_answer_reason(cut) == "no answer: the thoughts had not ended after 3 tokens"


def test_thinking_reaches_the_servers_template(fake_server: Start, ask: Any) -> None:
    """Switch and own variables are sent and are part of the prompt; a stop waits for the answer."""

    def thinking(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return completion("<think>first END then</think>\n\nOslo END Bergen")

    fake = fake_server(reply=thinking)
    arm = opened(fake)
    settings: dict[str, Any] = {
        "template": "chat",
        "thinking": "on",
        "thinking_budget": 100,
        "max_new_tokens": 7,
        "stop": ("END",),
        "chat_template_kwargs": {"tone": "dry"},
    }
    (answer,) = arm.complete(ask(arm, CASES[:1], **settings))

    sent = {"enable_thinking": True, "thinking": True, "tone": "dry"}
    assert fake.asked[-1]["chat_template_kwargs"] == sent
    assert fake.asked[-1]["max_tokens"] == 107
    assert "stop" not in fake.asked[-1]
    prompt = json.loads(arm.prompt(CASES[0], GenerationSettings(**settings)).text)
    assert prompt["chat_template_kwargs"] == sent
    assert answer.completion.text == "Oslo "
    assert answer.completion.reasoning == "first END then"


def test_one_limit_without_a_tokenizer_is_said(fake_server: Start) -> None:
    """100 tokens of thoughts and 7 of the answer are one limit of 107; the remedy is named."""
    arm = opened(fake_server())

    note = arm.shared_limit(GenerationSettings(thinking_budget=100, max_new_tokens=7))

    assert note is not None
    assert "107 tokens" in note
    assert "?tokenizer=FOLDER" in note
    assert arm.shared_limit(GenerationSettings(max_new_tokens=7)) is None


# Images


@pytest.fixture(name="seen")
def _seen(tmp_path: Path) -> Path:
    """Return the folder of a suite with an image."""
    pytest.importorskip("PIL")
    (tmp_path / "1.png").write_bytes(png())
    return write_image_suite(tmp_path, {"a": "1.png"})


@pytest.mark.parametrize("query", ["", "?tokenizer={base}"])
def test_images_are_sent_as_data_urls_in_messages(
    fake_server: Start, tiny: Any, ask: Any, seen: Path, query: str
) -> None:
    """Also where texts are sent as token ids."""
    fake = fake_server(**served(tiny))
    arm = opened(fake, query=query.format(base=tiny.base()))
    fake.reply = lambda model, path, body: completion("7")
    (case,) = load_suite(seen).cases

    (answer,) = arm.complete(ask(arm, [case], template="chat"))

    assert answer.completion is not None
    assert answer.completion.text == "7"
    url = "data:image/png;base64," + base64.b64encode(png()).decode()
    assert fake.asked[-1]["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is the total?"},
                {"type": "image_url", "image_url": {"url": url}},
            ],
        }
    ]
    prompt = arm.prompt(case, GenerationSettings())
    assert case.images[0].sha256 in prompt.text
    assert "1.png" not in prompt.text


def test_a_server_that_takes_no_images_leaves_the_case_unscored(
    fake_server: Start, ask: Any, seen: Path
) -> None:
    def text_only(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if "image_url" in str(body):
            raise LookupError(400, "base is not a multimodal model")
        return completion("x")

    arm = opened(fake_server(reply=text_only))

    (answer,) = arm.complete(ask(arm, list(load_suite(seen).cases), template="chat"))

    assert answer.error == "HTTP 400: 'base is not a multimodal model'"


def test_an_image_that_changed_leaves_the_case_unscored(
    fake_server: Start, ask: Any, seen: Path
) -> None:
    arm = opened(fake_server())
    requests = ask(arm, list(load_suite(seen).cases), template="chat")
    (seen / "1.png").write_bytes(png(shade=3))

    (answer,) = arm.complete(requests)

    assert answer.error == "image 1.png: was changed since the suite was read"
    assert arm.count_prompt(requests[0].case, GenerationSettings()) is None


def test_prompts_with_images_are_taken_on_trust(fake_server: Start, tiny: Any, seen: Path) -> None:
    """Their text is equal, but nobody saw what the server makes of it."""
    url = fake_server(**served(tiny)).url
    arms = open_arms({"base": f"server:{url}#base", "tuned": f"server:{url}#tuned"})
    plan = make_plan([load_suite(seen)], arms, seed=1)

    proof = comparability.check_comparability(plan.prompts, arms)

    assert arms["base"].identity["prompts"] == "token ids"
    assert proof["status"] == "declared"
    assert proof["note"] == "base and tuned rendered elsewhere: prompts taken on trust"


def test_a_chat_template_of_the_suites_is_refused_with_images(
    fake_server: Start, seen: Path
) -> None:
    arm = opened(fake_server())
    (case,) = load_suite(seen).cases

    with pytest.raises(ModelError, match="images are sent in messages, which the server renders"):
        arm.prompt(case, GenerationSettings(chat_template="{{ messages }}"))
