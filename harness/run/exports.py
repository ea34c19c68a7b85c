"""Exports: copies of a run's report, JUnit and summary where the options want them."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import refuse_unwritable
from tunegate.harness.records.files import write_atomic

EXPORTS = {"report": "report.html", "junit": "junit.xml", "summary": "summary.md"}
"""Option → the file of the run folder that it copies."""


def refuse_unwritable_exports(options: Mapping[str, Any]) -> None:
    """Check before the run that the files asked for can be written."""
    for option in EXPORTS:
        if not options[option]:
            continue
        target = Path(options[option])
        with refuse_unwritable(f"--gate-{option}={target}", "choose another file"):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            if os.path.lexists(target) and not stat.S_ISREG(target.lstat().st_mode):
                raise OSError(0, "it is a link or a device, which a report never replaces")


def copy_exports(options: Mapping[str, Any], written: Mapping[str, Path]) -> None:
    """Copy the files of a run folder to where the options want them."""
    refuse_unwritable_exports(options)
    for option, name in EXPORTS.items():
        if options[option]:
            target = Path(options[option]).absolute()
            write_atomic(target, written[name].read_text(encoding="utf-8"))
