"""The endpoint: what OpenAI's client gets from it, what is refused, and that requests share it."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.played_suites import PolicyArm, call
from tunegate.harness.contracts.model import Arm, Request
from tunegate.harness.engine.inference.local_engine import complete_requests
from tunegate.harness.models.server import server
from tunegate.harness.records.answers import Cell, CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import OutOfMemory
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.serving import batch_server
from tunegate.harness.serving.batch_server import BatchServer
from tunegate.harness.serving.chat_requests import parse_chat_request
from tunegate.harness.serving.endpoint import EndpointSettings, open_endpoint

httpx: Any = pytest.importorskip("httpx")
openai: Any = pytest.importorskip("openai")

TOKEN = "a-token"
FIND = {
    "type": "function",
    "function": {
        "name": "find",
        "description": "Look an order up.",
        "parameters": {"type": "object", "properties": {"order": {"type": "string"}}},
    },
}
USER = {"role": "user", "content": "Where is A1?"}


@contextmanager
def served(arms: dict[str, Arm], **settings: Any) -> Iterator[str]:
    """Serve arms and yield the address."""
    with open_endpoint(BatchServer(arms), EndpointSettings(TOKEN, **settings)) as address:
        yield address


def find_then_tell(request: Request) -> str:
    """Call find, and tell what it returned."""
    last = request.case.input_messages()[-1]
    return f"It is {last['content']}." if last["role"] == "tool" else call("find", order="A1")


@pytest.fixture(name="url", scope="module")
def _url() -> Iterator[str]:
    arms: dict[str, Arm] = {name: PolicyArm(name, find_then_tell) for name in ("base", "tuned")}
    with served(arms) as address:
        yield address


@pytest.fixture(name="client")
def _client(url: str) -> Any:
    return openai.OpenAI(base_url=url, api_key=TOKEN, max_retries=0)


def test_openais_client_calls_tools(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["base", "tuned"]
    asked: list[Any] = [USER]
    first = client.chat.completions.create(model="tuned", messages=asked, tools=[FIND])
    (choice,) = first.choices
    assert choice.finish_reason == "tool_calls"
    (made,) = choice.message.tool_calls or ()
    assert (made.function.name, json.loads(made.function.arguments)) == ("find", {"order": "A1"})

    asked += [choice.message, {"role": "tool", "tool_call_id": made.id, "content": "lost"}]
    last = client.chat.completions.create(model="tuned", messages=asked, tools=[FIND])
    assert last.choices[0].message.content == "It is lost."
    assert last.choices[0].finish_reason == "stop"
    assert last.usage is not None
    assert last.usage.completion_tokens == 3


def test_a_stream_has_the_same_message(client: Any) -> None:
    chunks = list(
        client.chat.completions.create(model="base", messages=[USER], tools=[FIND], stream=True)
    )
    calls = [c for chunk in chunks for x in chunk.choices for c in x.delta.tool_calls or ()]

    assert [(c.index, c.function and c.function.name) for c in calls] == [(0, "find")]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, "tool_calls"]
    assert [chunk.usage for chunk in chunks] == [None, None]


def test_a_stream_ends_with_its_usage_if_asked(client: Any) -> None:
    """The last chunk has no choice, as in OpenAI's API."""
    asked = {"model": "base", "messages": [USER], "tools": [FIND]}
    whole = client.chat.completions.create(**asked)
    *others, last = client.chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )

    assert [len(chunk.choices) for chunk in others] == [1, 1]
    assert [chunk.usage for chunk in others] == [None, None]
    assert (last.choices, last.usage) == ([], whole.usage)
    with client.chat.completions.stream(**asked) as stream:  # the client's own accumulator
        assert stream.get_final_completion().choices[0].finish_reason == "tool_calls"


