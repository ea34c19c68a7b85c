"""How families of models write their tool calls: the styles of `benchmarks.bfcl_agreement`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Call = tuple[str, dict[str, Any]]
Writer = Callable[[Sequence[Call]], str]


@dataclass(frozen=True, slots=True)
class OutputStyle:
    """How a family of models writes its calls."""

    write: Writer
    decoder: str | None = None
    """The leaderboard's handler for the style; None if it has none."""
    extract: str = "strict"
    """The setting that reads what the handler reads."""
    typed: bool = True
    """Whether the style distinguishes the number 5 from the text "5"."""


def _objects(calls: Sequence[Call], key: str = "arguments") -> list[dict[str, Any]]:
    return [{"name": name, key: arguments} for name, arguments in calls]


def _json(calls: Sequence[Call]) -> str:
    return json.dumps(_objects(calls), ensure_ascii=False)


def _python_calls(calls: Sequence[Call]) -> list[str]:
    return [
        f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
        for name, arguments in calls
    ]


def _python(calls: Sequence[Call]) -> str:
    return f"[{', '.join(_python_calls(calls))}]"


def _each(form: str, between: str = "\n") -> Writer:
    """Return a writer that fills a form with name and arguments of each call."""
    return lambda calls: between.join(
        form.replace("NAME", name).replace("ARGS", json.dumps(arguments, ensure_ascii=False))
        for name, arguments in calls
    )


def _around(before: str, write: Writer, after: str = "") -> Writer:
    return lambda calls: f"{before}{write(calls)}{after}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _elements(opening: str, pair: str, closing: str, between: str = "\n") -> Writer:
    """Return a writer of XML with the texts of values."""
    return lambda calls: between.join(
        opening.replace("NAME", name)
        + "".join(
            pair.replace("KEY", key).replace("VALUE", _text(value))
            for key, value in arguments.items()
        )
        + closing
        for name, arguments in calls
    )


def _bfcl_xml(calls: Sequence[Call], *, verbose: bool) -> str:
    kinds = {bool: "boolean", int: "integer", float: "float", list: "array", dict: "dict"}
    functions = []
    for name, arguments in calls:
        parts = []
        for key, value in arguments.items():
            kind = kinds.get(type(value), "string")
            text = escape(value if isinstance(value, str) else repr(value))
            parts.append(
                f'<param name="{key}" value="{text}" type="{kind}"/>'
                if verbose
                else f'<param name="{key}" type="{kind}">{text}</param>'
            )
        inside = f"<params>{''.join(parts)}</params>" if verbose else "".join(parts)
        functions.append(f'<function name="{name}">{inside}</function>')
    return f"<functions>{''.join(functions)}</functions>"


def _gemma(calls: Sequence[Call]) -> str:
    return "".join(
        f"<start_function_call>call:{name}{_gemma_value(arguments)}<end_function_call>"
        for name, arguments in calls
    )


def _gemma_value(value: Any) -> str:
    if isinstance(value, str):
        return f"<escape>{value}<escape>"
    if isinstance(value, list):
        return f"[{','.join(map(_gemma_value, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_gemma_value(one)}' for key, one in value.items())}}}"
    return json.dumps(value)


