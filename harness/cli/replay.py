"""`tunegate replay TRACES…`: yesterday's production prompts, asked of base and tuned again.

With `--case ID`, one case is shown with all answers to it, from a stored run or asked now.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tunegate.harness.cli import _production_suite, gate
from tunegate.harness.cli._case_view import case_lines, print_case
from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.contracts.further_arm import RECORDED
from tunegate.harness.records.errors import UsageError, unknown_name_message
from tunegate.harness.run import STORE

if TYPE_CHECKING:
    from tunegate.harness.records.answers import StoredAnswer
    from tunegate.harness.suite import Suite
    from tunegate.harness.suite.sources.traces import ProductionCases

ORDER = 70
PANEL = Panel.IN_PRODUCTION
FOLDER = Path(".tunegate/replay")
ARMS = (RECORDED, "base", "tuned")
"""The arms whose answers to one case are shown, in this order."""
_DOC = "Ask both models what production was asked, and compare."
_USAGE = "tunegate replay TRACES… [--base SPEC] --tuned SPEC [OPTIONS]"
_OPTIONS = {
    "case": "Show one case by its id: the prompt, the answers, and the words that differ.",
    "sample": "Number of calls to draw by seed. [default: all]",
    "limit": "Only the first N calls.",
    "seed": "Seed of the draw, and of the gate. [default: 0]",
    "stratify": "Keep each value's share: model, provider, route, day, hour (comma-separated).",
    "only": "Only calls that match KEY=PATTERN, such as model=gpt-4o*; may be repeated.",
    "repeated": "Calls with the same prompt: drop keeps the first, keep keeps all. [default: drop]",
    "scrub": "Data to remove from texts: pii, none, or pkg.mod:fn. [default: pii]",
    "settings": "Request settings that the cases keep: greedy (all but sampling), recorded "
    "(all), none, or some of max_tokens, stop, tool_choice, response_format, "
    "temperature, top_p. [default: greedy]",
    "cluster-by": "Attribute whose values form the clusters, or call. [default: conversation or "
    "session, else trace]",
    "suite": "Folder for the production suite; without --tuned, nothing is judged.",
}
_EXAMPLES = """\
Examples:
  tunegate replay traces.jsonl --tuned out/adapter --sample 200 --stratify route
  tunegate replay traces/ --suite suites/production        only write the suite
  tunegate replay traces.jsonl --tuned out/adapter --case 4bf92f3577b34da6
  tunegate replay .tunegate/runs/RUN --case ID             a case of a stored run"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay", context_settings=gate.OWN_WORDS, help=_DOC)(replay)


def replay(context: typer.Context) -> None:
    """Replay traces and exit with the verdict's code."""
    args = list(context.args)
    if not args or gate.asks_help(args):
        say(help_text())
        raise typer.Exit(0 if args else 2)
    raise typer.Exit(run_replay(args))


def help_text() -> str:
    """Return the usage with the options that are not the gate's."""
    lines = [f"Usage: {_USAGE}", "", _DOC, "", "Options:"]
    for name, text in _OPTIONS.items():
        lines += [f"  --{name} {name.upper()}", f"      {text}"]
    return "\n".join([*lines, "", "Every option of `tunegate gate` works, too.", "", _EXAMPLES])


@dataclass(frozen=True)
class _ReplayArguments:
    """The command line, by whose words they are."""

    paths: Sequence[str]
    own: Mapping[str, str]
    """Name of an option of ours → value."""
    only: Mapping[str, Sequence[str]]
    gate: Mapping[str, str]
    """Option of the gate → value, empty for a switch."""
    rest: Sequence[str]
    """`--` and what follows it: pytest's."""


