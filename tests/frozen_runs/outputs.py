"""What is made of a stored run: the verdict again, and every file that people and CI read.

All imports of the project that the frozen runs need are in this module. `make.py` freezes what
these functions return, and `tests/test_frozen_runs.py` compares it with what was frozen.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.contracts.further_arm import SHIPPED as SHIPPED_ARM
from tunegate.harness.decision.gating.answer_agreement import answer_agreement
from tunegate.harness.decision.verdict.decide import failed_verdict, not_comparable
from tunegate.harness.decision.verdict.deployment_parity import ParityEvidence, compare_shipped
from tunegate.harness.decision.verdict.redecide import decide_again
from tunegate.harness.records.errors import TunegateError
from tunegate.harness.records.files import record_json
from tunegate.harness.records.gate_results import GateReason, GateStatus
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict, VerdictRecord
from tunegate.reports import model_card
from tunegate.reports.annotations import run_annotations
from tunegate.reports.page import write_all

__all__ = ["GateReason", "GateStatus", "Verdict"]

STORED = Path(__file__).parent / "runs"
"""Run → its inputs in one archive, and what was made of them."""
COMMANDS = Path(__file__).parent / "commands"
"""Command → what it writes about several stored runs."""
SHIPPED = Path(__file__).parent / "shipped.jsonl"
"""What the project of the stored runs has shipped, for its history."""
COMMAND_LINES: dict[str, tuple[str, ...]] = {
    "compare": ("compare", "runs/candidate_a", "runs/candidate_b", "runs/candidate_c"),
    "compare_picked": ("compare", "runs/candidate_b", "runs/candidate_a", "--of", "5",
                       "--choose", "runs/candidate_a"),
    "compare_refused": ("compare", "runs/candidate_a", "runs/ship_equivalent"),
    "history": ("history", "--runs", "runs", "--limit", "0"),
    "history_suite": ("history", "routing", "--runs", "runs", "--limit", "4",
                      "--since", "2026-01-02"),
}  # fmt: skip
"""Name of a frozen command → its words, without the place of its output."""
INPUTS = "inputs.tar.xz"
SUMS = "sha256.json"
"""Output → its SHA-256, of the outputs that are not stored as text."""
TEXTS = frozenset({"verdict.json", "summary.md", "junit.xml", "compare.md", "terminal.txt"})
"""Outputs that are stored whole, so that a diff shows what changed."""


def decided(run: Run) -> VerdictRecord:
    """Return the verdict of a stored run, decided again from everything but its verdict."""
    stored = run.verdict
    if not stored.suites:
        refused = stored.verdict is Verdict.NOT_COMPARABLE
        return (not_comparable if refused else failed_verdict)(run.manifest, stored.sentence)
    found = stored
    if SHIPPED_ARM in stored.further_arms:
        # `decide_again` keeps the stored parity, so it is made again before.
        asked = [cell for cell in run.cells if cell.status != "skipped"]
        parity = compare_shipped(
            run.manifest,
            run.cases_of,
            run.scores,
            ParityEvidence(answer_agreement(asked)),
            looks=_looks(run),
        )
        arms = {**stored.further_arms, SHIPPED_ARM: parity}
        found = stored.model_copy(update={"further_arms": arms})
    return decide_again(replace(run, verdict=found))


def outputs(run: Run, folder: Path) -> dict[str, str]:
    """Return output → text of a run, its verdict decided again; `write_all` writes to `folder`."""
    run = replace(run, verdict=decided(run))
    written = write_all(run, folder)
    texts = {name: path.read_bytes().decode() for name, path in written.items()}
    notes = "".join(f"{remark.command()}\n" for remark in run_annotations(run, Path()))
    return {
        "verdict.json": record_json(run.verdict),
        **texts,
        "annotations.txt": notes,
        "model_card.md": model_card.render_section(run, proven=True) + "\n",
    }


def commanded(name: str) -> dict[str, str]:
    """Return output → text of a frozen command, what it says as `terminal.txt`."""
    words = COMMAND_LINES[name]
    folder = Path("out") / name
    target = folder / "history.html" if words[0] == "history" else folder
    result = CliRunner().invoke(app, [*words, "--output", str(target)])
    said, code = result.output, result.exit_code
    if isinstance(result.exception, TunegateError):
        said, code = f"{said}{result.exception}\n", result.exception.exit_code
    elif isinstance(result.exception, Exception):
        raise result.exception
    made = {path.name: path.read_bytes().decode() for path in sorted(folder.glob("*"))}
    return {**made, "terminal.txt": f"{said}exit code {code}\n"}


def load(name: str) -> Run:
    """Return an unpacked run; the current folder is the one that it was unpacked in."""
    return Run.load(Path("runs") / name)


def unpack(folder: Path) -> None:
    """Unpack all stored runs in `folder`, each as `runs/NAME`.

    With `folder` as the current one, pages that name files name the same ones everywhere.
    """
    for stored in sorted(STORED.iterdir()):
        place = folder / "runs" / stored.name
        place.mkdir(parents=True)
        for name, content in contents(stored / INPUTS).items():
            (place / name).write_bytes(content)
        (place / "verdict.json").write_bytes((stored / "verdict.json").read_bytes())
    (folder / SHIPPED.name).write_bytes(SHIPPED.read_bytes())


def contents(archive: Path) -> dict[str, bytes]:
    """Return the files of an archive, name → content."""
    found = {}
    with tarfile.open(archive) as files:
        for member in files:
            file = files.extractfile(member)
            assert file is not None, f"{archive}: {member.name} is no file"
            found[member.name] = file.read()
    return found


def pack(files: Mapping[str, bytes], archive: Path) -> None:
    """Write files as an archive; the same files give the same bytes."""
    with tarfile.open(archive, "w:xz", preset=9) as made:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))


def sha256(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def _looks(run: Run) -> dict[str, InterimLook]:
    """Return suite → the interim look at which it ended."""
    skipped: dict[str, set[str]] = {}
    for stored in run.cells:
        if stored.status == "skipped":
            skipped.setdefault(stored.cell.suite, set()).add(stored.cell.case)
    found = {}
    for suite in run.manifest.suites:
        if suite.looks is not None:
            seen = len(suite.looks.order) - len(skipped.get(suite.name, ()))
            found[suite.name] = InterimLook(suite.looks, suite.looks.sizes.index(seen))
    return found
