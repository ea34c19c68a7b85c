"""Clusters of cases from traces, and the calls that make no case."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.hashing import sha256
from tunegate.harness.suite.sources.traces import ProductionCases, TraceSelection, collect_cases

Make = Callable[..., ProductionCases]


@pytest.fixture(name="collected")
def _collected(tmp_path: Path) -> Make:
    """Return what collects the cases of spans: (trace, attributes) of each, and further fields."""

    def collect(*spans: tuple[int, dict[str, Any]], by: str = "", **more: Any) -> ProductionCases:
        lines = []
        for number, (trace, known) in enumerate(spans, 1):
            asked = [{"role": "user", "parts": [{"type": "text", "content": f"Row {number}?"}]}]
            told = [{"role": "assistant", "parts": [{"type": "text", "content": "Yes."}]}]
            usual = {
                "gen_ai.operation.name": "chat",
                "gen_ai.input.messages": json.dumps(asked),
                "gen_ai.output.messages": json.dumps(told),
            }
            attributes = {name: value for name, value in (usual | known).items() if value}
            span = {
                "traceId": f"{trace:032x}", "spanId": f"{number:016x}", "name": "chat",
                "startTimeUnixNano": "1764000000000000000",
                "endTimeUnixNano": "1764000001000000000", "attributes": attributes, **more,
            }  # fmt: skip
            scopes = [{"scope": {"name": "x"}, "spans": [span]}]
            lines.append(json.dumps({"resourceSpans": [{"scopeSpans": scopes}]}))
        path = tmp_path / "traces.jsonl"
        path.write_text("\n".join(lines), encoding="utf-8")
        return collect_cases([path], TraceSelection(cluster_by=by))

    return collect


def clusters(found: ProductionCases) -> list[str | None]:
    return [case.cluster for case in found.cases]


@pytest.mark.parametrize("key", ["gen_ai.conversation.id", "session.id", "langfuse.session.id"])
def test_a_conversation_over_several_traces_is_one_cluster(collected: Make, key: str) -> None:
    """Its name may be a person's, so that a hash of it stands in the case."""
    found = collected((1, {key: "ada@example.com"}), (2, {key: "ada@example.com"}), (3, {}))

    name = sha256("ada@example.com")[:16]
    assert clusters(found) == [name, name, f"{3:032x}"]


def test_a_session_that_another_span_of_the_trace_names_is_the_calls_own(collected: Make) -> None:
    """The root of a request often has it alone; if a trace names two, neither counts."""
    root = {"gen_ai.operation.name": "invoke_agent", "gen_ai.input.messages": None}
    one = collected((1, {}), (1, {**root, "session.id": "a"}))
    two = collected((1, {}), (1, {**root, "session.id": "a"}), (1, {**root, "session.id": "b"}))

    assert clusters(one) == [sha256("a")[:16]]
    assert clusters(two) == [f"{1:032x}"]


def test_an_attribute_can_make_the_clusters(collected: Make) -> None:
    spans = [(1, {"order": "7"}), (1, {"order": "8"}), (2, {"order": "7"}), (1, {})]
    found = collected(*spans, by="order")

    seven, eight = sha256("7")[:16], sha256("8")[:16]
    assert clusters(found) == [seven, eight, seven, f"{1:032x}"]
    assert found.reading.repaired["a call without the attribute of cluster_by"].count == 1
    assert len({*clusters(collected(*spans, by="call"))}) == 4
    assert len({*clusters(collected(*spans, by="trace"))}) == 2


def test_a_job_under_one_root_span_is_told_with_what_would_distinguish_its_rows(
    collected: Make,
) -> None:
    """Its trace would count as one observation; several traces, or few cases, are no job."""
    job = collected(*((1, {"row.id": str(n), "tenant": "t"}) for n in range(8)))
    named = collected(*((1, {"row.id": str(n)}) for n in range(8)), by="row.id")
    apart = collected(*((n, {}) for n in range(8)))
    few = collected(*((1, {}) for n in range(7)))

    (line,) = [line for line in job.notes if "in one trace" in line]
    assert line.startswith("8 of 8 cases")
    assert "row.id" in line
    assert "tenant" not in line
    assert "--cluster-by" in line
    assert len({*clusters(named)}) == 8
    for other in (named, apart, few):
        assert not any("in one trace" in line for line in other.notes)


def test_a_call_that_failed_in_production_is_no_case(collected: Make, tmp_path: Path) -> None:
    lines = collected((1, {}), (2, {}))
    assert len(lines.cases) == 2
    path = tmp_path / "traces.jsonl"
    first, second = path.read_text(encoding="utf-8").splitlines()
    failed = first.replace('"name": "chat"', '"name": "chat", "status": {"code": 2}')
    path.write_text(f"{failed}\n{second}\n", encoding="utf-8")

    found = collect_cases([path], TraceSelection())

    assert [case.id for case in found.cases] == [f"{2:016x}"]
    assert found.reading.left_out["a call that failed in production"].count == 1


def test_an_answer_that_calls_a_tool_nobody_told_of_makes_no_case(collected: Make) -> None:
    """No model could call it; with the tool's definition the same call is a case."""
    made = {"type": "tool_call", "id": "c", "name": "look", "arguments": {}}
    told = json.dumps([{"role": "assistant", "parts": [made]}])
    tool = json.dumps([{"type": "function", "name": "look"}])
    found = collected(
        (1, {"gen_ai.output.messages": told}),
        (2, {"gen_ai.output.messages": told, "gen_ai.tool.definitions": tool}),
    )

    assert [case.id for case in found.cases] == [f"{2:016x}"]
    assert any("tools were not recorded" in reason for reason in found.reading.left_out)


def test_a_calls_own_longest_answer_holds_in_place_of_the_suites(collected: Make) -> None:
    """A suite's default of 256 tokens does not cut what production let run to 4000."""
    from tunegate.harness.records.generation import GenerationSettings

    found = collected((1, {"gen_ai.request.max_tokens": 4000}))
    huge = collected((1, {"gen_ai.request.max_tokens": 10**9}))

    (case,) = found.cases
    assert GenerationSettings().of(case).max_new_tokens == 4000
    assert huge.cases[0].max_new_tokens == 100_000
