"""Records the traces of real frameworks and gateways into
`tests/telemetry/read/recorded/frameworks/`.

    python tools/recordings/record_frameworks.py PYTHON NODE [NAME…]

Run it from the repository's environment. PYTHON is that of an environment with
`requirements.txt` of that folder in it; NODE is a folder in which `npm install` was run for each
`ai-sdk-N.json` there, as `NODE/N/package.json`. Each recording is one process of
`drive_frameworks.py` or `drive_ai_sdk.mjs` against a scripted server on this machine, which keeps
the requests as they came over the wire. Attributes that hold paths of this machine, and bulk that
says nothing about a request, are taken out of what is kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.fake_server import FakeServer  # noqa: E402  (a script finds its neighbours by path)
from tests.telemetry.read.trace_recordings import (  # noqa: E402
    FRAMEWORKS,
    RECORDED,
    FrameworkRecording,
    reply,
)
from tools.recordings.otlp_collector import collect  # noqa: E402

FOLDER = RECORDED / "frameworks"
FAILING = "refuse"
"""Name of the model that the server refuses."""
_BULK = (
    "code.", "metadata.", "hidden_params", "logfire.json_schema", "logfire.msg", "mlflow.traceReq",
    "exception.stacktrace", "error.stack_trace", "self.", "ai.usage.", "gen_ai.cost.",
    "usage", "http.", "url.", "net.", "fastapi.", "logfire.metrics", "litellm.",
    "langsmith.metadata.LANGSMITH", "langsmith.metadata.revision", "gcp.vertex.agent.event",
)  # fmt: skip
"""How the names of attributes begin that are not kept."""


def answer(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Answer as the server of the client libraries does; refuse one model."""
    if model == FAILING:
        raise LookupError(400, "This model refuses.")
    return reply(model, path, body)


def record(recording: FrameworkRecording, python: Path, node: Path, folder: Path) -> None:
    """Write `traces.jsonl` and `asked.jsonl` into a folder."""
    into = folder / recording.name
    into.mkdir(parents=True, exist_ok=True)
    for file in into.iterdir():
        file.unlink()
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with (
        FakeServer(reply=answer, models={"base": {}, FAILING: {}}) as server,
        collect(into) as collector,
    ):
        if recording.library == "ai-sdk":
            script = str(Path(__file__).with_name("drive_ai_sdk.mjs"))
            command = ["node", script, str(node / recording.recorder), server.url, collector]
        else:
            script = str(Path(__file__).with_name("drive_frameworks.py"))
            command = [str(python), script, recording.library, recording.recorder, server.url]
            command.append(str(into))
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise SystemExit(f"{recording.name}: {ran.stdout}{ran.stderr}")
        asked = [json.dumps(body, ensure_ascii=False) for body in server.asked]
    (into / "asked.jsonl").write_text("\n".join(asked) + "\n", encoding="utf-8")
    traces = into / "traces.jsonl"
    kept = (_kept(json.loads(line)) for line in traces.read_text(encoding="utf-8").splitlines())
    lines = [json.dumps(one, ensure_ascii=False) for one in kept if one["resourceSpans"]]
    traces.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _kept(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return an export without bulk, and without spans of a server's own work."""
    blocks = []
    for block in request["resourceSpans"]:
        scopes = []
        for scope in block["scopeSpans"]:
            spans = [_lean(span) for span in scope["spans"]]
            spans = [span for span in spans if span["attributes"] or "parentSpanId" not in span]
            scopes.append({"scope": {"name": scope["scope"]["name"]}, "spans": spans})
        scopes = [scope for scope in scopes if scope["spans"]]
        if scopes:
            service = {"key": "service.name", "value": {"stringValue": "client"}}
            blocks.append({"resource": {"attributes": [service]}, "scopeSpans": scopes})
    return {"resourceSpans": blocks}


def _lean(span: Mapping[str, Any]) -> dict[str, Any]:
    lean = {**span, "attributes": list(_plain(span.get("attributes", ())))}
    if "events" in span:
        lean["events"] = [
            {**event, "attributes": list(_plain(event.get("attributes", ())))}
            for event in span["events"]
        ]
    return lean


def _plain(pairs: Any) -> Iterator[Mapping[str, Any]]:
    for pair in pairs:
        value = pair.get("value") or {}
        if pair["key"] == "exception.message":  # LangSmith's has the lines of the files
            value = {"stringValue": value["stringValue"].partition("Traceback")[0]}
            pair = {**pair, "value": value}
        if not pair["key"].startswith(_BULK) and value not in ({}, {"stringValue": ""}):
            yield pair


def main(python: str, node: str, *names: str) -> None:
    """Record all, or those that are named."""
    for recording in FRAMEWORKS:
        if not names or recording.name in names:
            record(recording, Path(python).absolute(), Path(node).absolute(), FOLDER)


if __name__ == "__main__":
    main(*sys.argv[1:])
