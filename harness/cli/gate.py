"""`tunegate gate SUITES --base … --tuned …`: pytest with the right arguments."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.records.errors import UsageError, unknown_name_message

if TYPE_CHECKING:
    import pytest

    from tunegate.harness.plugin.gate_options import GateOption

ORDER = 20
PANEL = Panel.DECIDE
OWN_WORDS: dict[str, Any] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
    # Otherwise click swallows the `--` in front of pytest's arguments.
    "allow_interspersed_args": False,
}
"""Settings of a command that reads the words of its command line itself."""
_HELP_WORDS = ("--help", "-h")
_DOC = (
    "Decide whether a fine-tune ships. Exit codes: 0 SHIP, 1 BLOCK, 10 UNDECIDED, 11 HOLD, "
    "12 NOT COMPARABLE, 13 ERROR."
)
_HELP = "tunegate gate SUITES… --base SPEC --tuned SPEC [OPTIONS] [-- PYTEST ARGUMENTS]"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("gate", context_settings=OWN_WORDS, help=_DOC)(gate)


def gate(context: typer.Context) -> None:
    """Run the gate and exit with the verdict's code."""
    args = list(context.args)
    if asks_help(args):
        print(help_text())
        raise typer.Exit(0)
    if not args:
        from tunegate.harness.cli._gate_proposal import propose_gate

        say(*(propose_gate(Path.cwd()) or help_text().splitlines()), file=sys.stderr)
        raise typer.Exit(2)
    raise typer.Exit(run_gate(args))


def asks_help(words: Sequence[str]) -> bool:
    """Return whether `--help` is among the words before `--`, other than for an option's value."""
    from tunegate.harness.plugin.gate_options import OPTIONS, PREFIX

    flags = {start + o.name for o in OPTIONS if o.flag for start in ("--", PREFIX)}
    needs_value = False
    for word in itertools.takewhile(lambda word: word != "--", words):
        if word in _HELP_WORDS and not needs_value:
            return True
        needs_value = word.startswith("--") and "=" not in word and word not in flags
    return False


def help_text() -> str:
    """Return the usage, with every option of the gate."""
    from tunegate.harness.plugin.gate_options import OPTIONS

    lines = [f"Usage: {_HELP}", "", _DOC, "", "Options:"]
    for option in OPTIONS:
        value = "" if option.flag else " " + ("|".join(option.choices or ()) or option.name.upper())
        default = f" [default: {option.default}]" if option.default not in (None, False) else ""
        lines += [f"  --{option.name}{value}", f"      {option.help}{default}"]
    return "\n".join(lines)


def run_gate(args: Sequence[str]) -> int:
    """Run a gate with the arguments of `tunegate gate`; return the exit code."""
    try:
        arguments = pytest_arguments(args)
    except UsageError as error:
        from tunegate.harness.plugin.no_verdict import leave_sentence_by

        leave_sentence_by(args, str(error))
        raise
    return pytest_exit_code(arguments)


def pytest_exit_code(arguments: Sequence[str]) -> int:
    """Run pytest in this process; return the code that `tunegate` ends with.

    Success needs a verdict of this session: if pytest succeeds without one, the code is ERROR's.
    """
    import pytest

    from tunegate.harness.records.verdict import Verdict

    witness = VerdictWitness()
    with _without_addopts(arguments):
        code = int(pytest.main([*arguments], plugins=[witness]))
    ours: dict[int, int] = {pytest.ExitCode.USAGE_ERROR: 2, pytest.ExitCode.INTERNAL_ERROR: 13}
    code = ours.get(code, code)
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return code
    if witness.exit_status is None:
        print("ERROR: no verdict: this command evaluated no gate", file=sys.stderr)
        return Verdict.ERROR.exit_code
    return witness.exit_status


