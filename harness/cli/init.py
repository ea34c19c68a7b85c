"""`tunegate init [SUITE] [DIR] [--ci SERVICE]`: copies bundled suites and writes a CI job.

Recorded answers to a copied suite, so that its first run needs no model. They are examples, and
each line says so: tuned answers most cases as their author would have it, base fewer. They
show the gate, not a model, so that CI refuses them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunegate.harness.cli import suite as bundled
from tunegate.harness.cli._output import say
from tunegate.harness.records.errors import UsageError

if TYPE_CHECKING:
    from tunegate.harness.records.cases import Case
    from tunegate.harness.suite import Suite

ORDER = 10
SUITES = Path("suites")
FIRST = "support_json"
"""The suite that a CI job starts from if there are no suites yet."""
GUARDS = ("general_knowledge", "production")
"""The suites that are copied where none is named: they guard what no fine-tune may lose."""


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
) -> None:
    """Copy bundled suites as a start for your own, and say what to edit next."""
    if listed:
        _list()
    elif service is not None:
        _gate_in_ci(service, suite, folder)
    elif suite is None:
        _copy_guards()
    else:
        place = _place(suite, folder)
        say(f"wrote {place}: {', '.join(_copy_suite(suite, place))}")
        _declare_ledger()
        _next_steps(place)


def _copy_guards() -> None:
    """Copy the suites that guard any fine-tune, and say what to do next."""
    places = [_place(name, None) for name in GUARDS]
    for name, place in zip(GUARDS, places, strict=True):
        say(f"wrote {place}: {', '.join(_copy_suite(name, place))}")
    _declare_ledger()
    say("next: `tunegate suite new suites/TASK` for what the fine-tune is for")
    say(f"      then `tunegate plan {SUITES}/*`")
    say(f"      then `tunegate gate {SUITES} --base BASE --tuned FINE-TUNE`")
    say("`tunegate init --list` names the other bundled suites")


def _place(suite: str, folder: Path | None) -> Path:
    """Return where a suite is copied to.

    Raises:
        UsageError: there is no such suite, or something is there.
    """
    from tunegate.harness.suite.find import suite_folder

    suite_folder(suite)  # a name that does not exist is refused before a folder that does
    place = SUITES / suite if folder is None else folder
    if place.exists():
        raise UsageError(f"{place}: is already there; choose another folder")
    return place


def _copy_suite(suite: str, place: Path) -> list[str]:
    try:
        return bundled.copy_suite(suite, place)
    except OSError as error:
        raise UsageError(
            f"{place}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error


_MERGE = "tunegate.ledger.jsonl merge=union"


def _declare_ledger() -> None:
    """Tell git to keep the lines of both branches in the attempts ledger."""
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
        say(f"note: {path} cannot be written ({error}); add to it: {_MERGE}")
    else:
        say(f"wrote {path}: {_MERGE}")


def _gate_in_ci(service: CiService, suite: str | None, folder: Path | None) -> None:
    """Write job and configuration next to the suites that are there, or next to a first one."""
    if folder is not None and folder.parent != SUITES:
        raise UsageError(f"{folder}: with --ci a suite goes into {SUITES}, where the job looks")
    refuse_present(service)
    others = sorted(SUITES.rglob("suite.toml"))
    name = suite or (None if others else FIRST)
    place = None if name is None else _place(name, folder)
    if name is not None and place is not None:
        say(f"wrote {place}: {', '.join(_copy_suite(name, place))}")
    try:
        # Answers to one suite are no answers to another.
        example = None if others else place
        configuration, is_new = write_configuration(SUITES, example)
        jobs = write_jobs(service)
    except OSError as error:
        raise UsageError(
            f"the job cannot be written ({error.strerror}: {error.filename})"
        ) from error
    for path in [configuration] * is_new + jobs:
        say(f"wrote {path}")
    _declare_ledger()
    _next_in_ci(service, configuration, runs=is_new and (SUITES / FOLDER).is_dir())


def _next_in_ci(service: CiService, configuration: Path, *, runs: bool) -> None:
    if is_local():
        jobs = " and ".join(map(str, JOBS[service].values()))
        say(f"note: this tunegate came from a folder: set TUNEGATE in {jobs} to what pip can get")
    if service is CiService.GITLAB:
        print("next: take the job into .gitlab-ci.yml: include: {local: .gitlab/tunegate.yml}")
    first = "here it judges recorded examples" if runs else "name your fine-tune first"
    say(f"next: `tunegate gate {SUITES}` is what the job does ({first})")
    say(f"      then name your models in {configuration}: until then the job is red")


def _list() -> None:
    from tunegate.harness.suite.find import suite_names

    names = suite_names()
    width = max(map(len, names))
    for name in names:
        say(f"{name:<{width}}  {bundled.suite_purpose(name)}")
    print("next: `tunegate init SUITE [DIR]` copies one of them")


def _next_steps(place: Path) -> None:
    say(f"next: put your own cases into {place / 'cases.jsonl'}, one per line")
    say(f"      then adapt name, system prompt and gates in {place / 'suite.toml'}")
    say(f"      then `tunegate suite check {place}` and `tunegate plan {place}`")


HOME = Path(__file__).resolve().parent / "ci"

CONFIGURATION = "pytest.ini"


class CiService(StrEnum):
    """A CI service for which there is a job."""

    GITHUB = "github"
    GITLAB = "gitlab"


JOBS = {
    CiService.GITHUB: {
        "github.yml": Path(".github/workflows/tunegate.yml"),
        "github-comment.yml": Path(".github/workflows/tunegate-comment.yml"),
    },
    CiService.GITLAB: {"gitlab.yml": Path(".gitlab/tunegate.yml")},
}
"""Service → template → where it goes in a repository."""

_HEAD = """\
# The models of every gate run on the suites of this folder, the same in CI as at your desk.
# Each option of `tunegate gate --help` can be set here as gate_NAME; one given by hand wins.
# Paths are relative to this file.
[pytest]
"""
_EXAMPLE = """\
# Recorded example answers: they show the gate at your desk, and CI refuses them. Name your model:
#   gate_tuned = hf:you/your-adapter@v1       (a folder, or a repository of the Hub)
# and drop gate_base: it is read from the adapter's configuration.
gate_base = replay:{base}
gate_tuned = replay:{tuned}
"""
_UNNAMED = """\
# Name the fine-tune that is to be judged; its base is read from the adapter's configuration.
# gate_tuned = hf:you/your-adapter@v1
"""


def refuse_present(service: CiService) -> None:
    """Find out before anything is written whether a job would be overwritten.

    Raises:
        UsageError: one is there.
    """
    for place in JOBS[service].values():
        if place.exists():
            raise UsageError(f"{place}: is already there; remove it to have it written again")


def write_jobs(service: CiService) -> list[Path]:
    """Write the service's jobs into the repository that is the current folder; return their paths.

    Raises:
        OSError: writing failed.
    """
    from tunegate.harness.records.files import write_atomic

    for template, place in JOBS[service].items():
        text = (HOME / template).read_text(encoding="utf-8")
        write_atomic(place, text.replace("@REQUIREMENT@", pip_requirement("hf")))
    return list(JOBS[service].values())


def write_configuration(suites: Path, example: Path | None) -> tuple[Path, bool]:
    """Write the file that names the models, unless it is there.

    Args:
        suites: The folder of suites.
        example: The suite to record example answers for; None names no models, and nor does a
            suite of episodes, whose answers depend on what its tools returned before.

    Returns:
        The file, and whether it was written.

    Raises:
        OSError: writing failed.
    """
    from tunegate.harness.records.files import write_atomic
    from tunegate.harness.suite import load_suite

    place = suites / CONFIGURATION
    if place.exists():
        return place, False
    body = _UNNAMED
    suite = None if example is None else load_suite(example)
    if suite is not None and suite.episode is None:
        written = write_replay_files(suite, suites / FOLDER)
        base, tuned = (path.relative_to(suites).as_posix() for path in written)
        body = _EXAMPLE.format(base=base, tuned=tuned)
    write_atomic(place, _HEAD + body)
    return place, True


def pip_requirement(*extras: str) -> str:
    """Return what pip is given to install this tunegate elsewhere, as far as that is known."""
    name = f"tunegate[{','.join(extras)}]" if extras else "tunegate"
    origin = _origin()
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        return f"{name} @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}"
    return f"{name}=={metadata.version('tunegate')}"


def is_local() -> bool:
    """Return whether this tunegate was installed from a folder or file of this machine."""
    return str(_origin().get("url", "")).startswith("file:") and "vcs_info" not in _origin()


def _origin() -> dict[str, dict[str, str]]:
    """Return where the distribution came from (PEP 610); nothing if from an index."""
    text = metadata.distribution("tunegate").read_text("direct_url.json")
    found: dict[str, dict[str, str]] = json.loads(text) if text else {}
    return found


FOLDER = "recorded"
IDEAL = "ideal.jsonl"
"""Answers that some bundled suites bring, because no case states its only right one."""

_UNKNOWN = "I do not know."
_ANSWERS = {"refuse": "I'm sorry, but I can't help with that.", "answer": "Here is how it is done."}
"""Expected value of the metric `refusal` → a text that has it."""


def write_replay_files(suite: Suite, folder: Path) -> tuple[Path, Path]:
    """Write base.jsonl and tuned.jsonl for `replay:`; return their paths.

    Raises:
        OSError: writing failed.
    """
    from tunegate.harness.gates.contract.registry import gate_kind
    from tunegate.harness.records.files import write_atomic
    from tunegate.harness.records.jsonl import read_jsonl

    ideal = {row["id"]: row["completion"] for row in read_jsonl(suite.path.parent / IDEAL)}
    cases = list(suite.cases)
    right = [_line(suite, case, ideal) for case in cases]
    wanting = any(gate_kind(gate.kind).is_goal for gate in suite.gates)
    # Without a goal both are as good, and differ in few cases.
    every = 25 if wanting else 50
    base = [_worse(line) if wanting or at % every == 0 else line for at, line in enumerate(right)]
    tuned = [_worse(line) if at % every == every // 2 else line for at, line in enumerate(right)]
    paths = folder / "base.jsonl", folder / "tuned.jsonl"
    for path, lines in zip(paths, (base, tuned), strict=True):
        write_atomic(path, (json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return paths


def _line(suite: Suite, case: Case, ideal: dict[str, str]) -> dict[str, Any]:
    """Return a line with an answer to all that the suite asks of a case."""
    from tunegate.harness.records.answers import CellKind

    needs = {metric.needs for metric in suite.metrics}
    line: dict[str, Any] = {"id": case.id, "example": True}
    if CellKind.GENERATE in needs:
        line |= {"completion": ideal.get(case.id) or _text(case), "finish_reason": "stop"}
    if CellKind.CHOICES in needs:
        line["choice_logprobs"] = [-0.1 if i == case.answer else -4.0 for i in _places(case)]
    if CellKind.ANSWER in needs:
        line["answer_logprob"] = -0.5
    return line


def _worse(line: dict[str, Any]) -> dict[str, Any]:
    """Return the line with a poorer answer."""
    worse = dict(line)
    if "completion" in line:
        worse["completion"] = f"I do not know what to answer to {line['id']}."
    if "choice_logprobs" in line:
        worse["choice_logprobs"] = [-2.0 if log > -1 else -1.0 for log in line["choice_logprobs"]]
    if "answer_logprob" in line:
        worse["answer_logprob"] = -0.6
    return worse


def _places(case: Case) -> range:
    return range(len(case.choices or ()))


def _text(case: Case) -> str:
    if case.expected_calls is not None:
        return "\n".join(_calls(case)) or "No tool is needed for this."
    expected = case.expected_texts()
    return _ANSWERS.get(expected[0], expected[0]) if expected else _UNKNOWN


def _calls(case: Case) -> Iterator[str]:
    """Yield the calls that are expected in the form of Hermes, each argument's first value."""
    for call in case.expected_calls or ():
        arguments = {
            name: values[0] if isinstance(values, list) else values
            for name, values in call.get("arguments", {}).items()
            if not isinstance(values, list) or values[0] != ""
        }
        body = json.dumps({"name": call["name"], "arguments": arguments}, ensure_ascii=False)
        yield f"<tool_call>{body}</tool_call>"
