"""Server programs are recognised, and asked in their own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fake_programs import Program
from tests.fake_server import FakeServer
from tests.tiny_models import make_tokenizer
from tunegate.harness.models.remote.failures import PermanentError
from tunegate.harness.models.remote.http import HttpClient
from tunegate.harness.models.server import ServerArm, server
from tunegate.harness.models.servers.dialect import NOT_SHOWN, ServerConnection
from tunegate.harness.models.servers.target import parse_target
from tunegate.harness.records.cases import Case
from tunegate.harness.records.generation import GenerationSettings

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
    assert arm.settings.file == "/models/base.gguf"
    record = arm.identity["settings"]
    assert record["program"] == "llama.cpp b9993-unknown"
    assert record["sampling"] == {"temperature": 0.8, "top_k": 40}
    assert "file" not in record
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
