"""A real llama-server: planted faults in the prompt by their cause, and sound ones not accused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.models.servers.test_models_servers_served_prompt import prove, requests_of
from tests.real_llama_server import needs_llama_server, running, write_gguf
from tests.tiny_models import TEMPLATE, TRAINING_TEXT
from tunegate.harness.models.server import server
from tunegate.harness.models.servers.prompt_length import refuse_short_context
from tunegate.harness.models.servers.served_prompt import PromptProof
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.generation import GenerationSettings

pytestmark = [needs_llama_server, pytest.mark.slow]

CHAT = GenerationSettings(max_new_tokens=16)
PLAIN = (
    Case(id="plain", prompt="the capital of France"),
    Case(id="space", prompt=" Grüße aus Köln, 你好 🙂\n"),
    Case(
        id="turns",
        messages=(
            {"role": "user", "content": "a refund"},
            {"role": "assistant", "content": "for whom?"},
            {"role": "user", "content": "the customer"},
        ),
    ),
)
SYSTEM = (
    Case(
        id="system",
        messages=(
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "the parcel"},
        ),
    ),
    Case(
        id="empty",
        messages=({"role": "system", "content": ""}, {"role": "user", "content": "the parcel"}),
    ),
)
CALL = {"type": "function", "id": "c12345678", "function": {"name": "get_weather"}}
CALL["function"]["arguments"] = json.dumps({"city": "Oslo"})  # type: ignore[index]
BARE: dict[str, Any] = {
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
DESCRIBED = {"name": "get_weather", "description": "The weather.", "parameters": BARE["parameters"]}
BARE_TOOL = Case(id="bare", prompt="in Oslo", tools=({"type": "function", "function": BARE},))
"""llama.cpp adds `"description": ""` to it."""
TOOL = {"type": "function", "function": DESCRIBED}
TOOLS = (
    Case(id="tools", prompt="the weather in Oslo", tools=(TOOL,)),
    Case(
        id="results",
        messages=(
            {"role": "user", "content": "the weather in Oslo"},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "rain", "tool_call_id": "c12345678"},
        ),
        tools=(TOOL,),
    ),
)

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CALLS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}"
    '<tool_call>\n{"name": "{{ c.function.name }}", '
    '"arguments": {{ c.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HERMES = (
    "{% if tools %}<|im_start|>system\n<tools>\n{% for tool in tools %}{{ tool | tojson }}\n"
    "{% endfor %}</tools><|im_end|>\n{% endif %}" + CALLS
)
SCHEMA = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}type {{ tool.function.name }} = "
    "(_: { parameters: any }) => any;{% endfor %}<|im_end|>\n{% endif %}" + CALLS
)
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
PHI = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
GRANITE = (
    "{% for m in messages %}<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}"
    "<|end_of_text|>\n{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant"
    "<|end_of_role|>{% endif %}"
)
THINKING = CHATML.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% endif %}{% endif %}",
)
THINKS = CHATML.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking %}<think>\n{% endif %}{% endif %}",
)
FIXED_DAY = "<|im_start|>system\nToday is 26 Jul 2024<|im_end|>\n" + CHATML
TODAY = FIXED_DAY.replace("26 Jul 2024", "{{ strftime_now('%d %b %Y') }}")
DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are Smol.<|im_end|>\n{% endif %}"
    + CHATML
)
MARKS = (
    "<|end|>", "<|start|>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>",
    "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]",
    "<|user|>", "<|assistant|>", "<|system|>", "<|start_of_role|>", "<|end_of_role|>",
    "<|end_of_text|>", "</s>",
)  # fmt: skip
"""Special tokens of the tokenizer, the first two as those of other tests."""


def make_folder(folder: Path, template: str, *, eos: str, bos: str | None = None) -> Any:
    """Save a tokenizer with a template, as it was trained, and return it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=list(MARKS),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    made.train_from_iterator(TRAINING_TEXT, trainer)
    named = {"eos_token": eos} | ({"bos_token": bos} if bos else {})
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, **named)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return tokenizer


