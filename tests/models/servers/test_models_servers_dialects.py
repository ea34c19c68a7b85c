"""Server programs are recognised, and asked in their own words."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import ollama_recording
from tests.fake_programs import Program
from tests.fake_server import FakeServer
from tests.tiny_models import make_tokenizer
from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.models.remote.failures import PermanentError
from tunegate.harness.models.remote.http import HttpClient
from tunegate.harness.models.server import ServerArm, server
from tunegate.harness.models.servers.dialect import (
    NOT_SHOWN,
    ServerConnection,
    ServerSettings,
    ShownPrompt,
)
from tunegate.harness.models.servers.dialects import llama_cpp, vllm
from tunegate.harness.models.servers.dialects import ollama as dialects_ollama
from tunegate.harness.models.servers.discovery import ServerModelCard
from tunegate.harness.models.servers.stop_token import stops_at
from tunegate.harness.models.servers.target import parse_target
from tunegate.harness.records.cases import Case
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import canonical_json

Start = Callable[..., FakeServer]
CHAT = GenerationSettings()


def opened(fake_server: Start, program: Program, folder: Any = None) -> ServerArm:
    """Open `base` of a program."""
    fake = fake_server(
        reply=program, models={"base": {"owned_by": program.owner}}, pages=program.pages
    )
    return server(f"{fake.url}{f'?tokenizer={folder}' if folder else ''}#base")


@pytest.mark.parametrize(
    ("program", "prompts", "checked"),
    [
        ("llama.cpp", "token ids", "by token ids"),
        ("vLLM", "token ids", "by token ids"),
        ("Ollama", "messages", ""),
    ],
)
def test_each_program_takes_the_tokenizer_of_its_model(
    fake_server: Start, tiny: Any, program: str, prompts: str, checked: str
) -> None:
    folder = tiny.base()
    known = Program(_tokenizer(folder), program)

    arm = opened(fake_server, known, folder)

    assert (arm.dialect.name, arm.client.form.prompts) == (program, prompts)
    assert arm.client.form.checked == checked


@pytest.mark.parametrize("program", ["llama.cpp", "vLLM", "Ollama"])
def test_each_program_shows_the_prompt_of_a_conversation(fake_server: Start, program: str) -> None:
    known = Program(make_tokenizer(), program)
    case = Case(id="a", prompt="the capital of France")
    wanted = known.rendered({"messages": [{"role": "user", "content": case.prompt}]})

    shown = opened(fake_server, known).show_prompt(case, CHAT)

    assert shown is not None
    assert shown.text == (None if program == "vLLM" else wanted)
    assert shown.token_ids == (None if program == "Ollama" else tuple(known.ids(wanted)))


def test_llama_cpp_shows_how_it_is_set_up(fake_server: Start) -> None:
    arm = opened(fake_server, Program(make_tokenizer(), context=512, quantization="Q4_K - Medium"))

    assert arm.settings.context == 512
    assert arm.settings.quantization == "Q4_K - Medium"
    record = arm.identity["settings"]
    assert record["program"] == "llama.cpp b9993-unknown"
    assert record["sampling"] == {"temperature": 0.8, "top_k": 40}
    assert len(record["template_sha256"]) == 64


def test_ollama_shows_how_it_is_set_up(fake_server: Start) -> None:
    sampling = {"temperature": 0.7, "stop": "<|end|>", "repeat_penalty": 1.1}
    program = Program(make_tokenizer(), "Ollama", context=2048, sampling=sampling)

    settings = opened(fake_server, program).settings

    assert settings.program == "Ollama 0.20.0"
    assert (settings.context, settings.quantization) == (2048, "Q8_0")
    assert settings.sampling == sampling
    assert settings.adds_bos is False


def test_llama_cpp_decodes_without_samplers_of_its_own(fake_server: Start) -> None:
    """A server that was started with `--repeat-penalty 1.3` would else answer otherwise."""
    program = Program(make_tokenizer())
    opened(fake_server, program)

    sent = program.asked[-1][1]

    assert (sent["repeat_penalty"], sent["dry_multiplier"], sent["top_k"]) == (1.0, 0.0, 0)


def test_ollama_is_told_not_to_think_as_it_reads_it(fake_server: Start) -> None:
    program = Program(make_tokenizer(), "Ollama")
    arm = opened(fake_server, program)

    arm.show_prompt(Case(id="a", prompt="hi"), GenerationSettings(thinking="off"))

    assert program.asked[-1][1]["reasoning_effort"] == "none"
    assert "chat_template_kwargs" not in program.asked[-1][1]


def test_an_ollama_that_cannot_show_prompts_says_nothing(fake_server: Start) -> None:
    arm = opened(fake_server, Program(make_tokenizer(), "Ollama", debug=False))

    assert arm.show_prompt(Case(id="a", prompt="hi"), CHAT) is None


def test_a_conversation_that_the_template_refuses_is_told(fake_server: Start) -> None:
    program = Program(make_tokenizer())
    arm = opened(fake_server, program)
    program.template = "{{ raise_exception('roles must alternate') }}"

    shown = arm.show_prompt(Case(id="a", prompt="hi"), CHAT)

    assert shown is not None
    assert "roles must alternate" in shown.refused


def _tokenizer(folder: Any) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("fault", ["html", "array"])
def test_a_page_that_answers_no_json_object_is_not_offered(fake_server: Start, fault: str) -> None:
    fake = fake_server(faults=lambda number: fault)

    with HttpClient() as http, pytest.raises(PermanentError) as refused:
        ServerConnection(http, parse_target(f"{fake.url}#base")).post("/tokenize", {})

    assert refused.value.status in NOT_SHOWN


def test_the_replies_of_ollama_are_read(fake_server: Start) -> None:
    """By a recording of each that was written by hand from its source."""
    fake = fake_server(
        reply=ollama_recording.reply,
        models={ollama_recording.NAME: ollama_recording.CARD},
        pages={"/api/version": ollama_recording.VERSION, "/api/ps": ollama_recording.PS},
    )
    arm = server(f"{fake.url}#{ollama_recording.NAME}")
    case = Case(id="a", prompt="the capital of France")

    assert arm.settings == ServerSettings(
        program="Ollama 0.20.0",
        quantization="Q4_K_M",
        context=4096,
        template="{{ .Prompt }}",
        adds_bos=False,
        sampling={"num_ctx": 8192, "repeat_penalty": 1.1, "stop": ["<|im_start|>", "<|im_end|>"]},
    )
    assert arm.show_prompt(case, CHAT) == ShownPrompt(ollama_recording.PROMPT)
    assert arm.count_prompt(case, CHAT) == 13


_PARTS = {
    "llama.cpp": "build_info default_generation_settings params n_ctx chat_template model_ftype "
    "bos_token eos_token prompt tokens choices",
    "Ollama": "version models name context_length parameters template details "
    "quantization_level model_info _debug_info rendered_template",
    "vLLM": "version tokens choices",
}
"""Program → the parts of its replies that are read."""
_FORMS = (None, True, 7, 0.5, "text", [], ["text"], [[]], {}, {"a": 1})


@dataclass
class _Changed:
    """A program's pages, without a network, with one part in another form."""

    program: Program
    part: str
    form: Any

    def get_json(self, url: str, **_: Any) -> dict[str, Any]:
        path = urlsplit(url).path
        return _replaced(self.program.pages.get(path, {}), self.part, self.form)  # type: ignore[no-any-return]

    def post_json(self, url: str, body: dict[str, Any], **_: Any) -> dict[str, Any]:
        reply = self.program("base", urlsplit(url).path, body)
        return _replaced(reply, self.part, self.form)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("program", "part"), [(p, n) for p in _PARTS for n in _PARTS[p].split()])
