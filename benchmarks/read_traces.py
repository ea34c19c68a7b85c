"""How fast and in how much memory traces are read: ours, `json.loads` and protobuf's parser.

    python -m benchmarks.read_traces [SPANS]

Each reader runs in a process of its own on the same JSON lines of model calls (a span a line, of
about 2.4 KB, as most exporters' batches of one). The peers do less: `json.loads` leaves the nested
lists of OTLP as they are, `json_format.Parse` makes protobuf's messages; neither finds the calls.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SPANS = 100_000


def main() -> None:
    """Write the traces, have every reader read them, and print a table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else SPANS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traces.jsonl"
        write(path, count)
        print(f"{count} spans, {path.stat().st_size / 1e6:.0f} MB of JSON lines")
        for name in READERS:
            command = [sys.executable, "-m", "benchmarks.read_traces", "--reader", name, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(done.stdout.strip())


def write(path: Path, count: int) -> None:
    """Write spans of model calls, every one another prompt."""
    turns = [{"role": "user", "parts": [{"type": "text", "content": "Where is my parcel? " * 60}]}]
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            turns[0]["parts"] = [{"type": "text", "content": f"{number} " + "my parcel? " * 80}]
            known = {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.input.messages": json.dumps(turns),
                "gen_ai.output.messages": json.dumps(
                    [{"role": "assistant", "parts": turns[0]["parts"], "finish_reason": "stop"}]
                ),
            }
            span = {
                "traceId": f"{number + 1:032x}",
                "spanId": f"{number + 1:016x}",
                "name": "chat gpt-4o",
                "startTimeUnixNano": str(1_764_000_000_000_000_000 + number),
                "endTimeUnixNano": str(1_764_000_001_000_000_000 + number),
                "attributes": [
                    {"key": key, "value": {"stringValue": value}} for key, value in known.items()
                ],
            }
            scopes = [{"scope": {"name": "bench"}, "spans": [span]}]
            file.write(json.dumps({"resourceSpans": [{"scopeSpans": scopes}]}) + "\n")


def spans(path: Path) -> int:
    """Read every span."""
    from tunegate.harness.otel_import import read_spans
    from tunegate.harness.otel_import.types import ImportReport

    return sum(1 for _ in read_spans([path], ImportReport()))


def cases(path: Path) -> int:
    """Find the calls, draw 200 by strata, scrub them and make cases of them."""
    from tunegate.harness.sources.traces import TraceSelection, collect_cases

    found = collect_cases([path], TraceSelection(sample=200, stratify=("model", "route")))
    return found.reading.calls


def plain_json(path: Path) -> int:
    """Parse each line with `json.loads`, and forget it."""
    with path.open("rb") as lines:
        return sum(1 for line in lines if json.loads(line))


def protobuf(path: Path) -> int:
    """Parse each line with `google.protobuf.json_format.Parse`, and forget it."""
    from google.protobuf.json_format import Parse
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    with path.open("rb") as lines:
        return sum(1 for line in lines if Parse(line, TracesData()))


READERS: dict[str, Callable[[Path], int]] = {
    "spans": spans,
    "cases": cases,
    "plain_json": plain_json,
    "protobuf": protobuf,
}
"""Name → what reads a file and returns how much it found."""


def measure(name: str, path: Path) -> None:
    """Print what one reader takes, in this process."""
    begun = time.perf_counter()
    found = READERS[name](path)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:12} {found:8} read {seconds:7.1f} s {peak:7.0f} MB at most")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--reader"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
