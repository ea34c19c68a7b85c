"""`tunegate suite new --template NAME`: suites over known questions, whose data the user has."""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import UsageError
from harness.lookup import unknown

MMLU = """\
name = "{name}"

[cases]
from = "mmlu"
path = "data"              # folder with test/ and dev/: MMLU's CSV files, parquet or JSON lines
per_subject = 5            # questions of each subject, drawn by a seed; more prove smaller losses
few_shot = 5               # answered questions of the subject in front, from dev/
style = "text"             # scores the text of each answer; "letters" lists them and scores A to D

[generation]
template = "none"

[[metrics]]
use = "choice_probability" # continuous: it falls before the first answer flips

[[metrics]]
use = "choice_accuracy"    # shown, and every flipped question listed

[[gates]]
metric = "choice_probability"
tolerance = 0.02           # the right answer may lose two points of probability at most

# Accuracy takes several times the cases, and proves nothing where base may be guessing: such a gate
# stays undecided until base is proven above chance plus the tolerance.
# [[gates]]
# metric = "choice_accuracy"
# tolerance = 0.05
"""

TEMPLATES = {"mmlu": MMLU}
"""Name → text of suite.toml with a place for the suite's name."""


def write(template: str, folder: Path) -> str:
    """Write a suite folder; return what was done and what comes next, in words.

    Raises:
        UsageError: there is no such template, or the folder cannot be made.
    """
    if template not in TEMPLATES:
        raise UsageError(unknown(template, tuple(TEMPLATES), what="template"))
    try:
        folder.mkdir(parents=True)
        text = TEMPLATES[template].format(name=suite_name(folder))
        (folder / "suite.toml").write_text(text, encoding="utf-8")
    except FileExistsError as error:
        raise UsageError(f"{folder}: is already there; choose another name") from error
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be written ({error.strerror}); choose another place"
        ) from error
    return (
        f"wrote {folder}/suite.toml\nnext: put the questions into {folder}/data, or write their "
        f"place behind path =, then `tunegate suite check {folder}`"
    )


def suite_name(folder: Path) -> str:
    """Return a valid name of a suite for its folder's."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", folder.resolve().name).lstrip("._-")[:80]
    return name or "suite"
