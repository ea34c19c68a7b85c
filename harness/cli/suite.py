"""`tunegate suite new | check | show | sample`: start, validate and show suites."""

from __future__ import annotations

import random
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.contracts import lookup
from tunegate.harness.records.errors import (
    SuiteError,
    UsageError,
    refuse_unwritable,
    unknown_name_message,
)
from tunegate.harness.records.wording import count_noun

if TYPE_CHECKING:
    from tunegate.harness.contracts.inspect_task import InspectTask
    from tunegate.harness.records.cases import Case
    from tunegate.harness.suite import Suite


ORDER = 190
PANEL = Panel.DECIDE
_SOURCES = "tunegate.harness.suite.sources"
_TEMPLATES = tuple(lookup.definition_lines(_SOURCES, "TEMPLATE"))
"""Sources that come with a suite around them."""
commands = typer.Typer(help="Start, check and look at suites.", no_args_is_help=True)

_EXACT = "exact_match"
_LEAST_ROOM = 64
"""Tokens of an answer, if no expected one is longer."""
_SENTENCE = 6
"""Words above which an expected answer is hardly given word for word."""
_TEMPLATE = """\
name = "{name}"
{cases}

[generation]
{system}system = "Answer in one short sentence."
max_new_tokens = {room}

[[metrics]]
use = "{metric}"

[[gates]]
metric = "{metric}"
gain = 0.02            # tuned must beat base by more than this
"""
_CASES = """\
{"id": "capital-fr", "prompt": "What is the capital of France?", "expected": "Paris."}
{"id": "capital-jp", "prompt": "What is the capital of Japan?", "expected": "Tokyo."}
"""


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(commands, name="suite")


@commands.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    like: Annotated[str | None, typer.Option(help="Bundled suite to start from.")] = None,
    template: Annotated[
        str | None,
        typer.Option(help=f"Suite over a benchmark's questions: {', '.join(_TEMPLATES)}."),
    ] = None,
    of: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="File or folder of cases (format guessed), results:PATH or inspect:FILE.py@TASK.",
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task", help="Task of the results to include; may be repeated. Default: all."
        ),
    ] = None,
) -> None:
    """Write a new suite folder, with your cases or two examples."""
    from tunegate.harness.cli._guess_format import cases_table

    origins = {"--like": like, "--template": template, "--from": of}
    named = [name for name, value in origins.items() if value is not None]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(f'{n} {origins[n]}' for n in named)}: give one of them")
    if template is not None:
        say(write_suite_folder(template, folder))
        return
    if folder.exists():
        raise UsageError(f"{folder}: is already there; choose another name")
    with refuse_unwritable(folder):
        lines = None if of is None else _start_suite(of, folder, task or ())
        if lines is not None:
            say(*lines)
            return
        table = None if of is None else cases_table(of, folder)
        written = f"{folder}/suite.toml and {folder}/cases.jsonl"
        if like is None:
            folder.mkdir(parents=True)
            if table is None:
                (folder / "cases.jsonl").write_text(_CASES, encoding="utf-8")
            _write_suite(folder, table)
        else:
            written = f"{folder}: {', '.join(copy_suite(like, folder))}"
    if table is None:
        say(f"wrote {written}")
        say(f"next: edit them, then `tunegate suite check {folder}`")
    else:
        say(f"wrote {folder}/suite.toml:\n{table}", *_fit_cases(folder, table))
        say(f"next: `tunegate suite check {folder}`, then its metrics and gates")


def _start_suite(of: Path, folder: Path, task: Sequence[str]) -> Sequence[str] | None:
    """Write a suite over results or traces; return what was done, None for other files."""
    from tunegate.harness.cli import _production_suite
    from tunegate.harness.cli._results_suite import PREFIX, start_results_suite
    from tunegate.harness.serving.inspect_tasks import new_suite

    name = suite_name(folder)
    if str(of).startswith(new_suite.PREFIX):
        return new_suite.start_inspect_suite(str(of), folder, name=name)
    if str(of).startswith(PREFIX):
        return start_results_suite(str(of), folder, task, name=name)
    if _production_suite.is_traces(of):
        return _production_suite.start_suite(of, folder, name=name)
    return None


def _write_suite(
    folder: Path, table: str | None, *, metric: str = _EXACT, room: int = _LEAST_ROOM
) -> None:
    text = _TEMPLATE.format(
        name=suite_name(folder),
        cases='cases = "cases.jsonl"' if table is None else f"\n{table}",
        # The cases may bring the system prompt that the fine-tune was trained with.
        system="" if table is None else "# ",
        metric=metric,
        room=room,
    )
    (folder / "suite.toml").write_text(text, encoding="utf-8")


def _fit_cases(folder: Path, table: str) -> list[str]:
    """Fit a new suite's metric and token limit to its cases; return what to say of them."""
    cases, repeated = _read_cases(folder, table)
    longest = max((len(text) for case in cases for text in case.expected_texts()), default=0)
    room = _LEAST_ROOM  # a token has two characters or more in most languages
    while 2 * room < longest:
        room *= 2
    metric = _metric_for(cases)
    _write_suite(folder, "\n".join([table, *repeated]), metric=metric, room=room)
    return [
        *(f"{line}: rows that stand twice are one case" for line in repeated),
        f"metric {metric}, by the expected answers",
        f"{count_noun(len(cases), 'case')}, starting with:",
        *(f"  {_brief(c)}" for c in cases[:3]),
    ]


