"""Tool calls as models write them: seven syntaxes, each by its own specification."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics._tool_call_parsers import SYNTAXES, Syntax, parse_tool_calls

F1 = {"name": "f", "arguments": {"a": 1}}
G2 = {"name": "g.h", "arguments": {"b": "x"}}
F1_TEXT, G2_TEXT = json.dumps(F1), json.dumps(G2)
F1_LLAMA = '{"name": "f", "parameters": {"a": 1}}'
G2_LLAMA = '{"name": "g.h", "parameters": {"b": "x"}}'
OF_OPENAI = {"name": "f", "arguments": '{"a": 1}'}
F1_OPENAI = {"id": "call_1", "type": "function", "function": OF_OPENAI}
F1_ANTHROPIC = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
THOUGHT = {"type": "text", "text": "Let me see."}


def called(text: str, syntax: Syntax = "auto") -> list[dict[str, Any]]:
    """Return the calls in the plain form."""
    return [
        {"name": one.name, "arguments": dict(one.arguments)}
        for one in parse_tool_calls(text, syntax).calls
    ]


READABLE: list[tuple[str, str, list[Any]]] = [
    # OpenAI: the message, its tool_calls alone, one of them; arguments are JSON in a string
    ("openai", json.dumps({"role": "assistant", "tool_calls": [F1_OPENAI]}), [F1]),
    ("openai", json.dumps({"content": None, "tool_calls": [F1_OPENAI, F1_OPENAI]}), [F1, F1]),
    ("openai", json.dumps([F1_OPENAI]), [F1]),
    ("openai", json.dumps(F1_OPENAI), [F1]),
    ("openai", json.dumps({"function_call": OF_OPENAI}), [F1]),
    ("openai", json.dumps(OF_OPENAI), [F1]),
    ("openai", json.dumps({"tool_calls": [{"function": F1}]}), [F1]),  # as chat templates write it
    (
        "openai",  # a call without arguments comes as an empty string
        json.dumps([{"function": {"name": "f", "arguments": ""}}]),
        [{"name": "f", "arguments": {}}],
    ),
    ("openai", '{"role": "assistant", "content": "Hi", "tool_calls": null}', []),
    ("openai", '{"tool_calls": []}', []),
    # Anthropic: the message, its content, one block
    ("anthropic", json.dumps({"role": "assistant", "content": [THOUGHT, F1_ANTHROPIC]}), [F1]),
    ("anthropic", json.dumps([F1_ANTHROPIC, F1_ANTHROPIC]), [F1, F1]),
    ("anthropic", json.dumps(F1_ANTHROPIC), [F1]),
    ("anthropic", json.dumps({"role": "assistant", "content": [THOUGHT]}), []),
    # Hermes: tags, text around them, the last one perhaps cut by a stop text
    ("hermes", f"<tool_call>\n{F1_TEXT}\n</tool_call>", [F1]),
    ("hermes", f"<tool_call>{F1_TEXT}</tool_call>\n<tool_call>{G2_TEXT}</tool_call>", [F1, G2]),
    ("hermes", f"I look.\n<tool_call>{F1_TEXT}</tool_call> Done.", [F1]),
    ("hermes", f"<tool_call>\n{F1_TEXT}\n", [F1]),
    ("hermes", f"<tool_call>{F1_TEXT}</tool_call><|im_end|>", [F1]),
    (
        "hermes",
        '<tool_call>{"name": "f", "arguments": {"a": "</tool_call>"}}</tool_call>',
        [{"name": "f", "arguments": {"a": "</tool_call>"}}],
    ),
    # Llama 3: "parameters", with the tag or without, several with semicolons, built-in tools
    ("llama3", f"<|python_tag|>{F1_LLAMA}", [F1]),
    ("llama3", f"<|python_tag|>{F1_LLAMA}; {G2_LLAMA}<|eom_id|>", [F1, G2]),
    ("llama3", F1_LLAMA, [F1]),
    ("llama3", f"{F1_LLAMA};{G2_LLAMA}", [F1, G2]),
    (
        "llama3",
        '<|python_tag|>brave_search.call(query="rain")',
        [{"name": "brave_search.call", "arguments": {"query": "rain"}}],
    ),
    # Mistral: an array after the marker; since v11 name and object, the marker before each
    ("mistral", f"[TOOL_CALLS] [{F1_TEXT}]", [F1]),
    ("mistral", f"[TOOL_CALLS][{F1_TEXT}, {G2_TEXT}]</s>", [F1, G2]),
    ("mistral", f"Sure.[TOOL_CALLS] [{F1_TEXT}]", [F1]),
    ("mistral", '[TOOL_CALLS]f{"a": 1}[TOOL_CALLS]g.h{"b": "x"}', [F1, G2]),
    ("mistral", '[TOOL_CALLS]f[ARGS]{"a": 1}', [F1]),
    ("mistral", '[TOOL_CALLS]f[CALL_ID]x1y2z3[ARGS]{"a": 1}</s>', [F1]),
    ("mistral", 'f{"a": 1}', [F1]),  # decoders drop the marker, which is a special token
    ("mistral", 'f{"a": 1}g.h{"b": "x"}', [F1, G2]),
    ("mistral", '[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}, "id": "x1y2z3"}]', [F1]),
    # Plain JSON
    ("json", F1_TEXT, [F1]),
    ("json", f" [{F1_TEXT},\n {G2_TEXT}]\n", [F1, G2]),
    ("json", f"[{F1_LLAMA}]", [F1]),
    # Python calls: the whole text, in brackets or not, literals only
    ("python", "[f(a=1)]", [F1]),
    ("python", 'f(a=1), g.h(b="x")', [F1, G2]),
    ("python", "[f(a=1),\n g.h(b='x'),]", [F1, G2]),
    ("python", "[f()]", [{"name": "f", "arguments": {}}]),
    (
        "python",
        "f(a=-1.5, b=True, c=None, d=[1, (2,)], e={'k': {}})",
        [{**F1, "arguments": {"a": -1.5, "b": True, "c": None, "d": [1, [2]], "e": {"k": {}}}}],
    ),
    (
        "python",
        r"f(a='\d', b='x' 'y', c='ä')",
        [{"name": "f", "arguments": {"a": r"\d", "b": "xy", "c": "ä"}}],
    ),
]


@pytest.mark.parametrize(("syntax", "text", "calls"), READABLE)
def test_each_syntax_is_recognised(syntax: str, text: str, calls: list[Any]) -> None:
    """`auto` names the syntax and reads the calls in their order."""
    reading = parse_tool_calls(text, "auto")

    assert (reading.syntax, reading.problem) == (syntax, None)
    assert called(text) == calls


@pytest.mark.parametrize(("syntax", "text", "calls"), READABLE)
def test_a_named_syntax_reads_the_same(syntax: Any, text: str, calls: list[Any]) -> None:
    assert called(text, syntax) == calls


@pytest.mark.parametrize(("syntax", "text", "calls"), READABLE)
def test_a_named_syntax_reads_no_other(syntax: str, text: str, calls: list[Any]) -> None:
    plain = {"json", "llama3", "mistral"}  # each has an unmarked form of plain JSON
    others: list[Any] = [s for s in SYNTAXES if s != syntax and not {s, syntax} <= plain]

    assert [called(text, other) for other in others] == [[]] * len(others)


NO_CALL = [
    "",
    "  \n",
    "It rains in Rome.",
    "Sure (I can).",
    "[1] says so, [2] does not.",
    "[Rome](https://a.org)",
    "f",
    "f.g",
    "1 + 1",
    "{}",
    "[]",
    "null",
    '"f(a=1)"',
    '{"answer": 3}',
    '{"name": "Ada"}',
    '[{"name": "Ada"}, {"name": "Bob"}]',
    '{"content": "Hi", "role": "assistant"}',
    "```python\nf(a=1)\n```",  # a program that reads calls does not look into fences
    "Here: f(a=1)",
    f"Here: {F1_TEXT}",
    "TOOL_CALLS",
    "</tool_call>",
]


@pytest.mark.parametrize("text", NO_CALL)
def test_other_texts_make_no_call(text: str) -> None:
    reading = parse_tool_calls(text, "auto")

    assert reading.calls == ()
    assert reading.problem is None


BROKEN = [
    ('<tool_call>{"name": "f", "arguments": {"a": 1}</tool_call>', "hermes"),
    ("<tool_call>", "hermes"),
    ("<tool_call>f(a=1)</tool_call>", "hermes"),
    (f"<tool_call>{F1_TEXT} and so on</tool_call>", "hermes"),
    ('<tool_call>{"name": "f"}</tool_call>', "hermes"),
    ('<tool_call>{"name": "f", "arguments": []}</tool_call>', "hermes"),
    ('<tool_call>{"name": "f", "arguments": {"a": 1, "a": 2}}</tool_call>', "hermes"),
    ('<tool_call>{"name": "f", "arguments": {"a": NaN}}</tool_call>', "hermes"),
    ("<|python_tag|>", "llama3"),
    ("<|python_tag|>import os", "llama3"),
    (f"<|python_tag|>{F1_LLAMA} then {G2_LLAMA}", "llama3"),
    ('{"name": "f", "parameters": 3}', "llama3"),
    ("[TOOL_CALLS]", "mistral"),
    ("[TOOL_CALLS] [1]", "mistral"),
    ("[TOOL_CALLS]f[ARGS]", "mistral"),
    ('[TOOL_CALLS]f{"a": 1', "mistral"),
    ('[TOOL_CALLS]f{"a": 1} and so on', "mistral"),
    ('{"tool_calls": 3}', "openai"),
    ('{"tool_calls": [{"function": {"name": "f"}}]}', "openai"),
    ('{"name": "f", "arguments": "{\'a\': 1}"}', "openai"),
    ('{"name": "f", "arguments": "[1]"}', "openai"),
    ('[{"type": "tool_use", "name": "f"}]', "anthropic"),
    ('[{"type": "tool_use", "name": 3, "input": {}}]', "anthropic"),
    ('{"name": "", "arguments": {}}', "json"),
    (f"[{F1_TEXT}, 3]", "json"),
    ('{"name": "f", "arguments": {"a": 1}', "json"),
    ("f(1)", "python"),
    ("f(**a)", "python"),
    ("f(a=1, a=2)", "python"),
    ("f(a=b)", "python"),
    ("f(a=g(b=1))", "python"),
    ("f(a=1+1)", "python"),
    ("f(a=1j)", "python"),
    ("f(a=b'x')", "python"),
    ("f(a={1})", "python"),
    ("f(a={1: 2})", "python"),
    ("f(a=...)", "python"),
    ("f(a=1e999)", "python"),
    ("f(a=0x" + "f" * 9000 + ")", "python"),
    ("f(a=f'{b}')", "python"),
    ("f(a=__import__('os').getcwd())", "python"),
    ("f()(a=1)", "python"),
    ("f(a=1), 3", "python"),
    ('f(a="x', "python"),
    ("f(a=" + "[" * 500, "python"),
    ("f(a=" + "-" * 50_000 + "1)", "python"),
    ("f(a='" + "x" * 100_000 + "')", "python"),
]


@pytest.mark.parametrize(("text", "syntax"), BROKEN, ids=[row[0][:40] for row in BROKEN])
def test_an_attempt_that_cannot_be_read_is_told_apart(text: str, syntax: str) -> None:
    reading = parse_tool_calls(text, "auto")

    assert (reading.syntax, reading.calls) == (syntax, ())
    assert 0 < len(str(reading.problem)) < 400


PIECES = st.sampled_from(
    [
        *("<tool_call>", "</tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
        *(F1_TEXT, F1_LLAMA, json.dumps(F1_OPENAI), json.dumps(F1_ANTHROPIC), "f", "a=", "</s>"),
        *"()[]{},;:\"'\\. \n1*-\0\ud800",
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join), st.sampled_from(["auto", *SYNTAXES]))
def test_any_soup_of_markers_is_read(text: str, syntax: Any) -> None:
    """Nor does what looks like calls; a problem leaves no calls behind."""
    reading = parse_tool_calls(text, syntax)

    assert not (reading.calls and reading.problem)


@given(st.dictionaries(st.text("abc", min_size=1), st.integers() | st.text() | st.booleans()))
def test_every_syntax_carries_the_same_arguments(arguments: dict[str, Any]) -> None:
    plain = json.dumps({"name": "f", "arguments": arguments})
    openai = {"function": {"name": "f", "arguments": json.dumps(arguments)}}
    anthropic = {"type": "tool_use", "name": "f", "input": arguments}
    named = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    texts = [
        plain,
        json.dumps({"tool_calls": [openai]}),
        json.dumps([anthropic]),
        f"<tool_call>{plain}</tool_call>",
        f"<|python_tag|>{plain}",
        f"[TOOL_CALLS]f{json.dumps(arguments)}",
        f"[f({named})]",
    ]

    assert [called(text) for text in texts] == [[{"name": "f", "arguments": arguments}]] * 7


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>" * 9_000,
        f"<tool_call>{F1_TEXT}" * 2_000,
        "[TOOL_CALLS]" * 8_000,
        "[TOOL_CALLS]" + 'f{"a": 1}' * 10_000,
        'f{"a": 1}' * 10_000 + "x",
        "[TOOL_CALLS]" + "f" * 100_000,
        "[TOOL_CALLS]f[CALL_ID]" + "x" * 100_000,
        "<|python_tag|>" + f"{F1_LLAMA};" * 2_500,
        "<|python_tag|>" * 7_000,
        "f(" * 50_000,
        "f(a=1), " * 12_000,
        "a." * 50_000,
        "[" + " " * 100_000,
        '{ "' + " " * 100_000,
        "</s>" * 25_000,
        json.dumps([F1] * 2_500),
    ],
    ids=lambda text: repr(text[:16]),
)
def test_a_long_text_takes_no_time(text: str) -> None:
    start = time.process_time()
    for syntax in ("auto", *SYNTAXES):
        parse_tool_calls(text, syntax)

    assert time.process_time() - start < 5
