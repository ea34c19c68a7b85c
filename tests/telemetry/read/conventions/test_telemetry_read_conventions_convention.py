"""Declared conventions: what each form of a path reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.made_spans import made_span
from tunegate.harness.telemetry.read.conventions import ai_sdk, logfire, traceai
from tunegate.harness.telemetry.read.conventions._convention import Convention, structure, value_of

TOOL = {"type": "function", "function": {"name": "weather"}}


def test_a_convention_reads_the_first_path_that_holds_something() -> None:
    convention = Convention(
        name="acme",
        request=("acme.prompt.*", "acme.request"),
        settings=("acme.request",),
        single_settings={"seed": "acme.seed", "temperature": "acme.heat"},
        reply=("acme.reply",),
        model=("acme.model", "acme.request#model"),
        usage=("acme.usage",),
    )
    request = {
        "model": "small",
        "temperature": 0.5,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Rain?"}],
        "tools": [TOOL],
    }
    values = {
        "acme.model": "",
        "acme.request": json.dumps(request),
        "acme.seed": 7,
        "acme.heat": 1,
        "acme.reply": json.dumps({"choices": [{"message": {"content": "No."}}]}),
        "acme.usage": {"input_tokens": 11},
    }

    call = convention.call(made_span(values))

    assert [message["content"] for message in call.messages] == ["Be brief.", "Rain?"]
    assert (call.tools, call.parameters) == ((TOOL,), {"seed": 7, "temperature": 0.5})
    assert (call.answer, call.model, call.input_tokens) == ("No.", "small", 11)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.json", {"b": 1}),
        ("a.json#b", 1),
        ("a.json#c", None),
        ("a.list.*", ["first", "tenth"]),
        ("a.mixed.*", ["first"]),
        ("a.missing", None),
        ("a.missing.*", None),
        (structure("a.cut"), None),
        (len, 6),
    ],
)
def test_a_path_leads_to_a_value(path: Any, value: Any) -> None:
    attributes = {
        "a.json": '{"b": 1}',
        "a.list.9": "tenth",
        "a.list.0": "first",
        "a.mixed.0": "first",
        "a.mixed.filter": "none",
        "a.cut": '[{"role": "us',
    }

    assert value_of(attributes, path) == value


@pytest.mark.parametrize(
    ("convention", "name"), [(ai_sdk, "ai.prompt.messages"), (logfire, "request_data")]
)
def test_a_request_that_was_cut_off_is_no_prompt(convention: Any, name: str) -> None:
    call = convention.call(made_span({name: '[{"role": "user", "content": "Whe'}))

    assert (call.messages, call.unreplayable) == ((), "no content was captured")


def test_settings_that_were_cut_off_lose_the_settings_alone() -> None:
    values = {
        "gen_ai.request.parameters": '{"temperature": 0.',
        "gen_ai.input.messages.0.message.content": "Rain?",
    }

    call = traceai.call(made_span(values))

    assert (call.messages, call.parameters) == (({"role": "user", "content": "Rain?"},), {})
