"""The files that a gate run leaves: can they be written, and do they hold all that was planned?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import BackendError, UsageError
from harness.manifest import Manifest
from harness.plugin.options import PREFIX
from harness.run import read_jsonl, read_record, write_atomic

EXPORTS = {"report": "report.html", "junit": "junit.xml", "summary": "summary.md"}
"""Option → the file of the run folder that it copies."""


def refuse_unwritable(options: Mapping[str, Any]) -> None:
    """Find out before the run whether the files asked for can be written.

    Raises:
        UsageError: one of them cannot.
    """
    for option in EXPORTS:
        if not options[option]:
            continue
        target = Path(options[option])
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                raise IsADirectoryError(0, "it is a folder")
        except OSError as error:
            raise UsageError(
                f"{PREFIX}{option}={target}: cannot be written ({error.strerror}); "
                "choose another file"
            ) from error


def copy(options: Mapping[str, Any], written: Mapping[str, Path]) -> None:
    """Copy the files of a run folder to where the options want them.

    Raises:
        OSError: as the file system says.
    """
    for option, name in EXPORTS.items():
        if options[option]:
            target = Path(options[option]).absolute()
            write_atomic(target, written[name].read_text(encoding="utf-8"))


def refuse_gaps(folder: Path) -> None:
    """Count what is stored against what was planned.

    Raises:
        BackendError: an answer is missing: whatever the verdict says, it is not shipped.
    """
    planned = len(read_record(folder / "manifest.json", Manifest).plan)
    known = sum(row["status"] != "missing" for row in read_jsonl(folder / "cells.jsonl"))
    if known != planned:
        raise BackendError(f"{planned} answers were planned and {known} are there")
