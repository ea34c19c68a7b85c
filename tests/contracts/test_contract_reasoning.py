"""Thoughts and answers: as servers split them, and what counts as an answer."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunegate.harness.contracts.decoding import decode_completion, timed_thoughts
from tunegate.harness.contracts.reasoning import (
    answer_tokens,
    call_text,
    message_thoughts,
    no_answer_reason,
    separate_thoughts,
    split_text,
    thought_facts,
    written_text,
)
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.generation import GenerationSettings

TEXTS = Path(__file__).with_name("thinking_texts.jsonl")
"""What the parsers of vLLM 0.32.0 and SGLang 0.5.23 return."""
OTHERWISE = {
    # vLLM drops every further tag from the answer, which SGLang leaves there as we do
    ("vllm", "Qwen3", "answer with a second block"),
    ("vllm", "Qwen3", "closing tag in the answer"),
    ("vllm", "Seed-OSS", "answer with a second block"),
    ("vllm", "Seed-OSS", "closing tag in the answer"),
    # SGLang does not look at the prompt: the thoughts become the answer
    ("sglang", "Kimi VL", "opened by the prompt"),
    ("sglang", "Kimi VL", "opened by the prompt, cut"),
    # vLLM hands thoughts without an answer out as the answer
    ("vllm", "Granite 3.2", "cut within the thoughts"),
    # SGLang shows the markup of further messages, and drops a text without any
    ("sglang", "gpt-oss", "answer with a second block"),
    ("sglang", "gpt-oss", "closing tag in the answer"),
    ("sglang", "gpt-oss", "no thoughts"),
    ("sglang", "gpt-oss", "no thoughts, several lines"),
}
"""(parser, format, text) that we split in another way on purpose."""


def _rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in TEXTS.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("parser", ["vllm", "sglang"])
def test_texts_are_split_as_servers_do(parser: str) -> None:
    """Each of 236 texts in 16 formats has the thoughts and the answer that the parser finds."""
    other = set()
    compared = 0
    for row in _rows():
        if parser in row:
            compared += 1
            found = split_text(row["text"], prompt=row["prompt"])
            mine = ("", row["text"]) if found is None else (found.reasoning, found.answer)
            if [part.strip() for part in mine] != row[parser]:
                other.add((parser, row["format"], row["case"]))

    assert compared > 60
    assert other == {one for one in OTHERWISE if one[0] == parser}


@pytest.mark.parametrize("row", _rows()[::7], ids=lambda row: f"{row['format']}: {row['case']}")
def test_nothing_of_a_text_is_lost(row: dict[str, Any]) -> None:
    done = separate_thoughts(
        Completion(text=row["text"]), GenerationSettings(), prompt=row["prompt"]
    )

    assert row["text"].removesuffix("<|END_TEXT|>").startswith(written_text(done))
    assert len(written_text(done)) >= len(row["text"]) - len("<|END_TEXT|>")


@pytest.mark.parametrize(
    "text",
    [
        "The tag `</think>` ends the thoughts of Qwen3.",
        'Close it with "</think>" and go on.',
        "Write <think>your thoughts</think> first.",
        "```xml\n<think>\n…\n</think>\n```",
        "<thinkers>Plato</thinkers>",
        "I reason as follows: </reasoning> is a tag.",
        "analysis of variance",
        "Use <|channel|>final for answers.",
        '{"think": "</thinking>"}',
        "",
    ],
)
def test_an_answer_about_tags_is_an_answer(text: str) -> None:
    """What does not begin with thoughts has none, whether the prompt is known or not."""
    for prompt in (None, "How do I close thoughts?\n"):
        assert split_text(text, prompt=prompt) is None


def test_a_prompt_that_closed_the_thoughts_opens_none() -> None:
    """Qwen3 with thinking off has both tags in the prompt: a stray closing tag is the answer's."""
    assert split_text("Oslo</think>.", prompt="assistant\n<think>\n\n</think>\n\n") is None
    assert split_text("Oslo</think>.", prompt=None) is not None