def run_replay(args: Sequence[str]) -> int:
    """Replay with the arguments of `tunegate replay`; return the exit code."""
    arguments = _split_arguments(args)
    case, tuned = arguments.own.get("case"), arguments.gate.get("--tuned")
    if not arguments.paths:
        raise UsageError("no traces; name files, folders or a run")
    if case and not tuned and (Path(arguments.paths[0]) / "manifest.json").is_file():
        show_stored(Path(arguments.paths[0]), case)
        return 0
    if not tuned and ("suite" not in arguments.own or case):
        raise UsageError("no tuned model: name it with --tuned SPEC, or only write a --suite DIR")
    production = _read(arguments)
    for line in production.notes:
        say(line)
    local = _is_local(arguments.gate.get("--base"), tuned)
    folder = _write_suite(production, arguments.own.get("suite"), local=local)
    if not tuned:
        return 0
    file = folder / _production_suite.RECORDED_FILE
    recorded = f"replay:{file}" if production.recorded else None
    if case:
        specs = {"base": arguments.gate.get("--base"), "tuned": tuned, RECORDED: recorded}
        dtype = arguments.gate.get("--dtype", "auto")
        ask_and_show(folder, case, specs, dtype=dtype)
        return 0
    gate_arguments = [
        f"{name}={value}" if value else name for name, value in arguments.gate.items()
    ]
    beside = [f"--recorded={recorded}"] if recorded else []
    return gate.run_gate([str(folder), *beside, *gate_arguments, *arguments.rest])


def _is_local(base: str | None, tuned: str | None) -> bool:
    """Return whether base and tuned are Transformers models, which have likelihoods."""
    from tunegate.harness.models.open_arms import backend_of

    return tuned is not None and not any(map(backend_of, filter(None, (base, tuned))))


def _write_suite(production: ProductionCases, suite_folder: str | None, *, local: bool) -> Path:
    """Write the suite into the folder that was asked for, or into one of our own."""
    from tunegate.harness.cli.suite import suite_name
    from tunegate.harness.records.hashing import sha256

    digest = sha256([case.id for case in production.cases])[:12]
    folder = Path(suite_folder) if suite_folder else FOLDER / f"production-{digest}"
    if suite_folder and folder.exists():
        raise UsageError(
            f"{folder}: is already there; choose another name, or judge it as it is: tunegate "
            f"gate {folder} --recorded replay:{folder}/{_production_suite.RECORDED_FILE}"
        )
    name = suite_name(folder) if suite_folder else "production"
    _production_suite.write_suite(folder, production, name=name, local=local)
    say(f"wrote {folder}/suite.toml, cases.jsonl and {_production_suite.RECORDED_FILE}")
    say(_production_suite.CONSENT)
    return folder


def _read(arguments: _ReplayArguments) -> ProductionCases:
    from tunegate.harness.suite.sources.traces import TraceSelection, collect_cases

    options = arguments.own
    stratify = tuple(options["stratify"].split(",")) if "stratify" in options else ()
    if options.get("repeated", "drop") not in ("drop", "keep"):
        raise UsageError(f"--repeated={options['repeated']!r} must be drop or keep")
    seed, settings = options.get("seed", "0"), options.get("settings", "greedy")
    if not seed.isdecimal():
        raise UsageError(f"--seed={seed!r} must be a whole number of at least 0")
    wanted = TraceSelection(
        limit=_count(options, "limit"),
        sample=_count(options, "sample"),
        seed=int(seed),
        stratify=stratify,
        repeated=options.get("repeated", "drop"),
        scrub=options.get("scrub", "pii"),
        only=arguments.only,
        settings=tuple(map(str.strip, settings.split(","))) if "," in settings else settings,
        cluster_by=options.get("cluster-by", ""),
    )
    return collect_cases(list(arguments.paths), wanted)


def _count(options: Mapping[str, str], name: str) -> int | None:
    text = options.get(name)
    if text is None:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise UsageError(f"--{name}={text!r} must be a whole number above 0")
    return int(text)


