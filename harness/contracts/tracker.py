"""Tracker: the contract of what `--log-to` names, and what is logged of a run.

A tracker is a file of `harness/run/trackers` with a function of the same name. It takes a
`TrackedRun`, logs it by the tracker's own library, and returns where. `INSTALL` is what pip
installs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tunegate.harness.contracts import lookup
from tunegate.harness.records.errors import (
    BackendError,
    UsageError,
    error_summary,
    hide_credentials,
)
from tunegate.harness.records.files import read_record
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.verdict import VerdictRecord

ROOM = "tunegate.harness.run.trackers"
PROJECT = "tunegate"
"""Where runs are logged if the tracker's own variable names no project or experiment."""
_NUMBERS = ("base", "tuned", "delta", "estimate", "low", "high")


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A judged run, as trackers take it."""

    name: str
    """Name of its folder."""
    facts: Mapping[str, str | int]
    """Verdict, exit code, sentence, models, suites, and the commit if it is known."""
    numbers: Mapping[str, float]
    """`suite/gate/low` → number; low and high are the interval by which the gate is judged."""
    page: Path
    """The report."""

    @classmethod
    def read(cls, folder: Path, page: Path) -> TrackedRun:
        """Read a run folder that has a verdict."""
        manifest = read_record(folder / "manifest.json", Manifest)
        verdict = read_record(folder / "verdict.json", VerdictRecord)
        facts: dict[str, str | int] = {
            "verdict": verdict.verdict.value,
            "exit_code": verdict.verdict.exit_code,
            "sentence": verdict.sentence,
            **{arm: str(verdict.arms[arm].get("spec", "")) for arm in verdict.arms},
            "suites": ", ".join(suite.name for suite in manifest.suites),
        }
        if "commit" in manifest.origin:
            facts["commit"] = manifest.origin["commit"]
        numbers = {
            f"{suite.name}/{gate.id}/{name}": float(value)
            for suite in verdict.suites
            for gate in suite.gates
            for name in _NUMBERS
            if (value := getattr(gate, name)) is not None
        }
        return cls(verdict.run_id, facts, numbers, page)


def tracker_names(text: str) -> tuple[str, ...]:
    """Return the trackers that a comma-separated text names.

    Raises:
        UsageError: there is no such tracker, or its library is not installed.
    """
    install = lookup.defined_texts(ROOM, "INSTALL")
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        lookup.find_object(ROOM, name, what="tracker")
        # A folder called `wandb` can be imported, too; it has no origin.
        if name in install and getattr(find_spec(name), "origin", None) is None:
            raise UsageError(f"{name} is not installed: pip install {install[name]}")
    return names


def log_run(name: str, run: TrackedRun) -> str:
    """Log a run to a tracker; return the line that says so.

    Raises:
        BackendError: the tracker failed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a project's `-W error` is not meant for trackers
            where = lookup.find_object(ROOM, name, what="tracker")(run)
    except (Exception, SystemExit) as error:  # a library's code runs here
        reason = hide_credentials(error_summary(error))
        raise BackendError(f"{name}: {run.name} was not logged ({reason})") from error
    return f"logged to {name}: {hide_credentials(str(where))}"
