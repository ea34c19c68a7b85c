"""The prompt that a server builds is compared with the one that was trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.fake_programs import Program
from tests.fake_server import FakeServer
from tests.tiny_models import TEMPLATE, make_tokenizer
from tunegate.harness.contracts.model import Arm, Prompt, Request
from tunegate.harness.models.server import ServerArm, server
from tunegate.harness.models.servers.prompt_length import refuse_short_context
from tunegate.harness.models.servers.prompt_shapes import choose_conversations
from tunegate.harness.models.servers.served_prompt import PromptProof
from tunegate.harness.records.answers import Cell, CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.generation import GenerationSettings

Start = Callable[..., FakeServer]
CHAT = GenerationSettings(max_new_tokens=16)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CASES = (
    Case(id="plain", prompt="the capital of France"),
    Case(id="space", prompt=" Grüße aus Köln\n"),
    Case(
        id="turns",
        messages=(
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "a refund"},
            {"role": "assistant", "content": "for whom?"},
            {"role": "user", "content": "the customer"},
        ),
    ),
)
TOOL_CASE = Case(id="tools", prompt="the parcel", tools=(WEATHER,))
THINKING = (
    TEMPLATE
    + "{% if add_generation_prompt and not enable_thinking %}<think>\n\n</think>\n{% endif %}"
)
TOOLS = "{% if tools %}<|start|>tools\n{{ tools | tojson }}<|end|>\n{% endif %}" + TEMPLATE
SCHEMA = (
    "{% if tools %}<|start|>tools\n{% for tool in tools %}type {{ tool.function.name }} = "
    "(_: { parameters: any }) => any;{% endfor %}<|end|>\n{% endif %}" + TEMPLATE
)
LLAMA_3 = (
    "{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content }}<|eot_id|>{% endfor %}"
)
GEMMA = (
    "{% for message in messages %}<start_of_turn>{{ message.role }}\n{{ message.content }}"
    "<end_of_turn>\n{% endfor %}"
)
DATED = "{{ '<|start|>system\nToday is ' + day + '<|end|>\n' }}" + TEMPLATE


def opened(fake_server: Start, program: Program, tokenizer: Any = None) -> ServerArm:
    """Open `base` of a program, whose trained tokenizer may be known."""
    fake = fake_server(
        reply=program, models={"base": {"owned_by": program.owner}}, pages=program.pages
    )
    if tokenizer is None:
        return server(f"{fake.url}#base")
    folder = f"{tokenizer.name_or_path}/saved"
    return server(f"{fake.url}?tokenizer={folder}#base")


def prove(
    arms: Mapping[str, Arm], *cases: Case, generation: GenerationSettings = CHAT
) -> PromptProof:
    """Prove the prompts of some cases."""
    requests = requests_of(arms, *cases or CASES, generation=generation)
    prompts = {(r.suite, r.case.id, r.cell.arm): r.prompt for r in requests}
    return PromptProof.prove(requests, prompts, arms)


def requests_of(
    arms: Mapping[str, Arm], *cases: Case, generation: GenerationSettings = CHAT
) -> list[Request]:
    """Plan some cases for every arm."""
    found = []
    for case in cases:
        for name, arm in arms.items():
            cell = Cell(suite="s", case=case.id, arm=name, kind=CellKind.GENERATE, key="k")
            try:
                prompt = arm.prompt(case, generation)
            except ValueError:
                prompt = Prompt("", (0,))
            found.append(Request(cell, case, prompt, generation, 0))
    return found


@pytest.fixture
def saved(tmp_path: Any) -> Callable[..., Any]:
    """Make a tokenizer that is also a folder, as it was trained."""

    def save(template: str = TEMPLATE, **how: Any) -> Any:
        tokenizer = make_tokenizer(template=template, **how)
        tokenizer.name_or_path = str(tmp_path)
        tokenizer.save_pretrained(tmp_path / "saved")
        return tokenizer

    return save


# Equal


@pytest.mark.parametrize(
    ("program", "by"), [("llama.cpp", "token ids"), ("vLLM", "token ids"), ("Ollama", "token ids")]
)
def test_a_server_that_builds_the_trained_prompt_is_proven(
    fake_server: Start, saved: Any, program: str, by: str
) -> None:
    tokenizer = saved()
    arm = opened(fake_server, Program(tokenizer, program), tokenizer)

    found = prove({"base": arm, "tuned": arm})

    assert found.refusal == ""
    assert found.record["tuned"]["status"] == "proven"
    assert found.record["tuned"]["by"] == by
    assert found.record["tuned"]["conversations"] == 3
    assert "leading white space" in found.record["tuned"]["shapes"]
    assert found.equal == {"base", "tuned"}


def test_servers_without_a_known_template_are_compared_with_each_other(fake_server: Start) -> None:
    arms = {
        "base": opened(fake_server, Program(make_tokenizer())),
        "tuned": opened(fake_server, Program(make_tokenizer())),
    }

    found = prove(arms)

    assert found.refusal == ""
    assert found.equal == {"base", "tuned"}
    assert found.record["tuned"]["status"] == "declared"
    assert "?tokenizer=FOLDER" in found.record["tuned"]["note"]


def test_a_server_that_shows_nothing_is_taken_on_trust(fake_server: Start) -> None:
    arm = server(f"{fake_server(models={'base': {}}).url}#base")

    found = prove({"base": arm, "tuned": arm})

    assert found.record["base"]["note"] == "prompt taken on trust: the server does not show it"
    assert found.equal == set()


# Different, each with its cause


FAULTS: list[tuple[str, dict[str, Any], str, tuple[Case, ...]]] = [
    (TEMPLATE, {"template": "llama2"}, "the user's message is not in the prompt", CASES),
    (TEMPLATE, {"generation_prompt": False}, "no generation prompt", CASES),
    (TEMPLATE, {"system": "You are Qwen."}, "a system prompt that the server puts in front", CASES),
    (TEMPLATE, {"template": LLAMA_3}, "Llama 3 is served", CASES),
    (LLAMA_3, {"template": GEMMA}, "another model: Gemma instead of Llama 3", CASES),
    (THINKING, {"variables": {"enable_thinking": True}}, "thinking is switched on", CASES),
    (TOOLS, {"template": SCHEMA}, "the tools are written as a schema", (TOOL_CASE,)),
    (TOOLS, {"template": TEMPLATE}, "the tools are left out", (TOOL_CASE,)),
    (
        TEMPLATE,
        {"template": TEMPLATE.replace("message['content']", "message['content'] | trim")},
        "white space",
        CASES,
    ),
    (
        "{% set day = '30 Nov 2026' %}" + DATED,
        {"template": "{% set day = '26 Jul 2024' %}" + DATED},
        "today's date is in the prompt: 26 Jul 2024 instead of 30 Nov 2026",
        CASES,
    ),
]


@pytest.mark.parametrize("program", ["llama.cpp", "vLLM", "Ollama"])
@pytest.mark.parametrize(("template", "fault", "cause", "cases"), FAULTS)
def test_a_planted_fault_is_found_with_its_cause(
    fake_server: Start,
    saved: Any,
    program: str,
    template: str,
    fault: dict[str, Any],
    cause: str,
    cases: tuple[Case, ...],
) -> None:
    tokenizer = saved(template)
    arm = opened(fake_server, Program(tokenizer, program, **fault), tokenizer)

    found = prove({"base": arm, "tuned": arm}, *cases)

    assert found.record["tuned"]["status"] == "different"
    assert cause in found.record["tuned"]["warning"]
    lost = "user's message" in cause
    assert bool(found.refusal) is lost  # both arms get the same, which is refused if it is nothing


@pytest.mark.parametrize("program", ["llama.cpp", "vLLM", "Ollama"])
def test_a_doubled_bos_is_found(fake_server: Start, saved: Any, program: str) -> None:
    tokenizer = saved("{{ bos_token }}" + TEMPLATE)
    tokenizer.bos_token = "<|start|>"
    tokenizer.save_pretrained(f"{tokenizer.name_or_path}/saved")
    sound = opened(fake_server, Program(tokenizer, program, adds_bos=True), tokenizer)
    doubled = Program(tokenizer, program, adds_bos=True, doubles_bos=True)
    arm = opened(fake_server, doubled, tokenizer)

    assert prove({"base": sound, "tuned": sound}).record["tuned"]["status"] == "proven"
    assert "a doubled BOS" in prove({"base": arm, "tuned": arm}).record["tuned"]["warning"]


def test_a_server_that_does_not_end_answers_is_found(fake_server: Start, saved: Any) -> None:
    tokenizer = saved()
    arm = opened(fake_server, Program(tokenizer, ends=(5,)), tokenizer)

    found = prove({"base": arm, "tuned": arm}).record["tuned"]

    assert (found["ends_at"], found["ends"]) == ("<|end|>", False)
    assert "does not end an answer at '<|end|>'" in found["warning"]


def test_arms_that_get_different_prompts_are_refused(fake_server: Start, saved: Any) -> None:
    tokenizer = saved()
    arms = {
        "base": opened(fake_server, Program(tokenizer), tokenizer),
        "tuned": opened(fake_server, Program(tokenizer, system="You are Qwen."), tokenizer),
    }

    refusal = prove(arms).refusal

    assert refusal.startswith("base and tuned do not get the same prompt: tuned: a system prompt")
    assert "--allow-prompt-difference" in refusal


def test_arms_are_compared_where_nothing_is_known_of_the_training(fake_server: Start) -> None:
    arms = {
        "base": opened(fake_server, Program(make_tokenizer(), "Ollama")),
        "tuned": opened(fake_server, Program(make_tokenizer(), "Ollama", generation_prompt=False)),
    }

    assert "no generation prompt" in prove(arms).refusal


def test_a_broken_template_is_found_without_a_folder(fake_server: Start) -> None:
    """Every prompt becomes six letters, and nothing else is known."""
    arm = opened(fake_server, Program(make_tokenizer(), template="llama2"))

    found = prove({"base": arm, "tuned": arm})

    assert found.record["tuned"]["status"] == "different"
    assert "the whole prompt is 'llama2'" in found.refusal


def test_a_template_that_writes_messages_as_json_is_no_broken_one(
    fake_server: Start, saved: Any
) -> None:
    tokenizer = saved(TEMPLATE.replace("message['content']", "message['content'] | tojson"))
    known = opened(fake_server, Program(tokenizer), tokenizer)
    unknown = opened(fake_server, Program(tokenizer))

    for arm in (known, unknown):
        found = prove({"base": arm, "tuned": arm}, Case(id="a", prompt='say "Grüße"\nto me'))
        assert found.refusal == ""
        assert found.record["tuned"].get("warning") is None


def test_a_deployment_is_compared_with_the_template_of_tuned(fake_server: Start, tiny: Any) -> None:
    pair = tiny.pair()
    tokenizer = pair["tuned"].tokenizer
    shipped = opened(fake_server, Program(tokenizer, "Ollama", generation_prompt=False))

    found = prove({**pair, "shipped": shipped})

    assert found.refusal.startswith("tuned and shipped do not get the same prompt")
    assert "no generation prompt" in found.refusal


def test_a_template_that_the_suite_sets_is_not_asked_of_base(
    fake_server: Start, saved: Any
) -> None:
    tokenizer = saved()
    own = GenerationSettings(chat_template=LLAMA_3)
    arms = {
        "base": opened(fake_server, Program(tokenizer), tokenizer),
        "tuned": opened(fake_server, Program(tokenizer, template=LLAMA_3), tokenizer),
    }

    found = prove(arms, generation=own)

    assert found.refusal == ""
    assert found.record["tuned"]["status"] == "proven"


def test_settings_in_which_servers_differ_are_noted(fake_server: Start, saved: Any) -> None:
    tokenizer = saved()
    arms = {
        "base": opened(fake_server, Program(tokenizer), tokenizer),
        "tuned": opened(fake_server, Program(tokenizer, quantization="Q4_0"), tokenizer),
    }

    found = prove(arms)

    assert found.record["tuned"]["settings_differ"] == {"quantization": ["Q8_0", "Q4_0"]}


# Context


@pytest.mark.parametrize("program", ["llama.cpp", "Ollama"])
def test_a_context_that_cuts_prompts_is_refused(
    fake_server: Start, saved: Any, program: str
) -> None:
    tokenizer = saved()
    arm = opened(fake_server, Program(tokenizer, program, context=40), tokenizer)
    arms: dict[str, Arm] = {"tuned": arm}
    long = Case(id="long", prompt="the parcel is late " * 30)

    with pytest.raises(
        ModelError, match=r"tuned: a prompt of \d+ tokens \(s, case 'long'\)"
    ) as caught:
        refuse_short_context(requests_of(arms, *CASES, long), arms)

    assert ("-c" if program == "llama.cpp" else "num_ctx") in str(caught.value)


def test_answers_that_may_be_cut_are_noted(fake_server: Start, saved: Any) -> None:
    tokenizer = saved()
    arms: dict[str, Arm] = {
        "tuned": opened(fake_server, Program(tokenizer, context=150), tokenizer)
    }

    plain = requests_of(arms, CASES[0], generation=GenerationSettings(max_new_tokens=149))

    assert "exceed the context of 150" in refuse_short_context(plain, arms)["tuned"]
    assert refuse_short_context(requests_of(arms, CASES[0]), arms) == {}


# Shapes


def test_one_conversation_of_each_shape_is_chosen(fake_server: Start) -> None:
    arms: dict[str, Arm] = {"base": opened(fake_server, Program(make_tokenizer()))}
    further = [Case(id=f"c{number}", prompt=f"question {number}") for number in range(50)]

    chosen = choose_conversations(requests_of(arms, *further, *CASES, TOOL_CASE))

    assert [one.case.id for one in chosen] == ["c0", "space", "turns", "tools"]


# What stands in front of a server


@pytest.mark.parametrize("program", ["llama.cpp", "vLLM", "Ollama"])
def test_a_prompt_that_something_adds_to_unseen_is_not_proven(
    fake_server: Start, saved: Any, program: str
) -> None:
    tokenizer = saved()
    sound = opened(fake_server, Program(tokenizer, program), tokenizer)
    added = opened(fake_server, Program(tokenizer, program, hidden=7), tokenizer)

    found = prove({"base": sound, "tuned": added})

    assert found.record["base"]["status"] == "proven"
    assert found.record["tuned"]["status"] == "different"
    assert "something adds to it" in found.refusal
    assert found.equal == set()


@pytest.mark.parametrize("status", [403, 501])
@pytest.mark.parametrize(
    ("program", "page"), [("llama.cpp", "apply-template"), ("vLLM", "tokenize")]
)
def test_a_page_that_a_proxy_keeps_closed_leaves_the_prompt_on_trust(
    fake_server: Start, saved: Any, program: str, page: str, status: int
) -> None:
    tokenizer = saved()
    closed = Program(tokenizer, program, closed={f"/{page}": status})

    found = prove({"base": (arm := opened(fake_server, closed, tokenizer)), "tuned": arm})

    assert found.record["tuned"]["status"] == "declared"
    assert found.refusal == ""