SOUND: dict[str, tuple[str, dict[str, Any], tuple[Case, ...], GenerationSettings]] = {
    "ChatML": (CHATML, {"eos": "<|im_end|>"}, PLAIN + SYSTEM, CHAT),
    "ChatML with a default system prompt": (
        DEFAULT_SYSTEM, {"eos": "<|im_end|>"}, PLAIN + SYSTEM, CHAT,
    ),
    "ChatML whose BOS begins each turn": (
        CHATML, {"eos": "<|im_end|>", "bos": "<|im_start|>"}, PLAIN + SYSTEM, CHAT,
    ),
    "Hermes with tools": (HERMES, {"eos": "<|im_end|>"}, PLAIN + SYSTEM + TOOLS, CHAT),
    "Llama 3": (LLAMA_3, {"eos": "<|eot_id|>", "bos": "<|start|>"}, PLAIN + SYSTEM, CHAT),
    "Gemma": (GEMMA, {"eos": "<end_of_turn>", "bos": "<|start|>"}, PLAIN, CHAT),
    "Mistral": (MISTRAL, {"eos": "</s>", "bos": "<|start|>"}, PLAIN, CHAT),
    "Phi": (PHI, {"eos": "<|end|>"}, PLAIN + SYSTEM, CHAT),
    "Zephyr": (ZEPHYR, {"eos": "</s>", "bos": "<|start|>"}, PLAIN + SYSTEM, CHAT),
    "Granite": (GRANITE, {"eos": "<|end_of_text|>"}, PLAIN + SYSTEM, CHAT),
    "Qwen 3 that thinks": (
        THINKING, {"eos": "<|im_end|>"}, PLAIN, GenerationSettings(thinking="on"),
    ),
    "Qwen 3 that does not think": (
        THINKING, {"eos": "<|im_end|>"}, PLAIN, GenerationSettings(thinking="off"),
    ),
}  # fmt: skip
"""Name → template, its special tokens, conversations, settings."""


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize(
    "adds", [False, True], ids=["as the template writes it", "BOS by the file"]
)
def test_a_sound_server_is_proven(tmp_path: Path, name: str, adds: bool) -> None:
    """Where the file and the template add a BOS, llama.cpp takes the template's out."""
    template, tokens, cases, generation = SOUND[name]
    written = template.startswith("{{ bos_token }}")
    tokenizer = make_folder(tmp_path / "trained", template, **tokens)
    file = write_gguf(tokenizer, tmp_path / "m.gguf", add_bos=adds and written)

    with running(file) as url:
        arm = server(f"{url}?tokenizer={tmp_path / 'trained'}#base")
        found = prove({"base": arm, "tuned": arm}, *cases, generation=generation)

    assert found.refusal == ""
    assert found.record["tuned"].get("warning") is None
    assert found.record["tuned"]["status"] == "proven"
    assert found.record["tuned"]["ends"] is True


FAULTS: dict[str, tuple[str, dict[str, Any], tuple[str, ...], tuple[Case, ...], str]] = {
    "doubled BOS": (
        LLAMA_3, {"eos": "<|eot_id|>", "bos": "<|start|>"},
        ("--chat-template", "{{ bos_token }}" + LLAMA_3), PLAIN, "a doubled BOS",
    ),
    "no BOS": (
        LLAMA_3, {"eos": "<|eot_id|>", "bos": "<|start|>"},
        ("--chat-template", LLAMA_3.removeprefix("{{ bos_token }}")), PLAIN, "no BOS in front",
    ),
    "template of another family": (
        LLAMA_3, {"eos": "<|eot_id|>", "bos": "<|start|>"}, ("--chat-template", "chatml"), PLAIN,
        "the chat template of another model: ChatML instead of Llama 3",
    ),
    "broken template": (
        CHATML, {"eos": "<|im_end|>"}, ("--chat-template", "{{ 'llama2' }}"), PLAIN,
        "the user's message is not in the prompt: the whole prompt is 'llama2'",
    ),
    "injected system prompt": (
        CHATML, {"eos": "<|im_end|>"}, ("--chat-template", DEFAULT_SYSTEM), PLAIN,
        "a system prompt that the server puts in front",
    ),
    "lost default system prompt": (
        DEFAULT_SYSTEM, {"eos": "<|im_end|>"}, ("--chat-template", CHATML), PLAIN,
        "the default system prompt is missing",
    ),
    "tools as a schema": (
        HERMES, {"eos": "<|im_end|>"}, ("--chat-template", SCHEMA), TOOLS,
        "the tools are written as a schema",
    ),
    "tools left out": (
        HERMES, {"eos": "<|im_end|>"}, ("--chat-template", CALLS), TOOLS, "the tools are left out",
    ),
    "no generation prompt": (
        CHATML, {"eos": "<|im_end|>"},
        ("--chat-template", CHATML.partition("{% if add_generation_prompt")[0]), PLAIN,
        "no generation prompt",
    ),
    "thinking off": (
        THINKING, {"eos": "<|im_end|>"},
        ("--chat-template-kwargs", '{"enable_thinking": false}'), PLAIN,
        "thinking is switched off by the server",
    ),
    "thinking on": (
        THINKS, {"eos": "<|im_end|>"}, ("--chat-template-kwargs", '{"enable_thinking": true}'),
        PLAIN, "thinking is switched on by the server",
    ),
    "white space": (
        CHATML, {"eos": "<|im_end|>"},
        ("--chat-template", CHATML.replace("m.content", "m.content | trim")), PLAIN, "white space",
    ),
    "today's date": (
        FIXED_DAY, {"eos": "<|im_end|>"}, ("--chat-template", TODAY), PLAIN,
        "today's date is in the prompt",
    ),
    "tools without a description": (
        HERMES, {"eos": "<|im_end|>"}, (), (BARE_TOOL,),
        "the tools are written in the order name, description, parameters",
    ),
}  # fmt: skip
"""Name → trained template, its special tokens, options of the server, conversations, cause."""


