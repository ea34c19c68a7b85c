"""Writes cli.md from the help of every command of `tunegate`.

Run it after a command or an option has changed: `python docs/reference/make_cli.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from tunegate.harness.cli import app

PAGE = Path(__file__).with_name("cli.md")
_WIDTH = 96
_INTRODUCTION = """\
# Command line

Every option of `tunegate gate` is also an option of pytest, with `--gate-` in front, and a key of
`pytest.ini`, with `gate_` in front. `tunegate train METHOD --help` lists TRL's flags;
[training](../guides/training.md) explains those that matter. Every command has `--help`.
"""


def render() -> str:
    """Return the page: one section for each command, in the order of `tunegate --help`."""
    return "\n".join([_INTRODUCTION, *_sections(typer.main.get_command(app))])


def _sections(group: Any, *names: str) -> Iterator[str]:
    for name, command in group.commands.items():
        words = (*names, name)
        if hasattr(command, "commands"):
            yield from _sections(command, *words)
            continue
        shown = CliRunner().invoke(app, [*words, "--help"], terminal_width=_WIDTH)
        if shown.exit_code != 0:
            raise RuntimeError(f"{' '.join(words)} --help: exit code {shown.exit_code}")
        text = "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
        text = re.sub(r"\n  --help +Show this message and exit\.(?=\n|$)", "", text)
        text = text.replace("\n\nOptions:\n\n", "\n\n").removesuffix("\n\nOptions:")
        yield f"## tunegate {' '.join(words)}\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
