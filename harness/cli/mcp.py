"""`tunegate mcp`: a server for coding agents: they check suites, gate, and read verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunegate.harness.cli._panels import Panel
from tunegate.harness.records.errors import MissingExtra

ORDER = 105
PANEL = Panel.LOOK_CLOSER


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mcp")(mcp)


def mcp(
    models: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of models outside of the current one. May be repeated."),
    ] = None,
) -> None:
    """Serve a coding agent over stdin and stdout (MCP).

    It gates and explains. It edits no suite, no margin and no case.
    """
    try:
        import mcp.server  # noqa: F401 - found before anything is started
    except ImportError as error:
        raise MissingExtra("tunegate mcp", "mcp") from error
    from tunegate.harness.cli._agent_server import serve_agent

    serve_agent([folder.resolve() for folder in models or ()])
