"""The `tunegate` command: one command a file, each imported when it is called.

A command is a module of this folder with a `PANEL` and an `ORDER` (its place in `tunegate --help`)
and `register(app)`, which adds the command named like the module, `_` written `-`. Heavy imports
are inside the commands. A user's mistake is printed as one line and exits 2; a defect of ours keeps
its traceback.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.contracts import lookup
from tunegate.harness.records.defaults import ALLOW_OUTSIDE
from tunegate.harness.records.errors import MissingExtra, TunegateError

_SETTINGS: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}


class CommandFolder(Mapping[str, Any]):
    """Name → command. Looking one up imports its module alone, iterating imports all of them."""

    def __init__(self) -> None:
        """Begin with no command imported."""
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """Return a command."""
        if name not in self._known:
            module = lookup.ordered_module(__name__, name.replace("-", "_"))
            if module is None or "_" in name:
                raise KeyError(name)
            alone = typer.Typer(**_SETTINGS)
            module.register(alone)
            self._known[name] = typer.main.get_group(alone).commands[name]
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names in the order of `tunegate --help`."""
        return (name.replace("_", "-") for name in lookup.ordered_modules(__name__))

    def __len__(self) -> int:
        """Return how many commands there are."""
        return len(lookup.ordered_modules(__name__))

    def by_panel(self) -> dict[Panel, list[str]]:
        """Return panel → names of its commands, in the order of `tunegate --help`."""
        modules = lookup.ordered_modules(__name__)
        return {
            panel: [n.replace("_", "-") for n, module in modules.items() if module.PANEL is panel]
            for panel in Panel
        }


class CommandGroup(TyperGroup):
    """The group of all commands."""

    def __init__(self, **settings: Any) -> None:
        """Take typer's settings, and the commands from the folder."""
        super().__init__(**settings)
        self.commands: Any = CommandFolder()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each panel with its commands, all in one column."""
        width = max(len(name) for name in self.commands)
        for panel, names in self.commands.by_panel().items():
            limit = formatter.width - 6 - width
            rows = [
                (f"{name:<{width}}", self.commands[name].get_short_help_str(limit))
                for name in names
            ]
            with formatter.section(panel):
                formatter.write_dl(rows)


_FAILED = 13
"""Exit code of an ERROR."""
app = typer.Typer(name="tunegate", cls=CommandGroup, **_SETTINGS)


def _print_version(wanted: bool) -> None:
    if wanted:
        from tunegate.harness.records.versions import installed_versions

        versions = installed_versions(("tunegate",))
        print(f"tunegate {versions.get('tunegate', '(not installed)')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version of tunegate and exit.",
        ),
    ] = False,
    allow_outside: Annotated[
        bool,
        typer.Option(
            "--allow-outside",
            help="Let suites read files outside of their folder and the project.",
        ),
    ] = False,
) -> None:
    """Ship a fine-tune only when it is proven better and nothing that worked has broken."""
    if allow_outside:
        # Workers of pytest-xdist and trainings read it, too.
        os.environ[ALLOW_OUTSIDE] = "1"


class _Pipe(io.FileIO):
    """A pipe whose reader may end first, as `head` does: what is written then goes nowhere."""

    def write(self, data: Any) -> int:
        """Write bytes, or drop them; return how many."""
        try:
            return super().write(data)
        except BrokenPipeError:
            _write_nowhere(self.fileno())
            return super().write(data)


def _write_nowhere(stream: int) -> None:
    """Let what is still written to a file descriptor vanish."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream)
    os.close(nowhere)


def _outlive_readers() -> None:
    """Let output that nobody reads vanish, so that the exit code is still the verdict's."""
    nowhere = Path(os.devnull)
    # Without a stream (`>&-`) pytest would end with a traceback.
    sys.stdout = sys.stdout or nowhere.open("w", encoding="utf-8")
    sys.stderr = sys.stderr or nowhere.open("w", encoding="utf-8")
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        original = stream is getattr(sys, f"__{name}__")
        if original and stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode):
            pipe: Any = _Pipe(stream.fileno(), "w", closefd=False)
            settings = ("encoding", "errors", "line_buffering", "write_through")
            lasting = io.TextIOWrapper(
                pipe if stream.write_through else io.BufferedWriter(pipe),
                **{setting: getattr(stream, setting) for setting in settings},
            )
            setattr(sys, name, lasting)


def main() -> None:
    """Run the command line."""
    # Two torch threads that spin while another process runs run up to 30 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A few microseconds of spinning save the wake-up between two operations and cost nobody much.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    _outlive_readers()
    with errors_as_exit_codes():
        app(prog_name="tunegate")


def _exit_with(error: TunegateError) -> NoReturn:
    for line in str(error).splitlines():
        say(f"tunegate: {line}", file=sys.stderr)
    sys.exit(error.exit_code)


@contextlib.contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Turn an interrupt, and errors that are no defect of ours, into lines and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except TunegateError as error:
        _exit_with(error)
    except ModuleNotFoundError as error:
        from tunegate.harness.cli.doctor import extra_with

        module = (error.name or "").partition(".")[0]
        if (extra := extra_with(module)) is None:
            raise
        _exit_with(MissingExtra(f"this command imports {module}; it", extra))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        # Files that are full are named where they are written: this is the output.
        print(f"tunegate: the output cannot be written ({error.strerror})", file=sys.stderr)
        _write_nowhere(1)  # Python writes the rest when it ends
        sys.exit(_FAILED)
