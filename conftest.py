"""This repository's own tests: pytester, no network, and the fixtures many tests share.

The plugin itself arrives through its entry point, so `pytest suites/ --gate-base … --gate-tuned …`
works here as in any user's project.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}
for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse connections to anything but this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        local = self.family == socket.AF_UNIX or str(address[0]) in ("127.0.0.1", "::1")
        if not local:
            raise OSError(f"the tests have no network: {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a script file and returns its spec."""

    def write(name: str, **script: Any) -> str:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(script), encoding="utf-8")
        return f"scripted:{path}"

    return write


@pytest.fixture
def suite_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a suite: its TOML text and its cases."""

    def write(toml: str, cases: list[dict[str, Any]], name: str = "suite") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "suite.toml").write_text(toml, encoding="utf-8")
        lines = "".join(json.dumps(case) + "\n" for case in cases)
        (folder / "cases.jsonl").write_text(lines, encoding="utf-8")
        return folder

    return write
