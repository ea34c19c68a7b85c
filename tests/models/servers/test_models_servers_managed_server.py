"""Managed servers: started, waited for, and ended with all their processes however we end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running_processes import gone, running
from tunegate.harness.models.servers.managed_server import ManagedServer, free_port
from tunegate.harness.records.errors import ModelError

SERVER = """
import http.server, os, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("pids", os.getpid(), worker.pid, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""A server with a worker process, as vLLM has them; it prints their ids."""
PARENT = """
import sys, time
from pathlib import Path
from tunegate.harness.models.servers.managed_server import ManagedServer, free_port
port = free_port()
server = ManagedServer.start(
    "fake", [sys.executable, "-c", Path(sys.argv[1]).read_text(), str(port)],
    port=port, log=Path(sys.argv[2]),
)
server.wait_until_ready(print)
print("ready", flush=True)
time.sleep(600)
"""


def started(log: Path) -> tuple[ManagedServer, list[int]]:
    """Start the server, and return it with the ids of its processes."""
    port = free_port()
    command = [sys.executable, "-c", SERVER, str(port)]
    server = ManagedServer.start("fake", command, port=port, log=log)
    server.wait_until_ready(lambda line: None, limit_s=60)
    return server, pids_of(log)


def pids_of(log: Path) -> list[int]:
    """Return the ids that the server printed."""
    line = next(line for line in log.read_text().splitlines() if line.startswith("pids"))
    return [int(word) for word in line.split()[1:]]


def test_a_server_is_ended_with_its_workers(tmp_path: Path) -> None:
    server, pids = started(tmp_path / "log")
    assert all(map(running, pids))

    server.stop()

    assert gone(pids, 1.0)
    assert not server.alive


def test_a_server_is_ended_when_nobody_has_it(tmp_path: Path) -> None:
    server, pids = started(tmp_path / "log")
    del server

    assert gone(pids, 2.0)


@pytest.mark.parametrize("victim", [0, 1], ids=["server", "worker"])
def test_a_killed_process_leaves_no_other(tmp_path: Path, victim: int) -> None:
    """SIGKILL of the API process ends its workers, which would hold the memory; a worker's death
    is the server's own affair, and stopping still ends it.
    """
    server, pids = started(tmp_path / "log")

    os.kill(pids[victim], signal.SIGKILL)
    if victim:
        server.stop()

    assert gone(pids)
    server.process.wait(15)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_parent_leaves_no_process(tmp_path: Path, number: int) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "server.py"), str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    pids = pids_of(tmp_path / "log")

    parent.send_signal(number)
    parent.wait(30)
    parent.stdout.close()

    assert gone(pids)


def test_a_server_that_ends_while_it_starts_names_its_error(tmp_path: Path) -> None:
    """The last error of its log is the message, not the stack trace around it."""
    code = "print('INFO loading'); raise ValueError('the model needs 16 GiB and 8 are free')"
    log = tmp_path / "log"
    server = ManagedServer.start("vLLM", [sys.executable, "-c", code], port=free_port(), log=log)

    with pytest.raises(ModelError) as caught:
        server.wait_until_ready(lambda line: None, limit_s=60)

    expected = "vLLM ended while it started: ValueError: the model needs 16 GiB and 8 are free; "
    assert str(caught.value) == f"{expected}its log: {log}"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("value", "Value error, no such method: bitsandbytes; its log: "),
        ("length", "length Input should be greater than 0; its log: "),
    ],
)
def test_what_pydantic_finds_wrong_is_named(tmp_path: Path, field: str, expected: str) -> None:
    code = """if True:
        from pydantic import Field, model_validator
        from pydantic.dataclasses import dataclass
        @dataclass
        class ModelConfig:
            length: int = Field(1, gt=0)
            value: int = 1
            @model_validator(mode="after")
            def known(self):
                if not self.value:
                    raise ValueError("no such method: bitsandbytes")
                return self
    """
    words = [sys.executable, "-c", f"{code}    ModelConfig({field}=0)"]
    log = tmp_path / "log"
    server = ManagedServer.start("vLLM", words, port=free_port(), log=log)

    with pytest.raises(ModelError) as caught:
        server.wait_until_ready(lambda line: None, limit_s=60)

    assert str(caught.value) == f"vLLM ended while it started: {expected}{log}"


def test_what_pydantic_finds_wrong_is_named_behind_a_logs_prefix(tmp_path: Path) -> None:
    said = (
        "pydantic_core.ValidationError: 1 validation error for ModelConfig",
        "  Value error, no such method. Known are ['awq', 'fp8'] [type=value_error, input_value=1]",
        "    For further information visit https://errors.pydantic.dev",
    )
    text = "".join(f"(EngineCore pid=7) ERROR 11-29 03:56 [core.py:1] {line}\n" for line in said)
    words = [sys.executable, "-c", f"print({text!r}); raise SystemExit(1)"]
    log = tmp_path / "log"
    server = ManagedServer.start("vLLM", words, port=free_port(), log=log)

    expected = r"Value error, no such method\. Known are \['awq', 'fp8'\]; its log: "
    with pytest.raises(ModelError, match=expected):
        server.wait_until_ready(lambda line: None, limit_s=60)


def test_what_an_earlier_start_wrote_is_no_reason(tmp_path: Path) -> None:
    """A resumed run appends to the log; a kill that is in it from before is not reported again."""
    log = tmp_path / "log"
    log.write_text("RuntimeError: Failed core proc(s): {'EngineCore_0': -9}\n")
    code = "raise ValueError('no such model')"
    server = ManagedServer.start("vLLM", [sys.executable, "-c", code], port=free_port(), log=log)

    with pytest.raises(ModelError, match="vLLM ended while it started: ValueError: no such model"):
        server.wait_until_ready(lambda line: None, limit_s=60)


def test_a_server_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    server = ManagedServer.start("vLLM", command, port=free_port(), log=tmp_path / "log")

    with pytest.raises(ModelError, match=r"vLLM was not ready after \d+ s; see .*log"):
        server.wait_until_ready(lambda line: None, limit_s=0.3)

    assert not server.alive


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the log of vLLM cannot be written"):
        ManagedServer.start("vLLM", ["true"], port=1, log=tmp_path / "none" / "log")