@pytest.mark.parametrize(
    ("text", "thoughts", "answer", "closed"),
    [
        ("<|channel|>analysis<|message|>Hm.", "Hm.", "", False),
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary "
            'to=functions.look_up <|constrain|>json<|message|>{"city": "Oslo"}<|call|>',
            "Hm.",
            '<tool_call>{"name": "look_up", "arguments": {"city": "Oslo"}}</tool_call>',
            True,
        ),
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant to=functions.look_up"
            "<|channel|>commentary json<|message|>{oops<|call|>",
            "Hm.",
            '<tool_call>{"name": "look_up", "arguments": "{oops"}</tool_call>',
            True,
        ),
        ("analysisThe user asks.assistantfinalOslo.", "The user asks.", "Oslo.", True),
        ("<|channel|>final<|message|>Oslo.<|return|>", "", "Oslo.", True),
    ],
)
def test_harmony(text: str, thoughts: str, answer: str, closed: bool) -> None:
    """The messages of gpt-oss: thoughts, answers, calls of tools, and without special tokens."""
    found = split_text(text, prompt="<|start|>assistant")

    assert found is not None
    assert (found.reasoning, found.answer, found.closed) == (thoughts, answer, closed)


def test_a_suite_names_its_tags_or_switches_the_split_off() -> None:
    """Own tags replace the known ones; with an empty array the whole text is the answer."""
    text = "<plan>one</plan>two"

    assert split_text(text, prompt="") is None
    found = split_text(text, prompt="", tags=("<plan>", "</plan>"))
    assert found is not None
    assert (found.reasoning, found.answer) == ("one", "two")
    assert split_text("<think>one</think>two", prompt="", tags=()) is None


@pytest.mark.parametrize(
    "text",
    [
        "<|channel|>" * 20_000,
        "<|channel|>analysis<|message|>" + "a" * 400_000,
        "<|start|>" + "x" * 400_000,
        "<think>" * 60_000,
        "<think>" + "\n \t" * 150_000,
        "`</think>" * 50_000,
        "analysis" * 50_000,
        " " * 400_000 + "<think>",
    ],
    ids=lambda text: text[:20],
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    """400,000 characters of tags, of white space or without an end are split in a second."""
    began = time.perf_counter()
    for prompt in (None, "", "<think>"):
        split_text(text, prompt=prompt)

    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("message", "thoughts"),
    [
        ({"content": "Oslo", "reasoning_content": "Hm."}, "Hm."),
        ({"content": "Oslo", "reasoning": "Hm."}, "Hm."),
        ({"thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}]}, "Hm."),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
                    {"type": "text", "text": "Oslo"},
                ]
            },
            "Hm.",
        ),
        ({"content": [{"type": "reasoning", "reasoning": "Hm."}]}, "Hm."),
        ({"content": "Oslo", "reasoning_content": ""}, None),
        ({"content": "Oslo", "reasoning": {"effort": "low"}}, None),
        ({"content": [1, None], "thinking_blocks": "no"}, None),
    ],
)
def test_servers_messages(message: dict[str, Any], thoughts: str | None) -> None:
    """The fields in which servers and providers put thoughts, and others."""
    assert message_thoughts(message) == thoughts


