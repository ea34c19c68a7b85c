"""What a chat template is given, and what makes two tokenizers one: how they split texts."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts.reasoning import ThinkingMismatch, opened_format
from tunegate.harness.models._chat_template import fingerprint_of, render_prompt
from tunegate.harness.models._load_model import load_tokenizer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.generation import GenerationSettings

MODEL = {
    "type": "BPE",
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "vocab": {"a": 0, "b": 1, "ab": 2},
    "merges": [["a", "b"]],
}


def tokenizer(**changed: Any) -> Any:
    """Return a tokenizer of three tokens whose model has some fields changed."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {**MODEL, **changed},
    }
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content)))


def test_how_an_absent_prefix_is_written_makes_no_other_tokenizer() -> None:
    written = tokenizer(continuing_subword_prefix="", end_of_word_suffix="")

    assert fingerprint_of(written) == fingerprint_of(tokenizer())


def test_the_call_before_makes_no_other_tokenizer() -> None:
    used = tokenizer()
    used("abab", truncation=True, max_length=1)

    assert json.loads(used.backend_tokenizer.to_str())["truncation"] is not None
    assert fingerprint_of(used) == fingerprint_of(tokenizer())


def test_another_merge_is_another_tokenizer() -> None:
    """Without its merge, `ab` is two tokens."""
    other = tokenizer(merges=[])

    assert other("ab")["input_ids"] != tokenizer()("ab")["input_ids"]
    assert fingerprint_of(other) != fingerprint_of(tokenizer())


CALL = {
    "role": "assistant",
    "tool_calls": [
        {"type": "function", "function": {"name": "find", "arguments": '{"order": "KT-1"}'}}
    ],
}
ASKED = Case(
    id="c",
    messages=(
        {"role": "user", "content": "Where is it?"},
        CALL,
        {"role": "tool", "content": "sent"},
    ),
)
OPENING = "{% for m in messages %}{% for c in m.tool_calls or [] %}"
CLOSING = "{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    "written",
    [
        "{{ c.function.arguments | tojson }}",  # Qwen's and most others
        "{{ '' + c.function.arguments }}",  # DeepSeek's: only a text can be joined to a text
    ],
)
def test_arguments_of_an_earlier_tool_call_are_written_once(written: str) -> None:
    read = tokenizer()
    read.chat_template = OPENING + written + CLOSING

    prompt = render_prompt(read, ASKED, GenerationSettings(), spec="m")

    assert prompt.text == '{"order": "KT-1"}'


def test_arguments_that_are_no_object_stay_as_they_were() -> None:
    """What a model wrote as arguments need not be JSON; the template gets it as a text."""
    read = tokenizer()
    read.chat_template = OPENING + "{{ c.function.arguments }}" + CLOSING
    broken = {**CALL, "tool_calls": [{"function": {"name": "find", "arguments": "{order"}}]}
    case = Case(id="c", messages=({"role": "user", "content": "?"}, broken))

    assert render_prompt(read, case, GenerationSettings(), spec="m").text == "{order"


def test_a_template_that_refuses_says_what_it_minds_first() -> None:
    read = tokenizer()
    read.chat_template = "{{ raise_exception('roles must alternate') }}"

    with pytest.raises(ValueError, match=r"^the chat template refuses it: roles must alternate$"):
        render_prompt(read, ASKED, GenerationSettings(), spec="m")


def test_a_template_that_writes_no_text_is_refused() -> None:
    """Half of a surrogate pair cannot be written in UTF-8, which tokenizers read."""
    read = tokenizer()
    read.chat_template = "ab{{ '\\ud800' }}"

    with pytest.raises(ValueError, match=r"half of a surrogate pair at character 2, which"):
        render_prompt(read, ASKED, GenerationSettings(), spec="m")


def templates_of_trl() -> list[Path]:
    """Return the chat templates of real models that TRL ships; nothing of TRL is imported."""
    found = find_spec("trl")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "chat_templates"
    return sorted(path for path in folder.glob("*.jinja") if "_training" not in path.name)


