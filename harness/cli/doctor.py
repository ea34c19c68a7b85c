"""`tunegate doctor`: what is installed, what works here, what is missing and how to get it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UsageError
from harness.versions import installed


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report."""

    good: bool
    needed: bool
    what: str
    detail: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    aa: Annotated[
        str,
        typer.Option(
            metavar="SUITE",
            help="Judge base against itself and against a null adapter instead: neither may ship.",
        ),
    ] = "",
    base: Annotated[
        str, typer.Option(metavar="SPEC", help="Base model of --aa. Default: the embedded one.")
    ] = "",
    dtype: Annotated[str, typer.Option(help="Number format of the model of --aa.")] = "auto",
    max_cases: Annotated[
        int | None, typer.Option(min=1, help="Only the first N cases of the suite of --aa.")
    ] = None,
) -> None:
    """Report what is installed, what works here, and how to get what is missing."""
    if aa:
        from harness.cli.aa import check

        raise typer.Exit(check(aa, base=base, dtype=dtype, max_cases=max_cases))
    if base or max_cases or dtype != "auto":
        raise UsageError("--base, --dtype and --max-cases belong to --aa SUITE; name the suite")
    findings = [*_python(), *_extras(), *_machine(), *_store(), *_packages(), *_model()]
    for finding in findings:
        mark = "ok  " if finding.good else ("FAIL" if finding.needed else "-   ")
        print(f"{mark} {finding.what:<22} {finding.detail}")
    if any(f.needed and not f.good for f in findings):
        raise typer.Exit(2)


def _python() -> Iterator[Finding]:
    yield Finding(True, True, "python", f"{platform.python_version()} on {platform.machine()}")
    yield Finding(True, True, "tunegate", metadata.version("tunegate"))


_EXTRAS = {
    "hf": ("torch", "transformers", "peft", "safetensors", "gguf"),
    "train": ("trl", "accelerate", "datasets"),
    "lm-eval": ("lm-eval",),
    "metrics": ("sacrebleu", "rouge-score", "py3langid"),
    "sources": ("datasets", "pyarrow", "pyyaml"),
    "litellm": ("litellm",),
    "gguf": ("gguf", "accelerate"),
    "llama-cpp": ("llama-cpp-python",),
    "server": ("httpx",),
    "quantized": ("bitsandbytes", "accelerate"),
    "otlp": ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
    "traces": ("opentelemetry-proto", "protobuf"),
    "proxy": ("fastapi", "mcp", "uvicorn"),
    "ray": ("ray", "pyarrow"),
}


def _extras() -> Iterator[Finding]:
    """Check the optional packages without importing them."""
    for extra, names in _EXTRAS.items():
        found = installed(names)
        missing = [n for n in names if n not in found]
        present = ", ".join(f"{n} {version}" for n, version in found.items())
        remedy = f"missing {', '.join(missing)}: pip install 'tunegate[{extra}]'"
        yield Finding(not missing, False, f"extra {extra}", remedy if missing else present)


def _machine() -> Iterator[Finding]:
    yield Finding(True, False, "processors", f"{os.cpu_count()}")
    if importlib.util.find_spec("torch") is not None:
        import torch

        gpu = torch.cuda.is_available()
        name = torch.cuda.get_device_name(0) if gpu else "none: models run in float32 on the CPU"
        yield Finding(gpu, False, "GPU", name)
        policy = os.environ.get("OMP_WAIT_POLICY", "unset")
        yield Finding(
            policy.upper() == "PASSIVE",
            False,
            "OMP_WAIT_POLICY",
            policy
            if policy.upper() == "PASSIVE"
            else f"{policy}: export OMP_WAIT_POLICY=PASSIVE, "
            "or torch slows down up to 30 times beside another process",
        )


def _store() -> Iterator[Finding]:
    """Measure what one durable row costs in this folder."""
    try:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            db = sqlite3.connect(Path(folder) / "probe.sqlite", isolation_level=None)
            mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            db.execute("PRAGMA synchronous=FULL")
            db.execute("CREATE TABLE probe (x)")
            start = time.perf_counter()
            for i in range(10):
                db.execute("INSERT INTO probe VALUES (?)", (i,))
            cost = (time.perf_counter() - start) * 100
            db.close()
    except (OSError, sqlite3.Error) as error:
        yield Finding(False, True, "store", f"this folder cannot be written: {error}")
        return
    yield Finding(mode == "wal", False, "store", f"journal {mode}, {cost:.1f} ms a stored answer")


def _packages() -> Iterator[Finding]:
    from harness.siblings import problem

    shadowed = problem()
    yield Finding(shadowed is None, True, "package names", shadowed or "all four are tunegate's")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    yield Finding(
        chromium is not None, False, "browser", chromium or "none: only its own tests need one"
    )


def _model() -> Iterator[Finding]:
    from harness.models.embedded import FOLDER, cache_folder, fetched

    place = cache_folder() / "models" / FOLDER
    there = fetched() is not None
    detail = str(place) if there else f"not fetched yet: `tunegate demo` does, into {place}"
    yield Finding(there, False, "embedded model", detail)
