"""`tunegate init [SUITE] [DIR] [--ci SERVICE]`: copies bundled suites and writes a CI job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunegate.harness.cli import _context_lengths
from tunegate.harness.cli import suite as bundled
from tunegate.harness.cli._agents_file import write_agents_file
from tunegate.harness.cli._ci_job import (
    CONSTRAINTS,
    SCRIPT,
    START,
    CiService,
    is_local,
    refuse_present,
    write_configuration,
    write_jobs,
)
from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli._recorded_examples import FOLDER, TEACHER
from tunegate.harness.records.errors import UsageError, refuse_unwritable
from tunegate.harness.records.versions import installed_versions

ORDER = 10
PANEL = Panel.DECIDE
SUITES = Path("suites")
FIRST = "support_json"
"""The suite that `--ci` copies if the project has no suites yet."""
GUARDS = ("general_knowledge", "production")
"""The suites to copy by default: they guard what no fine-tune may lose."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(init)


def init(
    suite: Annotated[
        str | None,
        typer.Argument(help="Bundled suite to copy. Default: general_knowledge and production."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Folder to make; suites/SUITE if absent.")
    ] = None,
    service: Annotated[
        CiService | None,
        typer.Option("--ci", help="Also write the job that gates pull or merge requests."),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the bundled suites and write nothing.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(help="Base in whose tokens long_context counts: a folder or hub id."),
    ] = None,
    lengths: Annotated[
        str | None,
        typer.Option(help="Lengths of long_context: some of 1k,2k,4k,8k,16k,32k. Default: 1k,2k."),
    ] = None,
) -> None:
    """Copy bundled suites to start from; say what to edit next."""
    is_long = suite == _context_lengths.SUITE and service is None
    if not is_long and (base, lengths) != (None, None):
        raise UsageError(
            f"--base and --lengths: for the suite {_context_lengths.SUITE} only, without --ci"
        )
    if listed:
        _list()
    elif service is not None:
        _gate_in_ci(service, suite, folder)
    elif suite is None:
        _copy_guards()
    else:
        place = _place(suite, folder)
        lines = _context_lengths.suite_lines(base, lengths) if is_long else {}
        say(f"wrote {place}: {', '.join(_copy_suite(suite, place))}")
        if is_long:
            _context_lengths.set_lines(place / "suite.toml", lines)
        _declare_ledger()
        write_agents_file()
        _next_steps(place)


def _copy_guards() -> None:
    """Copy the suites that guard any fine-tune, and print what to do next."""
    places = [_place(name, None) for name in GUARDS]
    for name, place in zip(GUARDS, places, strict=True):
        say(f"wrote {place}: {', '.join(_copy_suite(name, place))}")
    _declare_ledger()
    write_agents_file()
    say("next: `tunegate suite new suites/TASK` for the task that you fine-tune for")
    say(f"      then `tunegate plan {SUITES}/*`")
    say(f"      then `tunegate gate {SUITES} --base BASE --tuned FINE-TUNE`")
    say("`tunegate init --list` lists the other bundled suites")


def _place(suite: str, folder: Path | None) -> Path:
    """Return where a suite is copied to."""
    from tunegate.harness.suite.find import suite_folder

    suite_folder(suite)  # an unknown name is reported before an existing folder
    place = SUITES / suite if folder is None else folder
    if place.exists():
        raise UsageError(f"{place}: is already there; choose another folder")
    return place


def _copy_suite(suite: str, place: Path) -> list[str]:
    with refuse_unwritable(place, "choose another folder"):
        return bundled.copy_suite(suite, place)


_MERGE = "tunegate.ledger.jsonl merge=union"


def _declare_ledger() -> None:
    """Have git merge the attempt ledger by keeping the lines of both branches."""
    here = Path.cwd()
    if not any((folder / ".git").exists() for folder in (here, *here.parents)):
        return
    path = Path(".gitattributes")
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if "tunegate.ledger.jsonl" in text:
            return
        gap = "" if text[-1:] in ("", "\n") else "\n"
        path.write_text(f"{text}{gap}{_MERGE}\n", encoding="utf-8")
    except (OSError, UnicodeError) as error:
        say(f"note: {path} cannot be written ({error}); add this line to it: {_MERGE}")
    else:
        say(f"wrote {path}: {_MERGE}")


def _gate_in_ci(service: CiService, suite: str | None, folder: Path | None) -> None:
    """Write the job and its configuration, and copy a first suite if the project has none."""
    if folder is not None and folder.parent != SUITES:
        raise UsageError(f"{folder}: with --ci a suite must be in {SUITES}, where the job looks")
    refuse_present(service)
    others = sorted(SUITES.rglob("suite.toml"))
    name = suite or (None if others else FIRST)
    place = None if name is None else _place(name, folder)
    if name is not None and place is not None:
        say(f"wrote {place}: {', '.join(_copy_suite(name, place))}")
    try:
        # Answers to one suite are no answers to another.
        is_one = place is not None and (place / "suite.toml").is_file()
        example = place if is_one and not others else None
        configuration, is_new = write_configuration(SUITES, example)
        jobs = write_jobs(service)
    except OSError as error:
        raise UsageError(
            f"the job cannot be written ({error.strerror}: {error.filename})"
        ) from error
    for path in [configuration] * is_new + jobs:
        say(f"wrote {path}")
    _declare_ledger()
    write_agents_file()
    _next_in_ci(service, configuration, runs=is_new and (SUITES / FOLDER).is_dir())


def _next_in_ci(service: CiService, configuration: Path, *, runs: bool) -> None:
    if is_local():
        say(
            f"note: this tunegate was installed from a folder: name in {SCRIPT} one that pip can "
            "install elsewhere"
        )
    if "torch" not in installed_versions(("torch",)):
        say(f"note: PyTorch is not installed here: add to {CONSTRAINTS} what the job installs")
    if service in START:
        say(f"next: {START[service]}")
    first = "it judges recorded examples for now" if runs else "name your fine-tune first"
    say(f"next: run `tunegate gate {SUITES}`, as the job does ({first})")
    say(f"      then name your models in {configuration}: until then the job fails")


def _list() -> None:
    from tunegate.harness.suite.find import suite_names

    names = suite_names()
    width = max(map(len, names))
    for name in names:
        say(f"{name:<{width}}  {bundled.suite_purpose(name)}")
    print("next: `tunegate init SUITE [DIR]` copies one of them")


def _next_steps(place: Path) -> None:
    part = place if (place / "suite.toml").is_file() else place / "*"
    teacher = f" --teacher replay:{place / TEACHER}" if (place / TEACHER).is_file() else ""
    say(f"next: `tunegate gate {place} --base BASE --tuned FINE-TUNE{teacher}`")
    if (place / "suite.toml").is_file() and not (place / "cases.jsonl").is_file():
        say(f"      or first adapt [cases] and gates in {place / 'suite.toml'},")
    else:
        say(f"      or first put your own cases into {part / 'cases.jsonl'}, one per line,")
        say(f"      adapt name, system prompt and gates in {part / 'suite.toml'},")
    say(f"      and run `tunegate suite check {place}` and `tunegate plan {place}`")