def test_a_prompt_that_is_too_long_is_refused() -> None:
    read = tokenizer()
    read.chat_template = "{{ 'word ' * 400000 }}"

    with pytest.raises(ModelError, match=r"^tuned/: .* 2,000,000 characters") as error:
        render_prompt(read, ASKED, GenerationSettings(), spec="tuned/")

    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ '{0.__class__.__mro__}'.format(messages) }}",
        "{{ messages | attr('__cl' ~ 'ass__') }}x{{ messages[0]['__class__'].mro() }}",
        "{% include '/etc/passwd' %}",
        "{% for %}",
        "{{ raise_exception('no\n::error::x\n' * 1000) }}",
    ],
)
def test_a_template_runs_no_code_and_fails_in_one_line(template: str) -> None:
    read = tokenizer()
    read.chat_template = template

    with pytest.raises(ValueError, match=r"^the chat template refuses it: ") as error:
        render_prompt(read, ASKED, GenerationSettings(), spec="m")

    assert "\n" not in str(error.value)


def test_a_pattern_that_gives_up_is_an_error_of_its_case() -> None:
    """The Rust library panics, and a panic is not an Exception."""
    from tokenizers import Regex, pre_tokenizers

    read = tokenizer()
    read.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(q+)+$"), "isolated")
    plain = GenerationSettings(template="none")

    with pytest.raises(ValueError, match="cannot split it"):
        render_prompt(read, Case(id="a", prompt="q" * 60 + "!"), plain, spec="m")


@pytest.mark.parametrize("text", ["{", "[" * 100_000])
def test_a_tokenizer_file_that_cannot_be_used_is_named(text: str, tmp_path: Path) -> None:
    tokenizer().save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")

    with pytest.raises(ModelError, match="no usable tokenizer"):
        load_tokenizer(tmp_path)


# Thinking: the ends of real templates, as llama.cpp's repository holds them

TURNS = "{%- for m in messages %}<|{{ m.role }}|>{{ m.content }}{%- endfor %}"
QWEN3 = (
    TURNS + "{%- if add_generation_prompt %}<|im_start|>assistant\n"
    "{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"
)
DEEPSEEK_V3_1 = (
    TURNS + "{{'<｜Assistant｜>'}}{%- if not thinking -%}{{'<think></think>'}}{%- else -%}"
    "{{'<think>'}}{%- endif -%}"
)
R1_DISTILL = TURNS + "{%- if add_generation_prompt %}<｜Assistant｜><think>\n{%- endif %}"
MINIMAX_M3 = (
    TURNS + "{%- if thinking_mode is defined and thinking_mode == 'disabled' -%}</mm:think>"
    "{%- elif thinking_mode is defined and thinking_mode == 'enabled' -%}<mm:think>{%- endif -%}"
)
SEED_OSS = (
    TURNS + "<seed:bos>assistant\n{%- if thinking_budget == 0 %}<seed:think>\nI answer directly."
    "</seed:think>{%- endif %}"
)
GPT_OSS = (
    TURNS
    + "Reasoning: {{ reasoning_effort|default('medium') }}{{ '<|channel|>analysis' if false }}"
    "<|start|>assistant"
)
ON = {"thinking": "on"}
LLAMA = TURNS + "{%- if add_generation_prompt %}<|assistant|>{%- endif %}"


def rendered(template: str, **settings: Any) -> str:
    """Return the prompt of a case with this template."""
    named = tokenizer()
    named.chat_template = template
    generation = GenerationSettings(**settings)
    return render_prompt(named, Case(id="a", prompt="ab"), generation, spec="out/model").text


