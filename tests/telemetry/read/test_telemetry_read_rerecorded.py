"""The recorded traces are made again by the real libraries, and say the same."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.telemetry.read.trace_recordings import RECORDED, RECORDINGS
from tools.recordings.record_traces import ROOT, record
from tunegate.harness.telemetry.read import read_spans
from tunegate.harness.telemetry.read.model_calls import find_model_calls
from tunegate.harness.telemetry.read.trace_types import ImportReport, ModelCall

REQUIREMENTS = (RECORDED / "requirements.txt", RECORDED / "earlier.txt")


def environment() -> Path:
    """Return the Python of an environment with the libraries; it is built once for each list."""
    wanted = b"".join(path.read_bytes() for path in REQUIREMENTS)
    folder = ROOT / ".tunegate" / f"trace-clients-{hashlib.sha256(wanted).hexdigest()[:12]}"
    python, built = folder / "bin" / "python", folder / "built"
    if not built.exists():
        venv.create(folder, with_pip=True, clear=True)
        install(python, "-r", str(REQUIREMENTS[0]))
        install(
            python, "--no-deps", "--target", str(folder / "earlier"), "-r", str(REQUIREMENTS[1])
        )
        built.touch()
    return python


def install(python: Path, *arguments: str) -> None:
    """Install into the environment; without a package index there is nothing to test."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"the client libraries cannot be installed: {ran.stderr.strip()[-300:]}")


def said(call: ModelCall) -> dict[str, Any]:
    """Return what a call says, without its times and ids."""
    fields = (
        "convention", "messages", "tools", "parameters", "answer", "answer_calls", "finish_reason",
        "model", "provider", "input_tokens", "output_tokens", "cost", "unreplayable",
    )  # fmt: skip
    return {name: getattr(call, name) for name in fields}


@pytest.mark.slow
@pytest.mark.long  # installs fifteen client libraries into an environment of their own
@pytest.mark.skipif(sys.platform == "win32", reason="the environment's layout is that of Unix")
def test_the_libraries_write_what_was_recorded(tmp_path: Path) -> None:
    python = environment()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda recording: record(recording, python, tmp_path), RECORDINGS))

    for recording in RECORDINGS:
        again, kept = (
            [
                said(call)
                for call in find_model_calls(
                    read_spans([folder / recording.name / "traces.jsonl"], ImportReport())
                )
            ]
            for folder in (tmp_path, RECORDED)
        )
        assert again == kept, recording.name
