"""`tunegate help TOPIC`: the guides of the documentation, which the package holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

import tunegate
from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.records.errors import UsageError, unknown_name_message

ORDER = 171
PANEL = Panel.LOOK_CLOSER
_PACKAGE = Path(tunegate.__file__).parent
_GUIDES = "guides"
_LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]*)\)")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("help")(show_topic)


def show_topic(
    topic: Annotated[str, typer.Argument(help="Which guide. Default: the list.")] = "",
) -> None:
    """Print a guide, or list all of them.

    Example: tunegate help forgetting
    """
    pages = help_pages()
    if topic in pages:
        say(*_readable(pages[topic].read_text(encoding="utf-8"), pages).splitlines())
        return
    if topic:
        problem = unknown_name_message(topic, tuple(pages), what="topic")
        raise UsageError(f"{problem}; options of a command: `tunegate COMMAND --help`")
    width = max(map(len, pages))
    for name, page in pages.items():
        title = page.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ")
        say(f"{name:<{width}}  {title}")


def help_pages() -> dict[str, Path]:
    """Return topic → its page."""
    pages = [*(_PACKAGE / _GUIDES).glob("*.md"), _PACKAGE / "statistics.md"]
    return {page.stem: page for page in sorted(pages, key=lambda page: page.stem)}


def _readable(text: str, pages: dict[str, Path]) -> str:
    """Return a page with its links as commands, or as their text where they lead elsewhere."""

    def spell(link: re.Match[str]) -> str:
        label, target = link[1], link[2].split("#")[0]
        if target.startswith(("http://", "https://")):
            return f"{label} ({target})"
        page = Path(target)
        is_topic = page.stem in pages and page.parent.name in ("", "..", _GUIDES)
        return f"{label} (`tunegate help {page.stem}`)" if is_topic else label

    return _LINK.sub(spell, text)