@dataclass(eq=False)
class VerdictWitness:
    """pytest plugin that notes how the gate session of this process ended."""

    exit_status: int | None = None
    """The session's own exit code, whatever other plugins made of it; None without a verdict."""

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Read the session before pytest lets go of it. (pytest_unconfigure)"""
        from tunegate.harness.plugin.gate_options import SESSION

        session = config.stash.get(SESSION, None)
        if session is not None and session.verdict is not None:
            self.exit_status = session.exit_status


@contextmanager
def _without_addopts(arguments: Sequence[str]) -> Iterator[None]:
    """Hide PYTEST_ADDOPTS inside, if the arguments override the project's addopts as well."""
    from tunegate.harness.records.command_line import NO_ADDOPTS

    name = "PYTEST_ADDOPTS"
    hidden = os.environ.pop(name, None) if NO_ADDOPTS[1] in arguments else None
    try:
        yield
    finally:
        if hidden is not None:
            os.environ[name] = hidden


def pytest_arguments(args: Sequence[str]) -> list[str]:
    """Translate `--base X` to `--gate-base=X`; suites and what follows `--` stay."""
    from tunegate.harness.plugin.gate_options import OPTIONS, PREFIX
    from tunegate.harness.records.command_line import NO_ADDOPTS, PYTEST_QUIETLY
    from tunegate.harness.suite.find import NONE_NAMED, find_suites

    options = {f"--{o.name}": o for o in OPTIONS} | {PREFIX + o.name: o for o in OPTIONS}
    translated: list[str] = [*NO_ADDOPTS, *PYTEST_QUIETLY]
    rest = list(args)
    paths = []
    named: dict[str, str] = {}
    while rest:
        word = rest.pop(0)
        if word == "--":
            translated += rest
            break
        name, has_value, value = word.partition("=")
        if not word.startswith("-"):
            paths += [_without_brackets(path) for path in find_suites(word)]
        elif name not in options:
            raise UsageError(_unknown_option(name, value or next(iter(rest), "SUITE")))
        elif options[name].flag:
            translated.append(PREFIX + options[name].name)
        else:
            if not has_value and (not rest or rest[0].startswith("--") or rest[0] in _HELP_WORDS):
                raise UsageError(f"{name} needs a value")
            argument = value if has_value else rest.pop(0)
            _refuse_value(options[name], argument, named)
            translated.append(f"{PREFIX}{options[name].name}={argument}")
    if not paths:
        raise UsageError(NONE_NAMED)
    return [*paths, *translated]


def _without_brackets(path: str) -> str:
    """Refuse a suite whose path pytest would read as a test with parameters."""
    if "[" in path.partition("::")[0]:
        raise UsageError(f"{path}: pytest reads [ as a test's parameters; rename the folder")
    return path


def _unknown_option(name: str, value: str) -> str:
    """Return what to write in place of an option that does not exist, and of its value."""
    from tunegate.harness.plugin.gate_options import OPTIONS

    if name in ("--suite", "--suites"):
        meant = f"`tunegate gate {value} …`"
        return f"{name}: suites are named without an option; did you mean {meant}?"
    return unknown_name_message(name, tuple(f"--{o.name}" for o in OPTIONS), what="option")


def _refuse_value(option: GateOption, argument: str, named: dict[str, str]) -> None:
    """Refuse a second value, or one that pytest would refuse under the option's longer name.

    Args:
        option: The option.
        argument: Its value.
        named: Option → value of those before, to which it is added.
    """
    import pytest

    from tunegate.harness.plugin.gate_options import PREFIX

    if (earlier := named.setdefault(option.name, argument)) != argument:
        values = "" if option.secret else f", {earlier} and {argument}"
        raise UsageError(
            f"--{option.name} is given twice{values}; a run takes one: start a run "
            "for each, and `tunegate compare RUN RUN` ranks several fine-tunes"
        )
    if option.choices and argument not in option.choices:
        what = f"value of --{option.name}"
        raise UsageError(unknown_name_message(argument, option.choices, what=what))
    try:
        option.type(argument)
    except pytest.UsageError as error:
        raise UsageError(str(error).replace(PREFIX, "--")) from error


def refuse_unknown(dtype: str) -> None:
    """Refuse a number format that the gate would refuse."""
    from tunegate.harness.plugin.gate_options import OPTIONS

    choices = next(o.choices for o in OPTIONS if o.name == "dtype") or ()
    if dtype not in choices:
        raise UsageError(unknown_name_message(dtype, choices, what="number format"))


if __name__ == "__main__":
    sys.exit(run_gate(sys.argv[1:]))
