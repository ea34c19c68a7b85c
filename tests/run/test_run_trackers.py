"""Trackers, by their own libraries and offline: a run is logged and read back by their clients.

`pip install --group trackers` installs the libraries; a test without its library is skipped.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.webhooks import Webhook, webhook

__all__ = ["webhook"]
pytestmark = pytest.mark.slow
LOW = "demo/exact_match::gain/low"


def needs(name: str) -> pytest.MarkDecorator:
    """Return the mark of a test that needs a library, which only its child processes import."""
    return pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")


@pytest.fixture(autouse=True)
def _variables(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep everything that the libraries write in the project's folder."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_DATA_DIR", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "TRACKIO_DIR"):
        monkeypatch.setenv(name, str(project.path / "own" / name.lower()))


def gate(project: Any, *options: str) -> str:
    """Gate a fine-tune that ships, in a process of its own; return what was printed."""
    project.suite()
    result = project.pytest_apart("suites", "--gate-run-dir=run", *project.models(), *options)
    assert result.ret == 0
    return str(result.stdout.str())


def low(project: Any) -> float:
    """Return the lower end of the gain's interval, as verdict.json has it."""
    end: float = project.verdict()["suites"][0]["gates"][1]["low"]
    return end


def page(project: Any) -> bytes:
    """Return the report."""
    text: bytes = (project.run / "report.html").read_bytes()
    return text


def read_back(code: str) -> Any:
    """Return the JSON that a program prints last, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout.splitlines()[-1])


@needs("mlflow")
def test_mlflow(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an experiment of ours, or in the run that the user names, such as that of the training."""
    said = gate(project, "--gate-log-to=mlflow")

    run, tags, metrics, file, theirs = read_back(
        "import json, mlflow\n"
        "client = mlflow.MlflowClient()\n"
        "place = client.get_experiment_by_name('tunegate').experiment_id\n"
        "(run,) = client.search_runs([place], \"tags.`tunegate.verdict` = 'SHIP'\")\n"
        "file = client.download_artifacts(run.info.run_id, 'report.html')\n"
        "theirs = client.create_run(client.create_experiment('mine')).info.run_id\n"
        "found = [run.info.run_id, run.data.tags, run.data.metrics, file, theirs]\n"
        "print()\nprint(json.dumps(found))"
    )
    assert f"logged to mlflow: run {run} in " in said
    assert (tags["mlflow.runName"], tags["tunegate.exit_code"]) == ("run", "0")
    assert metrics[LOW] == low(project)
    assert Path(file).read_bytes() == page(project)

    monkeypatch.setenv("MLFLOW_RUN_ID", theirs)
    words = ("-m", "tunegate.harness.cli", "report", "run", "--log-to", "mlflow")
    result = project.pytester.run(sys.executable, *words, timeout=120)

    assert f"logged to mlflow: run {theirs} in " in result.stdout.str()


@needs("tensorboard")
def test_tensorboard(project: Any) -> None:
    said = gate(project, "--gate-log-to=tensorboard")

    numbers, text, heavy = read_back(
        "import json, sys\n"
        "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
        "from tensorboard.util.tensor_util import make_ndarray\n"
        "found = EventAccumulator('runs/run').Reload()\n"
        "read = lambda tag: make_ndarray(found.Tensors(tag)[0].tensor_proto)\n"
        f"print(json.dumps([float(read({LOW!r})), read('tunegate').item().decode(), "
        "'torch' in sys.modules]))"
    )
    assert "logged to tensorboard: runs/run" in said
    assert numbers == pytest.approx(low(project), abs=1e-7)  # 32 bits
    assert text.splitlines()[:2] == ["- verdict: SHIP", "- exit_code: 0"]
    assert heavy is False
    assert Path("runs/run/report.html").read_bytes() == page(project)


@needs("trackio")
def test_trackio(project: Any) -> None:
    said = gate(project, "--gate-log-to=trackio")

    facts, numbers = read_back(
        "import json, trackio\n"
        "from trackio.sqlite_storage import SQLiteStorage\n"
        "(run,) = trackio.Api().runs('tunegate')\n"
        "logged = SQLiteStorage.get_logs('tunegate', run.name)[0]\n"
        "print(json.dumps([run.config, logged], default=str))"
    )
    files = [path for path in Path("own/trackio_dir").rglob("*") if path.is_file()]
    assert "logged to trackio: project tunegate, run run" in said
    assert (facts["verdict"], facts["exit_code"]) == ("SHIP", 0)
    assert numbers[LOW] == low(project)
    assert page(project) in [path.read_bytes() for path in files]


@needs("wandb")
def test_wandb(project: Any, webhook: Webhook) -> None:
    """The command line, which may hold the address of a webhook, is not sent."""
    said = gate(project, "--gate-log-to=wandb", f"--gate-notify={webhook.url}")

    (file,) = Path("wandb").glob("offline-run-*/*.wandb")
    kinds, summary = _wandb_records(file)
    (staged,) = Path("own/wandb_data_dir").rglob("staging/*")
    written = [path for path in project.path.rglob("*") if path.is_file()]
    assert f"{file.parent}, for `wandb sync`" in said
    assert (summary["verdict"], summary["exit_code"]) == ("SHIP", 0)
    assert summary[LOW] == low(project)
    assert "artifact" in kinds
    assert staged.read_bytes() == page(project)
    assert [path for path in written if b"secret-token" in path.read_bytes()] == []


def _wandb_records(file: Path) -> tuple[list[str], dict[str, Any]]:
    """Return the kinds of the records of an offline run, and its summary."""
    code = (
        "import json, sys\n"
        "from wandb.proto.wandb_internal_pb2 import Record\n"
        "kinds, summary = [], {}\n"
        "for line in sys.stdin:\n"
        "    record = Record.FromString(bytes.fromhex(line))\n"
        "    kinds.append(record.WhichOneof('record_type'))\n"
        "    for item in record.summary.update:\n"
        "        key = '/'.join(item.nested_key) if item.nested_key else item.key\n"
        "        summary[key] = json.loads(item.value_json)\n"
        "print(json.dumps([kinds, summary]))"
    )
    lines = "\n".join(record.hex() for record in _leveldb_records(file.read_bytes()))
    words = [sys.executable, "-c", code]
    done = subprocess.run(
        words, input=lines, capture_output=True, text=True, check=True, timeout=60
    )
    kinds, summary = json.loads(done.stdout)
    return kinds, summary


def _leveldb_records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a log in LevelDB's format, behind the 7 bytes of wandb's own header.

    https://github.com/google/leveldb/blob/main/doc/log_format.md
    """
    block, head, at, record = 32768, 7, 7, b""
    while at + head <= len(data):
        if block - at % block < head:
            at += block - at % block
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + head])
        record += data[at + head : at + head + size]
        at += head + size
        if kind in (1, 4):  # whole, last
            yield record
            record = b""
