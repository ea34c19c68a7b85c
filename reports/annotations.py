"""CI annotations on lines of `suite.toml`: the verdict and the gates that decided it.

GitHub reads workflow commands in the log and shows ten per step; GitLab reads a code-quality
report in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tunegate.harness.contracts.further_arm import comparison_results
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict
from tunegate.reports.escaping import one_line
from tunegate.reports.formatting import FACES, STATUSES

GATES = 8
"""Gates annotated at most, besides the verdict: GitHub drops what comes after the tenth."""

SEVERITIES = {"error": "major", "warning": "minor", "notice": "info"}
"""Level of a workflow command → severity of a code-quality report."""

_ORDER = (GateStatus.FAIL, GateStatus.ERROR, GateStatus.UNDECIDED)


@dataclass(frozen=True, slots=True)
class Annotation:
    """One message on one line of a file."""

    level: str
    """`error`, `warning` or `notice`."""
    title: str
    message: str
    file: str | None = None
    """Path from the repository's root; None where the suite is outside."""
    line: int | None = None

    def command(self) -> str:
        """Return it as a workflow command of GitHub, always on one line."""
        place = {"file": self.file, "line": self.line, "title": self.title}
        given = ",".join(f"{k}={_property(str(v))}" for k, v in place.items() if v is not None)
        return f"::{self.level} {given}::{_data(self.message)}"


def run_annotations(run: Run, root: Path, level: str = "error") -> tuple[Annotation, ...]:
    """Return the annotations of a run."""
    shipped = run.verdict.verdict is Verdict.SHIP
    gates = [] if shipped else list(islice(_gates(run, root, level), GATES))
    face = FACES[run.verdict.verdict]
    first = gates[0] if gates else Annotation(level, "", "", *_suite_place(run, root))
    slices = run.verdict.slices
    but = "" if slices is None else f"; but {slices.sentence}"
    verdict = Annotation(
        level=("warning" if slices else "notice") if shipped else level,
        title=f"tunegate: {face.word}",
        message=one_line(run.verdict.sentence + but, 1_000),
        file=first.file,
        line=first.line,
    )
    return (verdict, *gates)


def failure_annotation(message: str) -> Annotation:
    """Return the annotation of a run that ended without a verdict."""
    return Annotation("error", "tunegate", one_line(message, 1_000))


def code_quality(found: Sequence[Annotation]) -> str:
    """Return a code-quality report for GitLab, without annotations that have no file."""
    rows = [
        {
            "description": f"{remark.title}: {remark.message}",
            "check_name": "tunegate",
            "fingerprint": sha256([remark.title, remark.file, remark.line]),
            "severity": SEVERITIES[remark.level],
            "location": {"path": remark.file, "lines": {"begin": remark.line or 1}},
        }
        for remark in found
        if remark.file is not None
    ]
    return json.dumps(rows, indent=2, ensure_ascii=True) + "\n"


def _gates(run: Run, root: Path, level: str) -> Iterator[Annotation]:
    """Yield an annotation for each gate against shipping, proven failures first."""
    gates = [(suite.name, gate) for suite in run.manifest.suites for gate in suite.gates]
    places = {(suite, gate.id): gate.where for suite, gate in gates}
    # A goal replaces a tolerance where there is an incumbent, and takes its place.
    goals = {
        (suite, gate.subject): gate.where for suite, gate in gates if gate_kind(gate.kind).is_goal
    }
    judged = [(suite.name, gate) for suite in run.verdict.suites for gate in suite.gates]
    for compared in comparison_results(run.verdict).values():
        judged += compared.decided_gates()
    against = [(s, gate) for s, gate in judged if gate.status in _ORDER and not gate.advisory]
    for suite, gate in sorted(against, key=lambda pair: _ORDER.index(pair[1].status)):
        where = places.get((suite, gate.id)) or goals.get((suite, gate.subject), "")
        yield _gate(level, suite, gate, _place(where, root))


def _gate(
    level: str, suite: str, gate: GateResult, place: tuple[str | None, int | None]
) -> Annotation:
    title = f"{suite}: {gate.subject} {gate.kind} {STATUSES[gate.status].word}"
    return Annotation(level, one_line(title, 200), one_line(gate.sentence, 1_000), *place)


def _suite_place(run: Run, root: Path) -> tuple[str | None, int | None]:
    """Return the location of the first suite, for a run in which no gate is to blame."""
    return _place(f"{run.manifest.suites[0].path}:1", root) if run.manifest.suites else (None, None)


def _place(where: str, root: Path) -> tuple[str | None, int | None]:
    """Return file and line of `suite.toml:12`, the file relative to the repository's root."""
    name, _, number = where.rpartition(":")
    if not name or not number.isdigit():
        return None, None
    path, home = (root / name).resolve(), root.resolve()
    if not path.is_relative_to(home):
        return None, None
    return path.relative_to(home).as_posix(), int(number)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
