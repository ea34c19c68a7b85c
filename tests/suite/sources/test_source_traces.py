"""Cases from traces: which calls, in what form, and what is left out with its reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite
from tunegate.harness.records.cases import Case
from tunegate.harness.suite.sources._replayed_call import NO_TOOLS
from tunegate.harness.suite.sources.traces import (
    ProductionCases,
    TraceSelection,
    collect_cases,
    traces,
)

TABLE = 'from = "traces"\nfile = "traces.jsonl"\n'
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Look out",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def said(role: str, *parts: str | dict[str, Any]) -> dict[str, Any]:
    return {
        "role": role,
        "parts": [
            {"type": "text", "content": part} if isinstance(part, str) else part for part in parts
        ],
    }


def chat(*asked: Any, answer: Any = "Yes.", tools: Any = None, **more: Any) -> dict[str, Any]:
    """Return the attributes of a call: texts are the user's turns."""
    turns = [said("user", turn) if isinstance(turn, str) else turn for turn in asked]
    found = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.input.messages": json.dumps(turns),
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    if answer is not None:
        told = said("assistant", answer) | {"finish_reason": "stop"}
        found["gen_ai.output.messages"] = json.dumps([told])
    if tools:
        found["gen_ai.tool.definitions"] = json.dumps(tools)
    return found


KINDS = {str: "stringValue", int: "intValue"}


@pytest.fixture(name="traced")
def _traced(tmp_path: Path) -> Callable[..., Path]:
    def write(*calls: dict[str, Any], scope: str = "x", name: str = "traces.jsonl") -> Path:
        lines = []
        for number, known in enumerate(calls, start=1):
            known = dict(known)
            span = {
                "traceId": f"{known.pop('trace', number):032x}",
                "spanId": f"{number:016x}",
                "parentSpanId": known.pop("parent", ""),
                "name": known.pop("span", "chat"),
                "startTimeUnixNano": str(known.pop("at", 1_764_000_000) * 10**9),
                "endTimeUnixNano": str(1_764_000_001 * 10**9),
                "attributes": [
                    {"key": key, "value": {KINDS[type(value)]: value}}
                    for key, value in known.items()
                ],
            }
            scopes = [{"scope": {"name": scope}, "spans": [span]}]
            lines.append(json.dumps({"resourceSpans": [{"scopeSpans": scopes}]}))
        path = tmp_path / name
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return write


Traced = Callable[..., Path]
Load = Callable[[str], list[Case]]


def test_a_call_becomes_a_case(traced: Traced, cases: Load) -> None:
    traced(
        chat("Is it open?", trace=7, http__route="/chat"),
        chat(said("system", "Be brief."), "And now?", trace=7),
    )

    first, second = cases(TABLE)

    assert first.model_dump(exclude_defaults=True) == {
        "id": "0000000000000001",
        "prompt": "Is it open?",
        "expected": "Yes.",
        "tags": ("gpt-4o", "/chat"),
        "cluster": f"{7:032x}",
    }
    assert second.messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "And now?"},
    )
    assert second.cluster == first.cluster


