"""AGENTS.md: what a coding agent must know about gates, for `tunegate init`."""

from __future__ import annotations

from pathlib import Path

from tunegate.harness.cli._output import say

FILE = Path("AGENTS.md")


def write_agents_file() -> None:
    """Write AGENTS.md into the current folder, unless one is there."""
    text = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")
    try:
        if FILE.exists():
            if "tunegate" not in FILE.read_text(encoding="utf-8", errors="replace"):
                say(
                    f"note: {FILE} does not mention tunegate; `tunegate init` in an empty folder "
                    "writes one to copy from"
                )
            return
        FILE.write_text(text, encoding="utf-8")
    except OSError as error:
        say(f"note: {FILE} cannot be written ({error.strerror})")
    else:
        say(f"wrote {FILE}: how coding agents gate here, and what they never do")
