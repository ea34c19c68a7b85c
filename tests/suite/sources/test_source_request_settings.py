"""Settings of recorded requests: what their cases keep, and notes on the rest."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.suite.sources._request_settings import (
    GREEDY,
    NAMES,
    SettingsTransfer,
    choose_settings,
)

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("greedy", ("max_tokens", "stop", "tool_choice", "response_format")),
        ("recorded", (*GREEDY, "temperature", "top_p")),
        ("none", ()),
        ("stop", ("stop",)),
        (("top_p", "stop"), ("top_p", "stop")),
    ],
)
def test_which_settings_are_meant(given: Any, expected: tuple[str, ...]) -> None:
    assert choose_settings(given) == expected


def test_an_unknown_setting_is_told_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown setting 'record'; did you mean 'recorded'"):
        choose_settings("record")
    with pytest.raises(ValueError, match="unknown setting 'max_token'; did you mean 'max_tokens'"):
        choose_settings(("stop", "max_token"))


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({"max_tokens": 40}, {"max_new_tokens": 40}),
        ({"max_tokens": 40.0}, {"max_new_tokens": 40}),
        ({"max_tokens": 0}, {}),
        ({"max_tokens": True}, {}),
        ({"max_tokens": float("inf")}, {}),
        ({"max_tokens": "40"}, {}),
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": ["a", "", 3]}, {"stop": ["a"]}),
        ({"stop": [None]}, {}),
        ({"temperature": 0.7, "top_p": 0.9}, {"temperature": 0.7, "top_p": 0.9}),
        ({"temperature": 0, "top_p": 1}, {"temperature": 0.0, "top_p": 1.0}),
        ({"temperature": -1, "top_p": 0}, {}),
        ({"temperature": float("nan"), "top_p": float("nan")}, {}),
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        ({"tool_choice": "auto"}, {}),
        ({"response_format": SCHEMA}, {"response_format": SCHEMA}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {}),
        ({"seed": 7, "frequency_penalty": 0.5}, {}),
    ],
)
def test_what_a_case_keeps(asked: dict[str, Any], kept: dict[str, Any]) -> None:
    """Valid settings are kept; invalid values and defaults are left out."""
    assert SettingsTransfer(NAMES).take(asked, {"prompt": "Hi", "tools": TOOLS}) == kept


def test_a_choice_needs_tools_and_an_object_the_word_json() -> None:
    """OpenAI refuses the one without the other; a recorded object without the word was a schema."""
    settings = SettingsTransfer(NAMES)

    assert settings.take({"tool_choice": "required"}, {"prompt": "Hi"}) == {}
    asked = {"messages": [{"role": "user", "content": "As JSON, please."}]}
    form = {"response_format": {"type": "json_object"}}
    assert settings.take(form, asked) == form
    assert settings.take(form, {"prompt": "Hi"}) == {}
    assert (
        list(settings.sentences())[-2]
        == "settings not taken over: response_format (1), tool_choice (1)"
    )


def notes_on(names: tuple[str, ...], *asked: dict[str, Any]) -> list[str]:
    settings = SettingsTransfer(names)
    for parameters in asked:
        settings.take(parameters, {"prompt": "Hi", "tools": TOOLS})
    return list(settings.sentences())


def test_sampled_calls_are_counted() -> None:
    asked = [{"temperature": 0.7}, {"temperature": 0}, {"temperature": 1.0}, {"max_tokens": 9}]

    greedy, sampled = notes_on(GREEDY, *asked), notes_on(NAMES, *asked)

    assert greedy == [
        "settings kept: max_tokens (1)",
        "sampled in production: 3 of 4 calls (temperature 0.7 to 1, 1 at one that was not "
        "recorded); asked greedily, so that no chance separates the arms "
        '(settings = "recorded" samples, too)',
    ]
    assert sampled == [
        "settings kept: temperature (3), max_tokens (1)",
        "sampled as recorded: 2 of 4 calls (temperature 0.7 to 1)",
        "sampled at a temperature that was not recorded: 1 of 4 calls; asked with the settings of "
        "[generation]",
    ]


def test_greedy_calls_need_no_note() -> None:
    neutral = {"temperature": 0, "n": 1, "frequency_penalty": 0.0, "tool_choice": "auto"}

    assert notes_on(GREEDY, neutral) == []


def test_what_cannot_be_kept_is_named() -> None:
    many = {f"setting_{n}": 1 for n in range(12)}

    notes = notes_on(GREEDY, {"temperature": 0, "seed": 1, "n": 2}, {"temperature": 0, "seed": 2})

    assert notes == ["settings not taken over: seed (2), n (1)"]
    assert notes_on(GREEDY, {"temperature": 0, **many})[0].endswith("setting_5 (1), and 4 more")


def test_what_binds_chat_apis_only_is_told() -> None:
    asked = {"temperature": 0, "tool_choice": "required", "response_format": SCHEMA}

    assert notes_on(GREEDY, asked)[-1].startswith(
        "tool_choice and response_format only bind chat APIs"
    )
    assert len(notes_on((), asked)) == 1


def test_a_setting_that_the_recorder_would_not_write_is_named_where_it_could_matter() -> None:
    told = SettingsTransfer(GREEDY)
    gone = {"tool_choice", "stop", "top_p"}

    told.take({"temperature": 0}, {"prompt": "a"}, gone)
    told.take({"temperature": 0}, {"prompt": "a", "tools": [{}]}, gone)

    assert list(told.sentences()) == [
        "settings that the recorder does not write: stop (2), tool_choice (1); "
        "where production set them, the cases lack them"
    ]
