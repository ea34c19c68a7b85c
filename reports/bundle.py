"""All the files a run is read by, written together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.run import Run, write_atomic
from reports import junit, markdown, openmetrics, page
from reports.annotations import code_quality, remarks
from reports.data import prepare


def write_all(run: Run, folder: Path, root: Path = Path()) -> dict[str, Path]:
    """Write what people and CI read into `folder`; return name → path.

    Args:
        run: The finished run.
        folder: Where the files go.
        root: The repository, from which `codequality.json` names files.

    Raises:
        OSError: as the file system says; files that were there are whole, old or new.
    """
    data = prepare(run)
    texts: dict[str, str | Iterator[str]] = {
        "report.html": page.pieces(run, data),
        "summary.md": markdown.summary(run, data),
        "comment.md": markdown.comment(run, data),
        "junit.xml": junit.junit(run, data),
        "metrics.txt": openmetrics.metrics(run),
        "codequality.json": code_quality(remarks(run, root)),
    }
    for name, text in texts.items():
        write_atomic(folder / name, text)
    return {name: folder / name for name in texts}