def test_an_agents_calls_have_their_conversation(traced: Traced, cases: Load) -> None:
    made = {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Bonn"}}
    result = {"type": "tool_call_response", "id": "c1", "response": "rain"}
    traced(
        chat("Rain in Bonn?", answer=made, tools=[WEATHER]),
        chat(
            "Rain in Bonn?",
            said("assistant", made),
            said("tool", result),
            answer="It rains.",
            tools=[WEATHER],
        ),
    )

    first, second = cases(TABLE)

    assert first.expected is None
    assert first.expected_calls == ({"name": "weather", "arguments": {"city": ["Bonn"]}},)
    assert first.tools is not None
    assert first.tools[0]["function"]["name"] == "weather"
    assert second.expected == "It rains."
    assert second.expected_calls == ()
    assert second.messages is not None
    assert second.messages[2]["role"] == "tool"
    assert second.messages[2]["content"] == "rain"


def test_what_was_answered_is_kept_for_the_side_by_side(traced: Traced) -> None:
    """With latency and tokens; a tool call is written as servers' calls are."""
    made = {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Bonn"}}
    path = traced(
        chat("Is it open?", gen_ai__usage__output_tokens=4),
        chat("Rain in Bonn?", answer=made, tools=[WEATHER]),
        chat("Nothing?", answer=None),
    )

    found = collect_cases([path], TraceSelection())
    call = {"name": "weather", "arguments": {"city": "Bonn"}}

    assert [answer.line() for answer in found.recorded] == [
        {
            "id": "0000000000000001",
            "completion": "Yes.",
            "finish_reason": "stop",
            "latency_s": 1.0,
            "output_tokens": 4,
        },
        {
            "id": "0000000000000002",
            "completion": f"<tool_call>{json.dumps(call)}</tool_call>",
            "finish_reason": "stop",
            "latency_s": 1.0,
        },
    ]
    assert found.cases[2].expected is None
    assert list(found.reading.repaired) == [
        "a call whose answer was not recorded: nothing is expected"
    ]


def test_what_cannot_be_asked_again_is_counted(traced: Traced) -> None:
    image = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "AA=="}
    silent = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
    path = traced(chat("Hi"), chat(said("user", image)), silent, silent, {"span": "db.query"})

    reading = collect_cases([path], TraceSelection()).reading

    assert (reading.spans, reading.calls) == (5, 4)
    assert [(reason, n.count, n.first) for reason, n in reading.left_out.items()] == [
        ("a span that is not a model call", 1, f"{path}:5"),
        ("a call that cannot be replayed: an image", 1, f"{path}:2"),
        ("a call that cannot be replayed: no content was captured", 2, f"{path}:3"),
    ]


def test_an_answer_that_ended_in_a_lost_tool_call_expects_nothing(traced: Traced) -> None:
    """Traceloop writes so of a search that OpenAI ran, and traceAI of a streamed call."""
    lost = json.dumps([said("assistant", "I look.") | {"finish_reason": "tool_call"}])
    called = {"gen_ai__output__messages": lost, "answer": None}
    empty = {"answer": ""}

    found = collect_cases([traced(
        chat("a", **called), chat("b", tools=[WEATHER], **called),
        chat("c", tools=[WEATHER], **empty),
    )], TraceSelection())  # fmt: skip

    assert [case.prompt for case in found.cases] == ["b", "c"]
    assert {(case.expected, case.expected_calls) for case in found.cases} == {(None, None)}
    assert [line.id for line in found.recorded] == [found.cases[1].id]
    assert found.reading.left_out[NO_TOOLS].count == 1


def test_identical_prompts_are_asked_once(traced: Traced) -> None:
    """Unless all are to be kept; other tools make another prompt."""
    path = traced(chat("Hi"), chat("Hi", answer="Hey"), chat("Hi", tools=[WEATHER]), chat("Ho"))

    once, all_ = (collect_cases([path], TraceSelection(repeated=how)) for how in ("drop", "keep"))

    assert [sourced.id[-1] for sourced in once.cases] == ["1", "3", "4"]
    assert once.reading.left_out["a call with the same prompt as an earlier one"].count == 1
    assert [sourced.id[-1] for sourced in all_.cases] == ["1", "2", "3", "4"]


def everything(found: ProductionCases) -> str:
    return json.dumps([kept.model_dump(mode="json") for kept in (*found.cases, *found.recorded)])


def test_personal_data_is_scrubbed_unless_it_is_asked_for(traced: Traced) -> None:
    """From prompts, answers, and the arguments of tool calls; identical texts are one prompt."""
    made = {"type": "tool_call", "id": "c1", "name": "mail", "arguments": {"to": "jo@example.org"}}
    path = traced(
        chat("Write to jo@example.org", answer="Sent to jo@example.org"),
        chat("Write to ann@example.org"),
        chat("Do it", answer=made, tools=[{"type": "function", "name": "mail"}]),
        chat("Again?", said("assistant", made), "Again"),
    )

    clean, plain = (
        collect_cases([path], TraceSelection()),
        collect_cases([path], TraceSelection(scrub="none")),
    )

    assert "example.org" not in everything(clean)
    assert clean.cases[0].prompt == "Write to <email>"
    assert len(clean.cases) == 3
    assert everything(plain).count("jo@example.org") == 6
    assert len(plain.cases) == 4


def test_secrets_are_scrubbed_in_json_in_routes_and_behind_the_name_of_an_argument(
    traced: Traced,
) -> None:
    begin, end = (f"-----{word} PRIVATE KEY-----" for word in ("BEGIN", "END"))
    pem = "\n".join([begin, *["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj"] * 4, end])
    made = {"type": "tool_call", "id": "c1", "name": "add"}
    made["arguments"] = {"name": "jo@example.org", "pem": json.dumps({"key": pem})}
    path = traced(
        chat("Add it", answer=made, tools=[{"type": "function", "name": "add"}]),
        chat(json.dumps({"pem": pem}), answer=json.dumps(json.dumps({"pem": pem}))),
        chat("Who?", http__route="/users/jo@example.org/orders"),
    )

    found = collect_cases([path], TraceSelection())

    assert "example.org" not in everything(found)
    assert "MIIE" not in everything(found)
    assert found.cases[2].tags == ("gpt-4o", "/users/<email>/orders")


def test_a_scrub_of_the_users_own(
    traced: Traced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It changes every text; a text it fails on is never shown."""
    (tmp_path / "house_scrub.py").write_text(
        "def scrub(text):\n    if 'secret' in text: raise KeyError(text)\n    return text.upper()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = traced(chat("hello", answer="fine"), chat("a secret"))

    found = collect_cases([path], TraceSelection(scrub="house_scrub:scrub"))

    assert [(s.prompt, s.expected) for s in found.cases] == [("HELLO", "FINE")]
    assert found.reading.left_out["a call on which scrub failed (KeyError)"].first == f"{path}:2"


@pytest.mark.parametrize(
    ("only", "left"),
    [
        ({"model": "gpt-4o"}, "12"),
        ({"model": ["gpt-*", "claude*"], "route": "/b"}, "23"),
        ({"user.tier": "gold"}, "3"),
        ({"day": "2025-11-2?"}, "123"),
    ],
)
def test_only_chooses_by_facets_and_attributes(
    only: dict[str, Any], left: str, traced: Traced
) -> None:
    """All keys must fit; of several patterns one is enough."""
    claude = {"gen_ai.request.model": "claude-3", "http.route": "/b", "user.tier": "gold"}
    path = traced(chat("1", http__route="/a"), chat("2", http__route="/b"), chat("3") | claude)

    found = collect_cases([path], TraceSelection(only=only))

    assert "".join(sourced.id[-1] for sourced in found.cases) == left


def test_a_draw_takes_each_routes_share(traced: Traced, cases: Load) -> None:
    """Of 30, 15 and 5 calls a sample of 10 takes 6, 3 and 1, the same ones each time."""
    routes = ["/a"] * 30 + ["/b"] * 15 + ["/c"] * 5
    traced(*(chat(f"q{n}", http__route=route) for n, route in enumerate(routes)))
    table = TABLE + 'sample = 10\nstratify = ["route"]\n'

    first, again, other = cases(table), cases(table), cases(table + "seed = 1\n")

    assert Counter(case.tags[1] for case in first) == {"/a": 6, "/b": 3, "/c": 1}
    assert first == again
    assert [case.id for case in first] == sorted(case.id for case in first)
    assert {case.id for case in first} != {case.id for case in other}
    assert {c.id for c in cases(TABLE + "sample = 20\n")} > {
        c.id for c in cases(TABLE + "sample = 10\n")
    }


def test_a_sample_larger_than_the_traces_takes_all(traced: Traced, cases: Load) -> None:
    traced(chat("a"), chat("b"))

    assert len(cases(TABLE + "sample = 200\n")) == 2
    assert len(cases(TABLE + "limit = 1\n")) == 1


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("limit = 1\nsample = 1\n", "limit=1 and sample=1: give one of them"),
        ('sample = 1\nstratify = ["rout"]\n', "unknown facet 'rout'; did you mean 'route'?"),
        ('stratify = ["route"]\n', "stratify sets how a sample is drawn; give sample, too"),
        ('settings = "greed"\n', "settings: unknown setting 'greed'; did you mean 'greedy'?"),
        ('scrub = "pi"\n', "scrub='pi' must be 'pii', 'none' or a function, 'pkg.mod:fn'"),
        ('scrub = "no_such_module:fn"\n', "cannot import 'no_such_module'"),
        (
            'only = { model = "llama*" }\n',
            "2 spans, but no call to replay: left out 2: a call that `only` leaves out (first ",
        ),
    ],
)
def test_wrong_options_are_one_line(
    more: str, problem: str, traced: Traced, problems: Callable[[str], list[str]]
) -> None:
    traced(chat("a"), chat("b"))

    (found,) = problems(TABLE + more)

    assert problem in found


def test_a_missing_file_is_one_line(problems: Callable[[str], list[str]]) -> None:
    assert problems(TABLE) == [
        "traces.jsonl: no such file or folder; name trace files, a folder or a pattern"
    ]


def test_what_only_hides_in_json_is_refused_by_the_form_of_a_case(traced: Traced) -> None:
    path = traced(chat("Hi"), chat(said("critic", "No.")))

    found = collect_cases([path], TraceSelection())

    assert len(found.cases) == 1
    assert sum(n.count for n in found.reading.left_out.values()) == 1


def test_a_runs_own_traces_give_its_cases(traced: Traced) -> None:
    """Exactly as they were asked, with tuned's answer; without content they are counted."""
    case = {"id": "refund", "prompt": "Where is it?", "choices": ["a", "b"], "answer": 1}
    own = {"span": "eval case", "test.suite.name": "shop", "trace": 1}
    answered = {"trace": 1, "parent": f"{1:016x}", "tunegate.cell.kind": "generate"}
    path = traced(
        own | {"tunegate.case.content": json.dumps(case)},
        chat("Where is it?", answer="base's") | answered | {"tunegate.arm": "base"},
        chat("Where is it?", answer="tuned's") | answered | {"tunegate.arm": "tuned"},
        own,
        scope="tunegate",
    )

    found = collect_cases([path], TraceSelection())

    (kept,) = [s.model_dump(mode="json", exclude_defaults=True) for s in found.cases]
    assert kept == case
    assert [(line.id, line.text) for line in found.recorded] == [("refund", "tuned's")]
    assert [n.first for n in found.reading.left_out.values()] == [f"{path}:4"]


def of_a_run(trace: int, prompt: str, template: str) -> list[dict[str, Any]]:
    case = {"id": f"case{trace}", "prompt": prompt}
    settings = json.dumps({"template": template, "max_new_tokens": 8})
    return [
        {"span": "eval case", "trace": trace, "tunegate.case.content": json.dumps(case)},
        chat(prompt, answer="Yes.")
        | {"trace": trace, "parent": f"{2 * trace - 1:016x}"}
        | {"tunegate.arm": "tuned", "tunegate.gen.params": settings},
    ]


def test_a_run_without_a_chat_template_is_replayed_without_one(traced: Traced) -> None:
    """The cases tell how their prompts were made, since another way would make other prompts."""
    spans = [*of_a_run(1, "One", "none"), *of_a_run(2, "Two", "none")]
    found = collect_cases([traced(*spans, scope="tunegate")], TraceSelection())
    assert (found.template, len(found.cases)) == ("none", 2)

    spans = [*of_a_run(1, "One", "chat"), *of_a_run(2, "Two", "none")]
    found = collect_cases([path := traced(*spans, scope="tunegate")], TraceSelection())
    assert (found.template, [s.prompt for s in found.cases]) == ("chat", ["One"])
    assert [n.first for n in found.reading.left_out.values()] == [f"{path}:3"]


def test_a_case_keeps_the_settings_of_its_request(traced: Traced, cases: Load) -> None:
    """All but how it was sampled, or that, too; none, or some of them."""
    asked = {"max_tokens": 40, "stop": "END", "temperature": 0.5, "top_p": 0.9, "seed": 3}
    traced(
        {
            "openinference.span.kind": "LLM",
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.content": "Hi",
            "llm.invocation_parameters": json.dumps(asked),
        }
    )

    def kept(more: str = "") -> dict[str, Any]:
        (case,) = cases(TABLE + more)
        found = case.model_dump(exclude_defaults=True)
        return {name: found[name] for name in found if name not in ("id", "prompt", "cluster")}

    assert kept() == {"max_new_tokens": 40, "stop": ("END",)}
    sampling = {"temperature": 0.5, "top_p": 0.9}
    assert kept('settings = "recorded"\n') == kept() | sampling
    assert kept('settings = "none"\n') == {}
    assert kept('settings = ["stop", "top_p"]\n') == {"stop": ("END",), "top_p": 0.9}


def test_the_account_says_what_became_of_every_call(traced: Traced) -> None:
    silent = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
    path = traced(chat("a"), chat("b"), chat("a"), silent, chat("c"))

    found = traces(path.parent, file="traces.jsonl", sample=2, seed=1)
    first = collect_cases([path], TraceSelection(limit=2)).notes

    assert found.notes == (
        "1 file, 5 spans, 5 model calls → 2 cases",
        "drawn 2 of 3 by seed 1",
        f"left out 1: a call with the same prompt as an earlier one ({path}:3)",
        f"left out 1: a call that cannot be replayed: no content was captured ({path}:4)",
        "sampled in production: 2 of 2 calls (2 at one that was not recorded); asked greedily, so "
        'that no chance separates the arms (settings = "recorded" samples, too)',
        "settings that the recorder does not write: reasoning_effort (2), response_format (2); "
        "where production set them, the cases lack them",
    )
    assert list(found) == list(found.cases)
    assert first[1] == "only the first 2 were taken"
    (path.parent / "suite.toml").write_text(SUITE + TABLE + "sample = 2\nseed = 1\n")
    assert suite.load_suite(path.parent).notes == found.notes


SUITE = 'name = "s"\n[[metrics]]\nuse = "length"\n[cases]\n'


def test_a_run_is_replayed_with_its_settings(traced: Traced) -> None:
    """The suite's settings and the case's own; a greedy run does not count as sampled."""
    shared = {"template": "chat", "max_new_tokens": 24, "temperature": 0.0, "stop": ["END"]}
    own = {"id": "own", "prompt": "Two", "stop": ["x"], "max_new_tokens": 8, "temperature": 0.5}
    spans = of_a_run(1, "One", "chat") + of_a_run(2, "Two", "chat")
    for span in spans[1::2]:
        span["tunegate.gen.params"] = json.dumps(shared)
    spans[2]["tunegate.case.content"] = json.dumps(own)
    path = traced(*spans, scope="tunegate")

    greedy, same = (
        collect_cases([path], TraceSelection(settings=how)) for how in ("greedy", "recorded")
    )

    first, second = greedy.cases
    assert (first.max_new_tokens, first.stop, first.temperature) == (24, ("END",), None)
    assert (second.max_new_tokens, second.stop, second.temperature) == (8, ("END", "x"), None)
    assert [sourced.temperature for sourced in same.cases] == [0.0, 0.5]
    assert "sampled in production: 1 of 2 calls (temperature 0.5)" in greedy.notes[-1]


def test_a_call_beyond_the_year_9999_has_no_day(traced: Traced) -> None:
    path = traced(chat("Is it open?", at=400_000_000_000))
    wanted = TraceSelection(sample=1, stratify=("day",))

    assert len(collect_cases([str(path)], wanted).cases) == 1


def test_a_call_with_endlessly_nested_arguments_is_kept_as_text(traced: Traced) -> None:
    deep = {"type": "tool_call", "id": "c", "name": "find", "arguments": "[" * 50_000}
    tools = [{"type": "function", "function": {"name": "find"}}]

    found = collect_cases([traced(chat("Where?", answer=deep, tools=tools))], TraceSelection())

    assert found.cases[0].expected_calls is None
    assert str(found.recorded[0].text).startswith('<tool_call>{"name": "find", "arguments": "[[')
