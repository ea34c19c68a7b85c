"""All the files a run is read by, written together."""

from __future__ import annotations

from pathlib import Path

from harness.run import Run, write_atomic
from reports import junit, markdown, page


def write_all(run: Run, folder: Path) -> dict[str, Path]:
    """Write report.html, summary.md and junit.xml into `folder`; return name → path.

    Raises:
        OSError: as the file system says; files that were there are whole, old or new.
    """
    texts = {
        "report.html": page.render(run),
        "summary.md": markdown.summary(run),
        "junit.xml": junit.junit(run),
    }
    for name, text in texts.items():
        write_atomic(folder / name, text)
    return {name: folder / name for name in texts}