def _read_cases(folder: Path, table: str) -> tuple[Sequence[Case], list[str]]:
    """Return the cases of a new suite, and the line that its `[cases]` needs for repeated rows."""
    from tunegate.harness.suite import load_suite

    refused = None
    for repeated in ([], ['repeated = "drop"']):
        # `loops` reads any answer, whatever the cases expect.
        _write_suite(folder, "\n".join([table, *repeated]), metric="loops")
        try:
            return load_suite(folder).cases, repeated
        except SuiteError as error:
            refused = refused or error
    assert refused is not None
    _write_suite(folder, table)
    raise SuiteError([*refused.problems, f"wrote {folder}/suite.toml; correct its [cases]"])


def _metric_for(cases: Sequence[Case]) -> str:
    """Return the metric that fits what most cases expect."""
    if 2 * sum(case.expected_calls is not None for case in cases) > len(cases):
        return "tool_calls"
    if 2 * sum(bool(case.choices) for case in cases) > len(cases):
        return "choice_accuracy"
    texts = [case.expected_texts()[0].strip() for case in cases if case.expected_texts()]
    if texts and all(text.startswith("{") and text.endswith("}") for text in texts):
        return "json_fields"
    if texts and all(re.fullmatch(r"[-+]?[\d,.]*\d", text) for text in texts):
        return "numeric"
    if 2 * sum(len(text.split()) > _SENTENCE for text in texts) > len(texts):
        return "token_f1"
    return _EXACT


@commands.command()
def check(
    paths: Annotated[
        list[Path], typer.Argument(help="Suites, folders of suites, or suite.toml files.")
    ],
    sandbox: Annotated[
        str, typer.Option(help="Where tests of code run, as for `tunegate gate`.")
    ] = "bubblewrap",
) -> None:
    """Validate suites: files, cases, metrics, gates, and whether the gates can be proven."""
    from tunegate.harness.decision.planning.advisory_gates import advisory_notes
    from tunegate.harness.decision.planning.look_schedule import judged_once_notes
    from tunegate.harness.decision.planning.unreachable_gates import unreachable_gates
    from tunegate.harness.run.code_execution import dry_run, shown_jobs
    from tunegate.harness.sandbox.chosen import choose_sandbox
    from tunegate.harness.sandbox.contract import SandboxFailed
    from tunegate.harness.suite import describe_variants, load_suite

    choose_sandbox(sandbox)
    problems: list[str] = []
    for path in _find_all(paths, problems):
        try:
            suite = load_suite(path)
        except SuiteError as error:
            problems += error.problems
            continue
        problems += unreachable_gates(suite)
        cases = count_noun(len(suite.plain_cases), "case")
        say(f"{suite.name}: {cases}, {count_noun(len(suite.gates), 'gate')}")
        if added := describe_variants(suite):
            say(f"  {added} of each model")
        notes = (*suite.notes, *advisory_notes(suite), *judged_once_notes(suite))
        if not suite.gates:
            notes = (*notes, "without a [[gates]] table nothing is decided; add one to suite.toml")
        say(*(f"  {line}" for line in notes))
        try:
            with shown_jobs(sys.stderr):
                problems += dry_run(suite)
        except SandboxFailed as error:
            say(f"  warning: not checked whether each test can fail: {error}")
        if suite.episode is not None:
            problems += _play_nothing(suite)
    if problems:
        raise SuiteError(problems)


def _play_nothing(suite: Suite) -> list[str]:
    """Print the rewards of a model that writes nothing; return the tasks that fail."""
    from tunegate.harness.contracts.inspect_task import InspectTask
    from tunegate.harness.episodes.null_policy import play_null_policy

    assert suite.episode is not None
    if isinstance(suite.episode.source, InspectTask):
        say(f"  {_inspect_note(suite, suite.episode.source)}")
        return []
    played = play_null_policy(suite.name, suite.episode, suite.cases, suite.generation)
    earned = [reward for reward in played.rewards.values() if reward > 0]
    if played.rewards:
        mean = sum(played.rewards.values()) / len(played.rewards)
        warning = "warning: " if earned else ""
        say(
            f"  {warning}a model that writes nothing earns a reward on {len(earned)} of "
            f"{len(played.rewards)} tasks (mean reward {mean:.3g})"
        )
    places = {case.id: case.where for case in suite.cases}
    return [
        f"{places.get(task, suite.path)}: with a model that writes nothing: {reason}"
        for task, reason in list(played.failures.items())[:_MOST_FAILURES]
    ]


def _inspect_note(suite: Suite, task: InspectTask) -> str:
    """Return who plays the tasks, without playing any."""
    episodes = len(suite.cases) * suite.generation.samples
    try:
        return f"Inspect {task.version()} plays {episodes} episodes of {task.spec} with each model"
    except UsageError as error:
        return f"warning: {error}"