def test_a_part_of_another_form_stays_unknown(program: str, part: str) -> None:
    """Each part of each page in each form that JSON has."""
    known = Program(make_tokenizer(), program)
    dialect = {one.name: one for one in (llama_cpp.DIALECT, dialects_ollama.DIALECT, vllm.DIALECT)}
    card = ServerModelCard({"id": "base", "owned_by": known.owner}, None)
    where = parse_target("http://127.0.0.1:9/v1#base")
    for form in _FORMS:
        http: Any = _Changed(known, part, form)
        connection = ServerConnection(http, where)

        settings = dialect[program].settings(connection, card)
        asked = {"messages": [{"role": "user", "content": "hi"}]}
        shown = dialect[program].show_prompt(connection, asked)
        stops = None
        if program != "Ollama":
            stops = stops_at(connection, known.tokenizer, known.tokenizer.eos_token_id)

        texts = (settings.program, settings.template or "", settings.quantization or "")
        assert all(isinstance(text, str) for text in texts)
        assert canonical_json(settings.record())
        assert shown is None or isinstance(shown.text, str) or shown.token_ids
        assert stops is (None if part == "choices" or program == "Ollama" else True)


def _replaced(value: Any, part: str, form: Any) -> Any:
    if isinstance(value, list):
        return [_replaced(one, part, form) for one in value]
    if not isinstance(value, dict):
        return value
    return {k: form if k == part else _replaced(v, part, form) for k, v in value.items()}


@pytest.mark.parametrize(
    ("address", "chat", "own"),
    [
        ("http://box:8000/v1", "http://box:8000/v1/chat/completions", "http://box:8000/props"),
        ("http://box/api/openai", "http://box/api/openai/chat/completions", None),
        ("http://box:8080", "http://box:8080/chat/completions", "http://box:8080/props"),
    ],
)
def test_openai_pages_are_under_the_address_and_others_beside_v1(
    monkeypatch: pytest.MonkeyPatch, address: str, chat: str, own: str | None
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(HttpClient, "post_json", lambda self, url, *a, **k: asked.append(url) or {})
    with HttpClient() as http:
        connection = ServerConnection(http, parse_target(f"{address}#base"))
        connection.post("chat/completions", {})
        connection.post("/props", {})

    assert asked[0] == chat
    assert own is None or asked[1] == own


@pytest.mark.parametrize(("deadline", "waits"), [(900.0, 900), (5.0, 60)])
def test_a_slow_server_has_as_long_for_a_prompt_as_for_an_answer(
    fake_server: Start, monkeypatch: pytest.MonkeyPatch, deadline: float, waits: int
) -> None:
    arm = replace(
        opened(fake_server, Program(make_tokenizer())), limits=PoolLimits(deadline_s=deadline)
    )
    left: list[float] = []

    def post(self: Any, url: str, body: Any, *, deadline: float) -> dict[str, Any]:
        left.append(deadline - time.monotonic())
        return {"prompt": "hi", "tokens": [1], "usage": {"prompt_tokens": 1}}

    monkeypatch.setattr(HttpClient, "post_json", post)
    arm.show_prompt(Case(id="a", prompt="hi"), CHAT)
    arm.count_prompt(Case(id="a", prompt="hi"), CHAT)

    assert [round(seconds) for seconds in left] == [waits] * 3
