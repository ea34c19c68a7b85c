"""Episodes as spans: invoke_agent, below it a chat for each turn and execute_tool for each call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.played_suites import TOML, call, write_desk


def _spans(project: Any) -> list[dict[str, Any]]:
    """Run a gate of one task and return tuned's spans with their attributes as a mapping."""
    toml = TOML.replace("gain = 0.10", "floor = 0.30")
    write_desk(project.path / "suites" / "desk", toml=toml)
    said = [call("refund", order="A1"), call("find", order="A1"), "Done."]
    specs = []
    for name, turns in (("base", ["No."]), ("tuned", said)):
        file: Path = project.path / f"{name}.json"
        file.write_text(json.dumps({"turns": {"t1": turns}}))
        specs += [f"--{name}", f"scripted:{file}"]
    project.tunegate("gate", "suites/desk", *specs, "--run-dir", project.run)
    found = []
    for line in (project.run / "traces.jsonl").read_text().splitlines():
        for scope in json.loads(line)["resourceSpans"][0]["scopeSpans"]:
            for span in scope["spans"]:
                values = {
                    one["key"]: next(iter(one["value"].values())) for one in span["attributes"]
                }
                found.append({**span, "attributes": values})
    return found


def test_an_episode_is_an_agent_with_turns_and_calls(project: Any) -> None:
    """Three turns and two calls lie within the agent's span; the failed call is an error."""
    spans = _spans(project)
    agents = {s["spanId"]: s for s in spans if s["name"] == "invoke_agent desk"}
    tuned = next(k for k, s in agents.items() if s["attributes"]["tunegate.arm"] == "tuned")
    inner = [span for span in spans if span.get("parentSpanId") == tuned]
    names = [span["name"].split()[0] for span in inner]
    calls = [span for span in inner if span["name"].startswith("execute_tool")]

    assert len(agents) == 2
    assert agents[tuned]["attributes"]["gen_ai.operation.name"] == "invoke_agent"
    assert agents[tuned]["attributes"]["gen_ai.agent.name"] == "desk"
    assert names == ["chat", "execute_tool", "chat", "execute_tool", "chat"]
    assert [span["name"] for span in calls] == ["execute_tool refund", "execute_tool find"]
    assert calls[0]["attributes"]["error.type"] == "tool_error"
    assert "status" in calls[0]
    assert "error.type" not in calls[1]["attributes"]
    assert all("gen_ai.tool.call.result" not in span["attributes"] for span in calls)
    begun = int(agents[tuned]["startTimeUnixNano"])
    starts = [int(span["startTimeUnixNano"]) for span in inner]
    assert starts == sorted(starts)
    assert starts[0] >= begun
