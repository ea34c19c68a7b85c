"""What a chat template is given, and what makes two tokenizers one: how they split texts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunegate.harness.models._chat_template import fingerprint_of, render_prompt
from tunegate.harness.records.cases import Case, GenerationSettings

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

    told = {
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
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(told)))


def test_how_an_absent_prefix_is_written_makes_no_other_tokenizer() -> None:
    """Null and an empty text both say that there is none."""
    written = tokenizer(continuing_subword_prefix="", end_of_word_suffix="")

    assert fingerprint_of(written) == fingerprint_of(tokenizer())


def test_the_call_before_makes_no_other_tokenizer() -> None:
    """A call that truncates leaves its setting in the tokenizer, which the next call replaces."""
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
    """OpenAI's JSON text becomes an object where the template writes JSON, and else stays."""
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
    """Where neither form is taken, the message is the template's own of the first."""
    read = tokenizer()
    read.chat_template = "{{ raise_exception('roles must alternate') }}"

    with pytest.raises(ValueError, match=r"^the chat template refuses it: roles must alternate$"):
        render_prompt(read, ASKED, GenerationSettings(), spec="m")
