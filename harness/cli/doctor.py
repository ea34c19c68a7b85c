"""`tunegate doctor`: what is installed, what works here, and how to get what is missing."""

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
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.contracts import lookup
from tunegate.harness.records.errors import UsageError

if TYPE_CHECKING:
    from packaging.requirements import Requirement


ORDER = 170
PANEL = Panel.LOOK_CLOSER


@dataclass(frozen=True, slots=True)
class DoctorFinding:
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
            help="A/A test: compare base with itself and a null adapter; neither may ship.",
        ),
    ] = "",
    base: Annotated[
        str, typer.Option(metavar="SPEC", help="Base model for --aa. Default: the embedded one.")
    ] = "",
    dtype: Annotated[str, typer.Option(help="Number format of the model for --aa.")] = "auto",
    max_cases: Annotated[
        int | None, typer.Option(min=1, help="Only the first N cases of the suite for --aa.")
    ] = None,
) -> None:
    """Report what is installed, what works, and what is missing."""
    from tunegate.harness.cli._aa_test import run_aa_test

    if aa:
        raise typer.Exit(run_aa_test(aa, base=base, dtype=dtype, max_cases=max_cases))
    if base or max_cases or dtype != "auto":
        raise UsageError("--base, --dtype and --max-cases only work with --aa SUITE")
    findings = [*_python(), *_extras(), *_combination(), *_plugins()]
    findings += [*_machine(), *_store(), *_browser(), *_sandbox(), *_model(), *_vllm()]
    for finding in findings:
        mark = "ok  " if finding.good else ("FAIL" if finding.needed else "-   ")
        say(f"{mark} {finding.what:<22} {finding.detail}")
    if any(f.needed and not f.good for f in findings):
        raise typer.Exit(2)


def _python() -> Iterator[DoctorFinding]:
    from tunegate.harness.records.versions import installed_versions

    yield DoctorFinding(
        True, True, "python", f"{platform.python_version()} on {platform.machine()}"
    )
    yield DoctorFinding(True, True, "tunegate", installed_versions(("tunegate",))["tunegate"])


_SHOWN = 5
"""Packages of an extra to name."""


def extra_requirements() -> dict[str, tuple[Requirement, ...]]:
    """Return extra → its packages, as the installed tunegate declares them.

    Without `all`, and without what an extra takes from another extra.
    """
    from importlib import metadata

    from packaging.requirements import Requirement

    installed = metadata.distribution("tunegate")
    required = [Requirement(text) for text in installed.requires or ()]
    optional = [
        requirement
        for requirement in required
        if requirement.name != "tunegate"
        and requirement.marker
        and not requirement.marker.evaluate({"extra": ""})
    ]
    extras = sorted({*(installed.metadata.get_all("Provides-Extra") or ())} - {"all"})
    return {
        extra: tuple(r for r in optional if r.marker and r.marker.evaluate({"extra": extra}))
        for extra in extras
    }


def extra_with(module: str) -> str | None:
    """Return an extra that installs a module, the smallest that runs models first; None without."""
    packages = {"PIL": "pillow", "yaml": "pyyaml"}
    package = packages.get(module, module).lower().replace("_", "-")
    extras = [
        extra
        for extra, required in extra_requirements().items()
        if package in (requirement.name.lower().replace("_", "-") for requirement in required)
    ]
    return "hf" if "hf" in extras else next(iter(extras), None)


def _extras() -> Iterator[DoctorFinding]:
    """Check the optional packages without importing them."""
    from tunegate.harness.records.versions import installed_versions

    for extra, required in extra_requirements().items():
        installed = installed_versions(requirement.name for requirement in required)
        missing = list(
            dict.fromkeys(
                requirement.name for requirement in required if requirement.name not in installed
            )
        )
        other = [
            f"{requirement.name} {installed[requirement.name]} (needs {requirement.specifier})"
            for requirement in required
            if requirement.name in installed
            and not requirement.specifier.contains(installed[requirement.name], prereleases=True)
        ]
        problems = [*([f"missing {', '.join(missing)}"] if missing else []), *other]
        present = [f"{name} {version}" for name, version in installed.items()]
        more = [f"{len(present) - _SHOWN} more"] if len(present) > _SHOWN else []
        remedy = f"{', '.join(problems)}: pip install 'tunegate[{extra}]'"
        detail = remedy if problems else ", ".join([*present[:_SHOWN], *more])
        yield DoctorFinding(not problems, False, f"extra {extra}", detail)


