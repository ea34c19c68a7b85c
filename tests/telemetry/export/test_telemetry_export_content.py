"""Prompts and answers as the conventions have them, and what redaction leaves of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.telemetry.export.content import (
    REDACTED,
    ContentCapture,
    case_with_system,
    input_messages,
    output_messages,
    tool_definitions,
)
from tunegate.harness.telemetry.export.redaction import scrub_text

CALL = {"name": "weather", "arguments": '{"city": "Rome"}'}


def test_messages_become_parts() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Rain?"}], "name": "ann"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": CALL}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "dry"},
    ]
    assert input_messages(turns) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Rain?"}], "name": "ann"},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "1", **CALL}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": "dry"}]},
    ]


def test_other_parts_are_kept() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    (turn,) = input_messages([{"role": "user", "content": [image]}])
    assert turn["parts"] == [image]


def test_an_image_is_a_reference() -> None:
    image = {"type": "image", "image": "receipts/1.png", "sha256": "ab"}
    (turn,) = input_messages([{"role": "user", "content": [image]}])
    assert turn["parts"] == [
        {"type": "uri", "modality": "image", "uri": "receipts/1.png", "sha256": "ab"}
    ]


def test_an_answer_always_has_a_finish_reason() -> None:
    (done,) = output_messages(Completion(text="yes", finish_reason="stop"))
    assert done == {
        "role": "assistant",
        "parts": [{"type": "text", "content": "yes"}],
        "finish_reason": "stop",
    }
    assert output_messages(Completion(text=""))[0]["finish_reason"] == "unknown"


def test_thoughts_are_a_reasoning_part() -> None:
    (done,) = output_messages(Completion(text="yes", reasoning="Hm.", reasoning_closed=True))

    assert done["parts"] == [
        {"type": "reasoning", "content": "Hm."},
        {"type": "text", "content": "yes"},
    ]


FLAT = {"name": "f", "parameters": {}}


@pytest.mark.parametrize("tool", [FLAT, {"type": "function", "function": FLAT}])
def test_tool_definitions_are_flat(tool: dict[str, Any]) -> None:
    assert tool_definitions([tool]) == [{"type": "function", **FLAT}]


def test_keys_keep_their_order() -> None:
    """A template writes tools as they stand: sorted keys would be another prompt."""
    tool = {"name": "f", "description": "d", "parameters": {"z": 1, "a": float("nan")}}
    assert ContentCapture().json(tool_definitions([tool])) == (
        '[{"type":"function","name":"f","description":"d","parameters":{"z":1,"a":null}}]'
    )


def test_a_case_as_it_was_seen_gives_the_same_conversation() -> None:
    """The suite's system prompt is in it, so that it can be asked again without the suite."""
    case = Case(id="a", prompt="Hi")
    shown = case_with_system(case, {"system": "Be kind.", "template": "chat"})
    assert shown.input_messages() == case.input_messages("Be kind.")
    assert case_with_system(case, {"system": None}) is case
    raw = case_with_system(case, {"system": "Be kind.", "template": "none"})
    assert raw.prompt == "Be kind.\n\nHi"  # as tunegate.harness.models._chat_template joins them


TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"z": {}}}}
TURNS = (
    {"role": "user", "content": "Rain in Rome? \N{UMBRELLA} \x00 \u2028"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": CALL}]},
    {"role": "tool", "tool_call_id": "1", "content": "dry"},
    {"role": "user", "content": [{"type": "text", "text": "Sure?"}]},
)
ASKED = (
    Case(id="c1", prompt="Hi", expected="yes", tags=("a",)),
    Case(id="c1", messages=TURNS, tools=(TOOL,), stop=("#",)),
    Case(id="c1", messages=({"role": "system", "content": "Own."}, TURNS[0]), tools=(FLAT,)),
    Case(id="c1", prompt="2 + 2 =", choices=("3", "4"), answer=1, delimiter=""),
)
TEMPLATE = (
    "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}<{{ m.role }}>"
    "{{ 'nothing' if m.content is none else m.content }}{{ m.tool_calls }}{% endfor %}"
)


@pytest.mark.parametrize("case", ASKED)
@pytest.mark.parametrize("system", [None, "Be kind."])
def test_the_traced_case_renders_to_the_same_prompt(
    written: Any, recorded: Any, case: Case, system: str | None
) -> None:
    import jinja2

    suite = recorded.manifest.suites[0]
    told = suite.model_copy(update={"generation": {**suite.generation, "system": system}})
    manifest = recorded.manifest.model_copy(update={"suites": (told,)})
    made = written(ContentCapture(), manifest=manifest, cases={("s", "c1"): case})
    (span, _) = made.named("eval case")

    again = Case.model_validate(json.loads(span["values"]["tunegate.case.content"]))

    template = jinja2.Environment(autoescape=False).from_string(TEMPLATE)
    template.environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    rendered = [
        template.render(messages=turns, tools=tools)
        for turns, tools in (
            (case.input_messages(system), case.tools),
            (again.input_messages(), again.tools),
        )
    ]
    assert rendered[0] == rendered[1]
    assert (again.choices, again.answer, again.delimiter) == (
        case.choices, case.answer, case.delimiter,
    )  # fmt: skip


def test_redaction_reaches_every_text() -> None:
    """Also within lists, arguments and schemas; names of fields and numbers stay."""
    content = ContentCapture(scrub_text)
    value = {"a@b.io": ["mail a@b.io", 3, None, {"x": "call +49 30 901820"}]}
    assert json.loads(content.json(value)) == {
        "a@b.io": ["mail <email>", 3, None, {"x": "call <phone>"}]
    }
    assert ContentCapture(None).clean(value) is value


@pytest.mark.parametrize("broken", [lambda text: 1 / 0, lambda text: None, lambda text: 7])
def test_a_redaction_that_fails_shows_nothing(broken: Any) -> None:
    content = ContentCapture(broken)
    assert content.clean(["a secret", "another"]) == [REDACTED, REDACTED]
    assert content.failed == 2


def test_what_is_redacted_is_in_no_file(written: Any, recorded: Any) -> None:
    def masked(text: str) -> str:
        return "".join("x" if sign.isalpha() else sign for sign in text)

    made = written(ContentCapture(masked))
    for name in ("traces.jsonl", "logs.jsonl"):
        text = (made.folder / name).read_text(encoding="utf-8")
        assert "secret" not in text
        assert "ponder" not in text
    values = made.cells[recorded.cells[0].cell.key]["values"]
    assert json.loads(values["gen_ai.input.messages"])[0]["parts"][0]["content"] == "xxx xxxxxx"