@pytest.mark.parametrize(
    ("template", "on", "off"),
    [
        (QWEN3, "assistant", "<think>\n\n</think>\n\n"),
        (DEEPSEEK_V3_1, "<think>", "<think></think>"),
        (MINIMAX_M3, "<mm:think>", "</mm:think>"),
        (SEED_OSS, "assistant", "</seed:think>"),
        (R1_DISTILL, "<think>", None),
        (GPT_OSS, "medium<|start|>assistant", None),
        (LLAMA, None, "<|assistant|>"),
    ],
    ids=["Qwen3", "DeepSeek V3.1", "MiniMax M3", "Seed-OSS", "R1 Distill", "gpt-oss", "Llama"],
)
def test_each_template_has_its_own_switch(template: str, on: str | None, off: str | None) -> None:
    """One setting for all; None where the template cannot do it, which is refused."""
    for thinking, end in (("on", on), ("off", off)):
        if end is None:
            with pytest.raises(ThinkingMismatch, match=rf'"{thinking}": the chat .*out/model'):
                rendered(template, thinking=thinking)
        else:
            assert rendered(template, thinking=thinking).endswith(end)


def test_a_template_is_given_the_suites_own_variables() -> None:
    """They are passed as they are; a switch that `thinking` sets as well is refused."""
    effort = {"reasoning_effort": "low"}

    assert "Reasoning: low" in rendered(GPT_OSS, chat_template_kwargs=effort)
    assert "Reasoning: medium" in rendered(GPT_OSS)
    with pytest.raises(ThinkingMismatch, match=r"'enable_thinking'.*remove one"):
        rendered(QWEN3, thinking="on", chat_template_kwargs={"enable_thinking": False})
    assert rendered(QWEN3) == rendered(QWEN3, thinking="on") != rendered(QWEN3, thinking="off")


@pytest.mark.parametrize(
    ("template", "settings", "same_as"),
    [
        (QWEN3 + "{%- if enable_thinking %}{{- '<think>\\n' }}{%- endif %}", ON, "off"),
        (DEEPSEEK_V3_1, ON, "off"),
        (MINIMAX_M3, ON, None),
    ],
    ids=["Qwen3.5", "DeepSeek V3.1", "MiniMax M3"],
)
def test_a_given_answer_follows_closed_thoughts(
    template: str, settings: dict[str, Any], same_as: str | None
) -> None:
    named = tokenizer()
    named.chat_template = template
    case = Case(id="a", prompt="ab")
    prompt = render_prompt(named, case, GenerationSettings(**settings), spec="m")

    assert prompt.answering is not None
    assert prompt.answering.text.startswith(prompt.text)
    assert prompt.answering.token_ids is not None
    if same_as is not None:
        assert prompt.answering.text == rendered(template, thinking=same_as)
    off = GenerationSettings(thinking="off")
    assert render_prompt(named, case, off, spec="m").answering is None


SWITCHED = {"glm4moe", "nemotron_3_nano", "qwen3", "qwen3_5_think"}
ALWAYS_THINK = {"deepseek_r1_distill", "deepseekv3", "gptoss"}
NEVER_THINK = {"gemma3", "llama3_1", "phi3", "qwen2_5", "qwen3_instruct_2507"}


def test_real_templates_are_switched_or_refused() -> None:
    """Of the models that TRL has templates of: off never opens thoughts, on never closes them,
    and what a family cannot do is refused.
    """
    found: dict[str, set[str]] = {"on": set(), "off": set()}
    for path in templates_of_trl():
        for thinking, possible in found.items():
            try:
                prompt = rendered(path.read_text(encoding="utf-8"), thinking=thinking)
            except ThinkingMismatch:
                continue
            possible.add(path.stem)
            if thinking == "off":
                assert opened_format(prompt) is None, path.name
            else:
                assert not prompt.rstrip().endswith("</think>"), path.name

    names = {path.stem for path in templates_of_trl()}
    assert names & SWITCHED <= found["on"] & found["off"]
    assert names & ALWAYS_THINK <= found["on"] - found["off"]
    assert names & NEVER_THINK <= found["off"] - found["on"]
    assert len(names & (SWITCHED | ALWAYS_THINK | NEVER_THINK)) >= 8