def _openai(calls: Sequence[Call]) -> str:
    entries = [
        {"type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for name, arguments in calls
    ]
    return json.dumps({"role": "assistant", "content": None, "tool_calls": entries})


def _fenced_each(calls: Sequence[Call]) -> str:
    return "\n\n".join(f"```json\n{json.dumps(one)}\n```" for one in _objects(calls))


STYLES: Mapping[str, OutputStyle] = {
    "python list": OutputStyle(_python, "prompting"),
    "python, unlabelled fence": OutputStyle(
        _around("```\n", _python, "\n```"), "prompting", "fence"
    ),
    "python, labelled fence": OutputStyle(_around("```python\n", _python, "\n```"), "phi", "fence"),
    "python in prose": OutputStyle(
        _around("I will call: ", _python, "\nThis answers it."), "prompting"
    ),
    "python, a line each": OutputStyle(
        lambda calls: "Calls:\n" + "\n".join(_python_calls(calls)), "prompting"
    ),
    "python in TOOLCALL tags": OutputStyle(
        _around("<TOOLCALL>", _python, "</TOOLCALL>"), "TOOLCALL"
    ),
    "JSON list": OutputStyle(_json, "xlam"),
    "JSON, unlabelled fence": OutputStyle(_around("```\n", _json, "\n```"), "hammer", "fence"),
    "JSON, labelled fence": OutputStyle(_around("```json\n", _json, "\n```"), None, "fence"),
    "JSON, several fences": OutputStyle(_fenced_each),
    "JSON in prose": OutputStyle(_around("Sure: ", _json, " Let me know!")),
    "JSON, function and parameters": OutputStyle(
        lambda calls: json.dumps([{"function": n, "parameters": a} for n, a in calls]),
        "JSON",
        "prose",
    ),
    "JSON, tool and args": OutputStyle(
        lambda calls: json.dumps([{"tool": n, "args": a} for n, a in calls])
    ),
    "JSON, name as key": OutputStyle(lambda calls: json.dumps([{n: a} for n, a in calls])),
    "OpenAI message": OutputStyle(_openai),
    "Anthropic blocks": OutputStyle(
        lambda calls: json.dumps(
            [{"type": "tool_use", "id": "t", "name": n, "input": a} for n, a in calls]
        )
    ),
    "Hermes": OutputStyle(
        _each('<tool_call>\n{"name": "NAME", "arguments": ARGS}\n</tool_call>'), "qwen"
    ),
    "Hermes, one list": OutputStyle(_around("<tool_call>\n", _json, "\n</tool_call>"), "falcon"),
    "Llama 3": OutputStyle(
        _around("<|python_tag|>", _each('{"name": "NAME", "parameters": ARGS}', "; ")), "llama"
    ),
    "Mistral": OutputStyle(_around("[TOOL_CALLS] ", _json, "</s>")),
    "Mistral v11": OutputStyle(_each("[TOOL_CALLS]NAME[\0]ARGS", "")),
    "Granite": OutputStyle(_around("<|tool_call|>", _json)),
    "Phi functools": OutputStyle(_around("functools", _json)),
    "GLM 4": OutputStyle(_each("NAME\nARGS"), "glm"),
    "GLM 4.5": OutputStyle(
        _elements(
            "<tool_call>NAME\n",
            "<arg_key>KEY</arg_key>\n<arg_value>VALUE</arg_value>\n",
            "</tool_call>",
        ),
        typed=False,
    ),
    "Qwen-Coder": OutputStyle(
        _elements(
            "<tool_call>\n<function=NAME>\n",
            "<parameter=KEY>\nVALUE\n</parameter>\n",
            "</function>\n</tool_call>",
        ),
        typed=False,
    ),
    "Claude XML": OutputStyle(
        _elements(
            '<invoke name="NAME">\n', '<parameter name="KEY">VALUE</parameter>\n', "</invoke>"
        ),
        typed=False,
    ),
    "leaderboard XML, verbose": OutputStyle(
        lambda calls: _bfcl_xml(calls, verbose=True), "VERBOSE_XML", typed=False
    ),
    "leaderboard XML, concise": OutputStyle(
        lambda calls: _bfcl_xml(calls, verbose=False), "CONCISE_XML", typed=False
    ),
    "FunctionGemma": OutputStyle(_gemma, "functiongemma"),
    "DeepSeek": OutputStyle(
        _each(
            "<\uff5ctool\u2581call\u2581begin\uff5c>function<\uff5ctool\u2581sep\uff5c>NAME\n"
            "```json\nARGS\n```<\uff5ctool\u2581call\u2581end\uff5c>"
        )
    ),
    "Kimi": OutputStyle(
        _around(
            "<|tool_calls_section_begin|>",
            _each(
                "<|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>ARGS"
                "<|tool_call_end|>"
            ),
        )
    ),
    "gpt-oss": OutputStyle(
        _each("<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>ARGS<|call|>")
    ),
    "Functionary": OutputStyle(_each(">>>NAME\nARGS")),
    "ReAct": OutputStyle(_each("Thought: I need it.\nAction: NAME\nAction Input: ARGS")),
    "reasoning, then Hermes": OutputStyle(
        _around(
            "<think>\nWhich tool?\n</think>\n\n",
            _each('<tool_call>\n{"name": "NAME", "arguments": ARGS}\n</tool_call>'),
        ),
        "qwen",
    ),
}