def _combination() -> Iterator[DoctorFinding]:
    """Report whether the installed versions were tested together, and what else is installed."""
    from tunegate.harness.contracts import tested_stacks
    from tunegate.harness.records.versions import installed_versions

    installed = installed_versions(tested_stacks.STACK)
    installed["python"] = platform.python_version()
    combination = tested_stacks.explain_combination(installed, tested_stacks.tested_stacks())
    if combination is not None:
        tested = combination[0] is tested_stacks.CombinationStatus.TESTED
        yield DoctorFinding(tested, False, "combination", f"{combination[0]}: {combination[1]}")
    others = installed_versions(tested_stacks.NEIGHBOURS)
    if others:
        listed = ", ".join(f"{name} {version}" for name, version in others.items())
        yield DoctorFinding(True, False, "installed together with", listed)


def _plugins() -> Iterator[DoctorFinding]:
    """Import the plugins of installed packages: metrics, judges, backends, sources, sections."""
    for plugin, problem in lookup.installed_plugins():
        name = f"{lookup.kind_of(plugin.group)} {plugin.name}"
        origin = f"{plugin.value} of the package {lookup.provider(plugin)}"
        yield DoctorFinding(problem is None, False, name, problem or origin)


def _machine() -> Iterator[DoctorFinding]:
    yield DoctorFinding(True, False, "processors", f"{os.cpu_count()}")
    if importlib.util.find_spec("torch") is not None:
        import torch

        gpu = torch.cuda.is_available()
        name = torch.cuda.get_device_name(0) if gpu else "none: models run in float32 on the CPU"
        yield DoctorFinding(gpu, False, "GPU", name)
        policy = os.environ.get("OMP_WAIT_POLICY", "unset")
        yield DoctorFinding(
            policy.upper() == "PASSIVE",
            False,
            "OMP_WAIT_POLICY",
            policy
            if policy.upper() == "PASSIVE"
            else f"{policy}: export OMP_WAIT_POLICY=PASSIVE, "
            "or torch slows down up to 30 times next to another process",
        )


def _store() -> Iterator[DoctorFinding]:
    """Measure how long storing one answer takes in this folder."""
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
        yield DoctorFinding(False, True, "store", f"this folder cannot be written: {error}")
        return
    yield DoctorFinding(
        mode == "wal", False, "store", f"journal {mode}, {cost:.1f} ms a stored answer"
    )


def _browser() -> Iterator[DoctorFinding]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    yield DoctorFinding(
        chromium is not None,
        False,
        "browser",
        chromium or "none: only tunegate's own tests need one",
    )


def _sandbox() -> Iterator[DoctorFinding]:
    from tunegate.harness.sandbox.bubblewrap import SANDBOX

    problem = SANDBOX.problem()
    detail = problem or f"{SANDBOX.version()}: code in answers can be run"
    yield DoctorFinding(problem is None, False, "sandbox", detail)


def _model() -> Iterator[DoctorFinding]:
    from tunegate.harness.models.demo_model import FOLDER, cache_folder, existing_demo_model

    place = cache_folder() / "models" / FOLDER
    there = existing_demo_model() is not None
    detail = str(place) if there else f"not fetched yet: `tunegate demo` fetches it into {place}"
    yield DoctorFinding(there, False, "embedded model", detail)


def _vllm() -> Iterator[DoctorFinding]:
    """Look for the environment of `vllm:` specs, and check that its version was tested."""
    from tunegate.harness.models.servers.vllm_command import find_installation

    try:
        installation = find_installation()
    except UsageError as error:
        yield DoctorFinding(False, False, "engine vllm", str(error))
        return
    place = "CPU" if installation.cpu else "GPU"
    note = f"; {installation.untested}" if installation.untested else ""
    detail = f"{installation.version} for the {place}, {installation.python}{note}"
    yield DoctorFinding(not installation.untested, False, "engine vllm", detail)