def test_without_tools_a_call_is_text(client: Any) -> None:
    plain = client.chat.completions.create(model="base", messages=[USER])
    none = client.chat.completions.create(
        model="base", messages=[USER], tools=[FIND], tool_choice="none"
    )
    for reply in (plain, none):
        assert reply.choices[0].message.tool_calls is None
        assert reply.choices[0].message.content == call("find", order="A1")


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ({"model": "other"}, 404, "model='other': choose from base, tuned"),
        ({"best_of": 2}, 400, "best_of: unknown parameter"),
        ({"n": 2}, 400, "n=2: a request gets one answer"),
        ({"logprobs": True}, 400, "logprobs=True: log probabilities are not returned"),
        ({"top_logprobs": 5}, 400, "top_logprobs=5: log probabilities are not returned"),
        ({"response_format": {"type": "json_object"}}, 400, "answers are not bound to a format"),
        ({"stream_options": "all"}, 400, "stream_options='all': give {'include_usage': true}"),
        ({"stream_options": {"usage": True}}, 400, "stream_options={'usage': True}"),
        ({"tool_choice": "required"}, 400, "tool_choice='required'"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "judge", "content": "x"}]}, 400, "messages[0]: role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "only text"),
        ({"temperature": -1}, 400, "temperature"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"max_tokens": -3}, 400, "max_tokens=-3"),
        ({"max_tokens": "many"}, 400, "max_tokens='many'"),
        ({"seed": "x"}, 400, "seed='x'"),
        ({"tools": [{"type": "function"}]}, 400, "tools"),
        ({"tools": "find"}, 400, "tools"),
        ({"stop": [""]}, 400, "stop: an empty text"),
        ({"stop": ["x", ""]}, 400, "stop: an empty text"),
        ({"stop": 5}, 400, "stop"),
    ],
)
def test_unsupported_parameters_are_refused(
    url: str, body: dict[str, Any], status: int, part: str
) -> None:
    reply = httpx.post(
        f"{url}/chat/completions",
        json={"model": "base", "messages": [USER], **body},
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    message = reply.json()["error"]["message"]

    assert reply.status_code == status
    assert part in message
    assert "\n" not in message


def test_openais_client_is_told_what_to_do_about_a_schema(client: Any) -> None:
    """Its structured outputs are refused; the neutral values of the same parameters are not."""
    schema = {"name": "order", "schema": {"type": "object"}, "strict": True}
    with pytest.raises(openai.BadRequestError, match="ask for it in the prompt"):
        client.chat.completions.create(
            model="base",
            messages=[USER],
            response_format={"type": "json_schema", "json_schema": schema},
        )
    neutral = {"n": 1, "logprobs": False, "response_format": {"type": "text"}}
    assert client.chat.completions.create(model="base", messages=[USER], **neutral).choices


@pytest.mark.parametrize(
    ("path", "token", "content", "status"),
    [
        ("chat/completions", "", "{}", 401),
        ("chat/completions", "Bearer other", "{}", 401),
        ("models", TOKEN, None, 401),  # without the word Bearer
        ("completions", f"Bearer {TOKEN}", "{}", 404),
        ("chat/completions", f"Bearer {TOKEN}", "{", 400),
        ("chat/completions", f"Bearer {TOKEN}", "[" * 100_000, 400),
        ("chat/completions", f"Bearer {TOKEN}", "[]", 400),
        ("chat/completions", f"Bearer {TOKEN}", '"\\ud800"', 400),
    ],
)
def test_strangers_and_broken_bodies_are_refused(
    url: str, path: str, token: str, content: str | None, status: int
) -> None:
    headers = {"Authorization": token} if token else {}
    way = "GET" if content is None else "POST"
    reply = httpx.request(way, f"{url}/{path}", content=content, headers=headers)

    assert reply.status_code == status
    assert reply.json()["error"]["message"]


def test_bodies_without_length_or_too_large_are_refused(url: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    chunked = httpx.post(f"{url}/chat/completions", content=iter([b"{}"]), headers=headers)
    connection = HTTPConnection(url.split("/")[2])
    connection.putrequest("POST", "/v1/chat/completions")
    for name, value in {**headers, "Content-Length": "99999999"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    large = connection.getresponse()
    large.read()
    connection.close()

    assert (chunked.status_code, large.status) == (413, 413)


def test_tools_are_text_for_templates_without_tools() -> None:
    seen: list[Request] = []

    def policy(request: Request) -> str:
        seen.append(request)
        return call("find", order="A1")

    called = {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"a":1}'}}
    messages: list[Any] = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [called, called]},
        {"role": "tool", "tool_call_id": "c", "content": "lost"},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "late"}]},
    ]
    with served({"base": PolicyArm("base", policy)}, show_tools="system") as url:
        client = openai.OpenAI(base_url=url, api_key=TOKEN)
        reply = client.chat.completions.create(model="base", messages=messages, tools=[FIND])
    said = seen[0].case.input_messages()

    assert reply.choices[0].message.tool_calls
    assert seen[0].case.tools is None
    assert [one["role"] for one in said] == ["system", "user", "assistant", "user"]
    assert said[0]["content"].endswith("\nfind(order?: string): Look an order up.")
    assert said[2]["content"] == "\n".join([call("find", a=1)] * 2)
    assert said[3]["content"] == (
        "<tool_response>lost</tool_response>\n<tool_response>late</tool_response>"
    )