class _Tokens:
    """A tokenizer of whole pieces; those in brackets are special tokens that decoding drops."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces
        self.added_tokens_decoder = {
            at: _Special(piece) for at, piece in enumerate(pieces) if piece.startswith("[")
        }

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        kept = [i for i in ids if not (skip_special_tokens and i in self.added_tokens_decoder)]
        return "".join(self.pieces[i] for i in kept)


class _Special(str):
    special = True


def test_tags_that_are_special_tokens_are_found() -> None:
    tokenizer = _Tokens("[THINK]", "one ", "two", "[/THINK]", "Oslo", "[PAD]", "!")

    fields = decode_completion(
        tokenizer, [0, 1, 2, 3, 4, 5, 6], GenerationSettings(), prompt="[/INST]"
    )

    assert fields["text"] == "Oslo!"
    assert fields["reasoning"] == "one two"
    assert fields["reasoning_closed"] is True
    assert fields["reasoning_tokens"] == 4
    assert decode_completion(tokenizer, [4, 6], GenerationSettings(), prompt="") == {
        "text": "Oslo!"
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": "", "reasoning": "Hm", "reasoning_closed": False}, "had not ended"),
        ({"text": " \n", "reasoning": "Hm", "reasoning_closed": True}, "nothing follows"),
        (
            {"text": "", "reasoning_tokens": 512, "reasoning_closed": False},
            "had not ended after 512 tokens",
        ),
        ({"text": "Oslo", "reasoning": "Hm", "reasoning_closed": True}, None),
        ({"text": ""}, None),
    ],
)
def test_why_there_is_no_answer(fields: dict[str, Any], reason: str | None) -> None:
    """The reason says whether the thoughts ended; an empty text without thoughts has none."""
    found = no_answer_reason(Completion(**fields))

    assert found is None if reason is None else reason in str(found)


def test_tokens_of_the_answer_alone() -> None:
    """32 tokens, 20 of them thoughts, leave 12; unknown where the thoughts were not counted."""
    done = Completion(output_tokens=32, reasoning="a", reasoning_tokens=20)

    assert answer_tokens(done) == 12
    assert answer_tokens(Completion(output_tokens=32)) == 32
    assert answer_tokens(Completion(output_tokens=32, reasoning="a")) is None


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"reasoning_tokens": 9, "reasoning_s": 1.5, "batch_size": 1}, ["9 tokens", "1.50 s"]),
        ({"reasoning_s": 1.5, "batch_size": 4}, [None, "1.50 s in a batch of 4"]),
        ({"reasoning_closed": False}, [None, "time not known", "not ended"]),
        (
            {"reasoning": None, "reasoning_tokens": 9},
            ["9 tokens", "time not known", "hidden by the provider"],
        ),
    ],
)
def test_facts_about_thoughts(fields: dict[str, Any], facts: list[str | None]) -> None:
    """Tokens and seconds if known; otherwise "not known", never 0."""
    done = Completion(**{"text": "Oslo", "reasoning": "Hm", **fields})

    assert list(thought_facts(done)) == [one or "number of tokens not known" for one in facts]


def test_the_time_of_thoughts_is_that_of_their_last_token() -> None:
    """Two of three tokens are thoughts: they ended with the second; without thoughts, no time."""
    seconds = [0.5, 0.75, 1.0]

    assert timed_thoughts({"text": "x", "reasoning_tokens": 2}, seconds)["reasoning_s"] == 0.75
    assert timed_thoughts({"text": "x"}, seconds) == {"text": "x"}


def test_settings_that_say_nothing_of_thinking_hash_as_before() -> None:
    assert not {key for key in GenerationSettings().model_dump() if "think" in key}
    assert "chat_template_kwargs" not in GenerationSettings().model_dump()
    assert not {key for key in Completion(text="a").model_dump() if "reasoning" in key}
    assert SimpleNamespace(**GenerationSettings(thinking="off").model_dump()).thinking == "off"


@pytest.mark.parametrize("arguments", ["[" * 50_000, '{"a": ' * 50_000, "no JSON", None, {"a": 1}])
def test_calls_of_any_arguments_are_texts(arguments: Any) -> None:
    """A model, or a server, that nests arguments 50,000 deep ends no run."""
    text = call_text("f", arguments)
    call = json.loads(text.removeprefix("<tool_call>").removesuffix("</tool_call>"))
    harmony = f"<|channel|>commentary to=functions.f<|message|>{arguments}<|call|>"
    found = split_text(harmony)

    assert call == {"name": "f", "arguments": arguments}
    assert found is not None
    assert found.answer.startswith('<tool_call>{"name": "f"')