def found_on(tmp_path: Path, name: str) -> PromptProof:
    """Prove the prompts of a server with a planted fault."""
    template, tokens, options, cases, _ = FAULTS[name]
    tokenizer = make_folder(tmp_path / "trained", template, **tokens)
    file = write_gguf(tokenizer, tmp_path / "m.gguf")
    with running(file, *options) as url:
        arm = server(f"{url}?tokenizer={tmp_path / 'trained'}#base")
        return prove({"base": arm, "tuned": arm}, *cases)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_with_its_cause(tmp_path: Path, name: str) -> None:
    record = found_on(tmp_path, name).record["tuned"]

    assert record["status"] == "different"
    assert FAULTS[name][-1] in record["warning"]


def test_a_wrong_stop_token_is_found(tmp_path: Path) -> None:
    """llama.cpp knows common ends by their names; one that it does not know runs on."""
    tokenizer = make_folder(tmp_path / "trained", TEMPLATE, eos="<|end_of_role|>")
    tokenizer.chat_template = TEMPLATE.replace("<|end|>", "<|end_of_role|>")
    tokenizer.save_pretrained(tmp_path / "trained")
    file = write_gguf(tokenizer, tmp_path / "m.gguf", eos=tokenizer.convert_tokens_to_ids("</s>"))

    with running(file) as url:
        arm = server(f"{url}?tokenizer={tmp_path / 'trained'}#base")
        found = prove({"base": arm, "tuned": arm}, *PLAIN).record["tuned"]

    assert (found["ends_at"], found["ends"]) == ("<|end_of_role|>", False)
    assert "its own end is '</s>'" in found["warning"]


def test_a_context_shared_by_slots_is_refused(tmp_path: Path) -> None:
    """`-c 512 -np 4` leaves 128 tokens for a prompt and its answer."""
    tokenizer = make_folder(tmp_path / "trained", CHATML, eos="<|im_end|>")
    file = write_gguf(tokenizer, tmp_path / "m.gguf")
    long = Case(id="long", prompt="the parcel is late " * 400)

    with running(file, "-c", "512", "-np", "4") as url:
        arms: dict[str, Any] = {"tuned": server(f"{url}?tokenizer={tmp_path / 'trained'}#base")}
        with pytest.raises(ModelError, match=r"does not fit its server's context of (128|256|512)"):
            refuse_short_context(requests_of(arms, long), arms)


def test_arms_behind_different_templates_are_refused(tmp_path: Path) -> None:
    tokenizer = make_folder(tmp_path / "trained", CHATML, eos="<|im_end|>")
    file = write_gguf(tokenizer, tmp_path / "m.gguf")

    with running(file) as base, running(file, "--chat-template", DEFAULT_SYSTEM) as tuned:
        arms = {"base": server(f"{base}#base"), "tuned": server(f"{tuned}#base")}
        refusal = prove(arms, *PLAIN).refusal

    assert refusal.startswith("base and tuned do not get the same prompt")
    assert "a system prompt that the server puts in front" in refusal