def test_a_seed_is_kept_and_without_one_samples_differ() -> None:
    """Asked again without a seed, it is another sample; a second server gives the same ones."""

    def seeds() -> list[int]:
        arm = PolicyArm("base", lambda request: "x")
        with served({"base": arm}) as url:
            client = openai.OpenAI(base_url=url, api_key=TOKEN)
            for more in ({}, {}, {"seed": 7}, {"seed": 7}):
                client.chat.completions.create(model="base", messages=[USER], **more)
        return [request.seed for request in arm.asked]

    first = seeds()
    assert first[0] != first[1]
    assert first[2:] == [7, 7]
    assert seeds() == first


def test_an_exception_fails_one_request_only() -> None:
    number = iter(range(9))

    def policy(request: Request) -> str:
        return str(1 // next(number))

    with served({"base": PolicyArm("base", policy)}) as url:
        client = openai.OpenAI(base_url=url, api_key=TOKEN, max_retries=0)
        with pytest.raises(openai.InternalServerError, match="ZeroDivisionError"):
            client.chat.completions.create(model="base", messages=[USER])
        assert client.chat.completions.create(model="base", messages=[USER]).choices


def test_a_failure_after_memory_ran_out_leaves_the_server_up() -> None:
    failures = iter([OutOfMemory("full"), ZeroDivisionError("broken")])

    def policy(request: Request) -> str:
        for failure in failures:
            raise failure
        return "fine"

    with served({"base": PolicyArm("base", policy)}) as url:
        client = openai.OpenAI(base_url=url, api_key=TOKEN, max_retries=0, timeout=20)
        with pytest.raises(openai.InternalServerError, match="ZeroDivisionError: broken"):
            client.chat.completions.create(model="base", messages=[USER])
        assert client.chat.completions.create(model="base", messages=[USER]).choices


@pytest.mark.slow
def test_requests_share_the_batch(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_server, "PATIENCE_S", 60.0)
    arms = tiny.pair()
    model = arms["base"].loaded.torch_model
    cases = [Case(id=f"c{n}", prompt=f"{'late ' * (n % 5)}{n}") for n in range(12)]
    settings = GenerationSettings(temperature=0.0, max_new_tokens=24)
    expected = {}
    for name, arm in arms.items():
        cell = Cell(suite="s", case="", arm=name, kind=CellKind.GENERATE, key="")
        for case in cases:
            asked = Request(cell, case, arm.prompt(case, settings), settings, 0)
            (answer,) = complete_requests(arm, [asked])
            assert answer.completion is not None
            expected[name, case.prompt] = answer.completion.text
    seen = [0]
    batch = BatchServer(arms)

    def count(*_: object) -> None:
        """Count a forward; the first one begins when all requests have come."""
        seen[0] += 1
        for _wait in range(3000):
            if batch._counts.total() >= len(expected):
                break
            time.sleep(0.01)

    hook = model.register_forward_pre_hook(count)
    try:
        with open_endpoint(batch, EndpointSettings(TOKEN)) as url:
            client = openai.OpenAI(base_url=url, api_key=TOKEN, max_retries=0)

            def ask(place: tuple[str, str]) -> str | None:
                messages: list[Any] = [{"role": "user", "content": place[1]}]
                reply = client.chat.completions.create(
                    model=place[0], messages=messages, temperature=0, max_tokens=24
                )
                return reply.choices[0].message.content

            with ThreadPoolExecutor(24) as pool:
                at_once = dict(zip(expected, pool.map(ask, expected), strict=True))
            forwards, seen[0] = seen[0], 0
            singly = {place: ask(place) for place in expected}
    finally:
        hook.remove()

    assert at_once == singly == expected
    assert 3 * forwards < seen[0]


@pytest.mark.parametrize(
    ("asked", "decoded"),
    [
        ({"top_p": 0}, (0.0, 1.0)),
        ({"temperature": 1e-300}, (0.0, 1.0)),
        ({"temperature": 0.7, "top_p": 1e-300}, (0.7, 1e-300)),
    ],
)
def test_top_p_zero_and_a_tiny_temperature_are_greedy(
    asked: dict[str, Any], decoded: tuple[float, float]
) -> None:
    read = parse_chat_request({"model": "base", "messages": [USER], **asked}, ["base"])
    assert (read.generation.temperature, read.generation.top_p) == decoded


def test_a_prompt_of_5_mb_is_refused_before_it_is_split_into_tokens() -> None:
    arm = PolicyArm("base", find_then_tell)
    vars(arm)["context_length"] = 256
    vars(arm)["prompt"] = None
    with served({"base": arm}) as url:
        client = openai.OpenAI(base_url=url, api_key=TOKEN, max_retries=0)
        long: list[Any] = [{"role": "user", "content": "x" * 5_000_000}]
        with pytest.raises(openai.BadRequestError, match="5,000,000 characters") as refused:
            client.chat.completions.create(model="base", messages=long)
    assert refused.value.code == "context_length_exceeded"


@pytest.mark.slow
def test_a_prompt_beyond_the_context_is_refused_and_the_rest_goes_on(tiny: Any) -> None:
    """Both in one batch: status 400 with the two numbers, and an answer."""
    with served(tiny.pair()) as url, ThreadPoolExecutor(2) as pool:
        client = openai.OpenAI(base_url=url, api_key=TOKEN, max_retries=0)

        def ask(text: str) -> Any:
            messages: list[Any] = [{"role": "user", "content": text}]
            return client.chat.completions.create(model="base", messages=messages, max_tokens=20)

        long, short = pool.submit(ask, "late " * 300), pool.submit(ask, "late")
        with pytest.raises(openai.BadRequestError, match="context of 256"):
            long.result()
        assert short.result().choices[0].message.content is not None


@pytest.mark.slow
def test_tunegate_gates_over_its_own_endpoint(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`server:` takes the endpoint as any other server, and its probes are answered."""
    monkeypatch.setenv("OPENAI_API_KEY", TOKEN)
    with served(tiny.pair()) as url:
        arm = server(f"{url}#tuned")
        assert len(arm.probed) > 1
        assert all(first == second for first, second in arm.probed)


@pytest.mark.slow
def test_the_endpoint_shows_the_prompt_of_messages(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As vLLM does at `/tokenize`; so its prompt can be compared with the trained one."""
    monkeypatch.setenv("OPENAI_API_KEY", TOKEN)
    pair = tiny.pair()
    case = Case(id="a", prompt="the parcel is late")
    with served(pair) as url:
        arm = server(f"{url}?tokenizer={tiny.base()}#tuned")
        shown = arm.show_prompt(case, GenerationSettings())

        assert arm.dialect.name == "tunegate serve"
        assert shown is not None
        assert shown.token_ids == pair["tuned"].prompt(case, GenerationSettings()).token_ids
        assert arm.count_prompt(case, GenerationSettings()) == len(shown.token_ids)


def test_waiting_requests_get_503_when_the_server_stops() -> None:
    entered = threading.Event()

    def policy(request: Request) -> str:
        entered.set()
        time.sleep(0.5)
        return "late"

    with ThreadPoolExecutor(4) as pool, served({"base": PolicyArm("base", policy)}) as url:
        client = openai.OpenAI(base_url=url, api_key=TOKEN, max_retries=0)
        asked = [
            pool.submit(client.chat.completions.create, model="base", messages=[USER])
            for _ in range(3)
        ]
        assert entered.wait(10)
        time.sleep(0.2)
    ended = [one.exception(timeout=10) for one in asked]
    assert {getattr(error, "status_code", 200) for error in ended} == {200, 503}


def test_serve_prints_where_it_listens_and_ends_on_a_signal(project: Any) -> None:
    """The two variables that clients read; SIGTERM ends it with code 0."""
    script = project.path / "said.json"
    script.write_text(json.dumps({"default": "hello"}))
    spec = f"scripted:{script}"
    process = project.start("serve", "--base", spec, "--tuned", spec)
    printed: dict[str, str] = {}
    for line in process.stdout:
        name, equals, value = line.strip().partition("=")
        printed |= {name: value} if equals else {}
        if "OPENAI_API_KEY" in printed:
            break
    url, token = printed["OPENAI_BASE_URL"], printed["OPENAI_API_KEY"]
    client = openai.OpenAI(base_url=url, api_key=token)
    reply = client.chat.completions.create(model="tuned", messages=[USER])
    process.send_signal(signal.SIGTERM)

    assert reply.choices[0].message.content == "hello"
    assert url.startswith("http://127.0.0.1:")
    process.communicate(timeout=30)
    assert process.returncode == 0


CHILD = """
import json, os, sys, urllib.request
body = {"model": sys.argv[1], "messages": [{"role": "user", "content": "?"}]}
asked = urllib.request.Request(
    os.environ["OPENAI_BASE_URL"] + "/chat/completions", json.dumps(body).encode(),
    {"Authorization": "Bearer " + os.environ["TUNEGATE_API_KEY"]})
reply = json.load(urllib.request.urlopen(asked))
open(sys.argv[1] + ".txt", "w").write(reply["choices"][0]["message"]["content"])
sys.exit(int(sys.argv[2]))
"""


@pytest.mark.parametrize(("code", "expected", "files"), [(0, 0, 2), (3, 13, 1)])
def test_a_command_runs_for_each_model(project: Any, code: int, expected: int, files: int) -> None:
    for name in ("base", "tuned"):
        (project.path / f"{name}.json").write_text(json.dumps({"default": f"I am {name}"}))
    (project.path / "child.py").write_text(CHILD)
    options = ["--base", "scripted:base.json", "--tuned", "scripted:tuned.json"]
    command = f"{sys.executable} child.py {{model}} {code}"
    result = project.tunegate_apart("serve", *options, "--each", command)

    assert result.ret == expected
    found = {path.stem: path.read_text() for path in project.path.glob("*.txt")}
    assert found == dict([("base", "I am base"), ("tuned", "I am tuned")][:files])


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--tuned", "server:http://127.0.0.1:9/v1#m"), "--tuned"),
        (("--tools", "prompt"), "--tools prompt"),
        (("--each", "no-such-program {model}"), "no program 'no-such-program'"),
        (("--each", "python"), "write {model}"),
        (("--each", "python '"), "No closing quotation"),
        (("--port", "{port}"), "--port"),
    ],
)
def test_serve_refuses_in_one_line(
    project: Any, url: str, options: tuple[str, str], part: str
) -> None:
    script = Path(project.path) / "said.json"
    script.write_text(json.dumps({"default": "hello"}))
    port = url.rsplit(":", 1)[1].partition("/")[0]
    given = {"--base": f"scripted:{script}", "--tuned": f"scripted:{script}"}
    given |= {options[0]: options[1].replace("{port}", port)}
    result = project.tunegate("serve", *(word for pair in given.items() for word in pair))

    assert result.ret == 2
    assert part in str(result.stderr)