_MOST_FAILURES = 10
"""Failing tasks to list."""


def _find_all(paths: Sequence[Path], problems: list[str]) -> Iterator[Path]:
    """Yield the suite files of the paths; add what is wrong with the others to `problems`."""
    from tunegate.harness.suite.find import find_suites

    for path in paths:
        try:
            yield from map(Path, find_suites(str(path)))
        except UsageError as error:
            problems.append(str(error))


@commands.command()
def show(
    path: Annotated[Path, typer.Argument(help="Suite folder or suite.toml.")],
    cases: Annotated[int, typer.Option(min=0, help="Number of cases to print.")] = 3,
) -> None:
    """Print a suite's settings, metrics, gates and first cases."""
    from tunegate.harness.contracts.source import summarize_notes
    from tunegate.harness.gates.contract.registry import gate_kind
    from tunegate.harness.records.manifest import gate_id
    from tunegate.harness.suite import load_suite

    suite = load_suite(path)
    say(f"{suite.name}: {count_noun(len(suite.cases), 'case')}, hash {suite.hash[:12]}")
    say(*(f"  {line}" for line in summarize_notes(suite.notes)))
    for key, value in suite.generation.model_dump(exclude_defaults=True).items():
        say(f"  {key} {value!r:.100}")
    for metric in suite.metrics:
        better = "higher" if metric.higher_is_better else "lower"
        say(f"  metric {metric.name} ({better} is better)")
    for gate in suite.gates:
        name = gate_id(gate.metric, gate_kind(gate.kind).margin_key(gate), gate.tag)
        say(f"  gate {name} {gate.margin}  {gate.where}")
    for case in suite.cases[:cases]:
        say(f"  {_brief(case)}")


@commands.command()
def sample(
    path: Annotated[Path, typer.Argument(help="Suite folder or suite.toml.")],
    count: Annotated[int, typer.Argument(min=1, help="Number of cases to draw.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print them as lines of a cases.jsonl.")
    ] = False,
) -> None:
    """Print a random sample of a suite's cases, with the files they came from."""
    from tunegate.harness.records.jsonl import record_lines
    from tunegate.harness.suite import load_suite

    suite = load_suite(path)
    cases = suite.cases
    if count > len(cases):
        raise UsageError(
            f"{path}: {count_noun(count, 'case')} asked for, but there are {len(cases)}"
        )
    drawn = sorted(random.Random(seed).sample(range(len(cases)), count))
    if as_json:
        print(*record_lines(cases[i] for i in drawn), sep="", end="")
        return
    for case in (cases[i] for i in drawn):
        say(f"{_brief(case, width=1000)}\n  {case.where}")


def _brief(case: Case, *, width: int = 100) -> str:
    """Return a case in one line: its last message, what is expected, its labels."""
    from tunegate.harness.records.images import content_text

    content = case.input_messages()[-1].get("content")
    question = content_text(content) or content
    right = case.expected_texts() or tuple(map(str, case.expected_calls or ()))
    expected = f" → {' | '.join(right)!r:.{width}}" if right else ""
    labels = [*case.tags, *([f"cluster {case.cluster}"] if case.cluster else [])]
    return f"{case.id}: {question!r:.{width}}{expected}" + (
        f"  [{', '.join(labels)}]" if labels else ""
    )


def write_suite_folder(template: str, folder: Path) -> str:
    """Write a suite folder from a template; return what was written and what to do next."""
    if template not in _TEMPLATES:
        raise UsageError(unknown_name_message(template, _TEMPLATES, what="template"))
    source = import_module(f"{_SOURCES}.{template}")
    with refuse_unwritable(folder):
        if folder.exists():
            raise UsageError(f"{folder}: is already there; choose another name")
        folder.mkdir(parents=True)
        text = source.TEMPLATE.format(name=suite_name(folder))
        (folder / "suite.toml").write_text(text, encoding="utf-8")
    return (
        f"wrote {folder}/suite.toml\nnext: put the questions into {folder}/data, or set path = to "
        f"their folder, then `tunegate suite check {folder}`"
    )


def suite_name(folder: Path) -> str:
    """Return a valid suite name for a folder."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", folder.resolve().name).lstrip("._-")[:80]
    return name or "suite"


_OURS = ("__init__.py", "make.py", "noise.py", "__pycache__", "material")
"""Files of a bundled suite that a copy does not need."""


def copy_suite(name: str, to: Path) -> list[str]:
    """Copy a bundled suite into a new folder; return the names of its files."""
    from tunegate.harness.suite.find import suite_folder

    shutil.copytree(suite_folder(name), to, ignore=shutil.ignore_patterns(*_OURS))
    return sorted(path.name for path in to.iterdir())


def suite_purpose(name: str) -> str:
    """Return what a suite is for: the first paragraph of its README, on one line."""
    from tunegate.harness.suite.find import suite_folder

    text = (suite_folder(name) / "README.md").read_text(encoding="utf-8")
    return " ".join(text.split("\n\n")[1].split()).rstrip(".")