def _split_arguments(args: Sequence[str]) -> _ReplayArguments:
    """Split the words of the command line into ours, the gate's, and traces."""
    from tunegate.harness.plugin.gate_options import OPTIONS

    switches = {f"--{option.name}": option.flag for option in OPTIONS}
    words = list(args)
    arguments = _ReplayArguments(
        [], {}, {}, {}, words[words.index("--") :] if "--" in words else ()
    )
    rest = words[: len(words) - len(arguments.rest)]
    paths: list[str] = []
    options: dict[str, str] = {}
    only: dict[str, list[str]] = {}
    theirs: dict[str, str] = {}
    while rest:
        name, _, inline = rest.pop(0).partition("=")
        if not name.startswith("-"):
            paths.append(name + (f"={inline}" if inline else ""))
            continue
        if name not in switches and name.removeprefix("--") not in _OPTIONS:
            names = (*(f"--{option_name}" for option_name in _OPTIONS), *switches)
            raise UsageError(unknown_name_message(name, names, what="option"))
        value = "" if switches.get(name) else inline or _value(name, rest)
        if name == "--only":
            key, pattern = _pattern(value)
            only.setdefault(key, []).append(pattern)
        elif name.removeprefix("--") in _OPTIONS:
            options[name.removeprefix("--")] = value
        if name in switches:
            theirs[name] = value
    return replace(arguments, paths=paths, own=options, only=only, gate=theirs)


def _value(name: str, rest: list[str]) -> str:
    if not rest or rest[0].startswith("--"):
        raise UsageError(f"{name} needs a value")
    return rest.pop(0)


def _pattern(text: str) -> tuple[str, str]:
    key, equals, pattern = text.partition("=")
    if not equals or not key or not pattern:
        raise UsageError(f"--only {text}: write KEY=PATTERN, such as model=gpt-4o* or route=/chat")
    return key, pattern


def show_stored(folder: Path, name: str) -> None:
    """Print a case of a finished run with its answers."""
    from tunegate.harness.records.run_folder import Run

    run = Run.load(folder)
    matches = [(suite, case) for suite, case in run.cases if case == name]
    if not matches:
        raise UsageError(f"{folder}: {_unknown_case(name, [case for _, case in run.cases])}")
    for suite, case in matches:
        kept = run.cases[suite, case]
        cells = {
            arm: run.completions[suite, case, arm]
            for arm in ARMS
            if (suite, case, arm) in run.completions
        }
        print_case(case_lines(kept.case, cells, where=f"{suite}, {kept.where}"))


def ask_and_show(folder: Path, name: str, specs: Mapping[str, str | None], *, dtype: str) -> None:
    """Ask base and tuned one case of a production suite, unless it is stored, and print it."""
    from tunegate.harness.records.answers import CellKind
    from tunegate.harness.suite import load_suite

    suite = load_suite(folder)
    case = next((candidate for candidate in suite.cases if candidate.id == name), None)
    if case is None:
        raise UsageError(
            f"{folder}: {_unknown_case(name, [candidate.id for candidate in suite.cases])}"
        )
    only = replace(
        suite,
        cases=(case,),
        metrics=tuple(m for m in suite.metrics if m.needs is CellKind.GENERATE),
    )
    cells = {stored.cell.arm: stored for stored in _answers(only, specs, dtype)}
    ordered = {arm: cells[arm] for arm in ARMS if arm in cells and cells[arm].status == "ok"}
    failed = {arm: stored for arm, stored in cells.items() if stored.status != "ok"}
    print_case(case_lines(case, ordered | failed, where=suite.name))


def _answers(suite: Suite, specs: Mapping[str, str | None], dtype: str) -> list[StoredAnswer]:
    from tunegate.harness.checks import liveness
    from tunegate.harness.models.open_arms import open_arms
    from tunegate.harness.run.prepare import prepare

    arms = open_arms(specs, dtype=dtype)
    liveness.check_liveness(arms)
    with prepare([suite], arms, STORE) as run:
        run.answer(sys.stderr)
        return list(run.answers())


def _unknown_case(name: str, known: list[str]) -> str:
    return unknown_name_message(name, tuple(known[:20]), what="case")
