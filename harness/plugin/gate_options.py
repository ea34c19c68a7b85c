"""The options of a gate run: one table for pytest (`--gate-base`) and the CLI (`--base`).

Each option has an ini twin (`gate_base = …`), so that a project sets its models once; a path there
is relative to the ini file.
"""

from __future__ import annotations

import math
import os
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.further_arm import FurtherArm, further_arms
from tunegate.harness.records import defaults

if TYPE_CHECKING:
    from tunegate.harness.contracts.model import PoolLimits

SESSION = pytest.StashKey[Any]()
"""Where pytest's configuration keeps the `GateSession` of a run."""

PREFIX = "--gate-"
NO_MODEL = "no model is named: give --gate-tuned SPEC, or gate_tuned in pytest.ini"
UNJUDGED = "suite.toml::not judged"
"""End of the node id of a suite for which no model is named."""


@dataclass(frozen=True, slots=True)
class GateOption:
    """One option, without its prefix."""

    name: str
    help: str
    default: Any = None
    type: Callable[[str], Any] = str
    choices: tuple[str, ...] | None = None
    flag: bool = False
    typed: bool = False
    """Whether only the command line can set it, and no ini file."""
    secret: bool = False
    """Whether no output and no file may show its value."""
    names: str = ""
    """`path` or `spec`, if an ini file names it relative to itself."""

    @property
    def dest(self) -> str:
        """Name of its ini key and of its attribute: `gate_run_dir`."""
        return "gate_" + self.name.replace("-", "_")


def _count(name: str) -> Callable[[str], int]:
    """Return the reader of a whole number of at least 1."""

    def read(text: str) -> int:
        value = int(text) if text.isdecimal() else 0
        if value < 1:
            raise pytest.UsageError(f"{PREFIX}{name}={text!r} must be a whole number of at least 1")
        return value

    return read


def _positive(option: str, what: str) -> Callable[[str], float]:
    """Return the reader of a number above 0."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < math.inf:
            raise pytest.UsageError(f"{PREFIX}{option}={text!r} must be {what} above 0")
        return value

    return read


def _seed(text: str) -> int:
    """Read a seed."""
    if not text.isdecimal():
        raise pytest.UsageError(f"{PREFIX}seed={text!r} must be a whole number of at least 0")
    return int(text)


def _spec(arm: FurtherArm) -> Callable[[str], str]:
    """Return the reader of a further arm's model spec."""

    def read(text: str) -> str:
        if not text.startswith(f"{arm.backend}:" if arm.backend else ""):
            raise pytest.UsageError(
                f"{PREFIX}{arm.name}={text!r} must be {arm.backend}: and a file or run"
            )
        return text

    return read


def _checked(option: str, check: str) -> Callable[[str], str]:
    """Return the reader of a text that the function `check` refuses with a UsageError.

    The function is named, `module:function`, since its module is imported only if it is needed.
    """

    def read(text: str) -> str:
        from tunegate.harness.records.errors import UsageError

        try:
            pkgutil.resolve_name(check)(text)
        except UsageError as error:
            raise pytest.UsageError(f"{PREFIX}{option}: {error}") from error
        return text

    return read


def _trace_link(text: str) -> str:
    """Read the address of a viewer."""
    from tunegate.harness.records.errors import hide_credentials
    from tunegate.harness.telemetry.export.viewer import template_problem

    if wrong := template_problem(text):
        raise pytest.UsageError(f"{PREFIX}trace-link={hide_credentials(text)!r}: {wrong}")
    return text


OPTIONS = (
    GateOption(
        "base",
        "Model spec of the base arm. Default: the base that the adapter names.",
        names="spec",
    ),
    GateOption(
        "tuned",
        "Model spec of the fine-tune: a folder or hub id, "
        f"{', '.join(lookup.defined_texts('tunegate.harness.models', 'SPEC').values())}.",
        names="spec",
    ),
    *(
        GateOption(a.name, a.help, type=_spec(a), names="spec")
        for a in further_arms().values()
        if a.help
    ),
    GateOption(
        "prompted",
        "Ask base with this prompt, too, and compare tuned with that: a text file with a system "
        "prompt, or .jsonl with solved examples. SHIP then needs the suite's goals against it.",
        names="path",
    ),
    GateOption(
        "judge",
        "Judge for metrics that need one: "
        f"{', '.join(lookup.defined_texts('tunegate.harness.judges.backends', 'SPEC').values())}; "
        "comma-separated specs form a jury; `none` runs without a judge.",
        names="spec",
    ),
    GateOption(
        "calibration",
        "Calibration of the judge: calibration.json, comma-separated for several.",
        names="path",
    ),
    GateOption(
        "run-dir",
        "Folder of this run; another finished run there is moved aside. "
        f"Default: {defaults.RUNS}/<time>.",
        names="path",
    ),
    GateOption(
        "store", "Answer cache shared by all runs of the project.", defaults.STORE, names="path"
    ),
    GateOption("report", "Also write the HTML report to this file.", names="path"),
    GateOption("junit", "Also write JUnit XML, one testcase per gate, to this file.", names="path"),
    GateOption(
        "summary",
        "Also write the Markdown summary to this file (for CI job summaries).",
        names="path",
    ),
    GateOption(
        "max-cases",
        "Judge only the first N cases of each suite; never ships.",
        type=_count("max-cases"),
    ),
    GateOption(
        "cases",
        "Cases to judge: all (those that a recorded arm lacks are unscored), or shared (those that "
        "every arm has; leaving any out caps the verdict at UNDECIDED).",
        "all",
        choices=("all", "shared"),
    ),
    GateOption(
        "undecided",
        "Exit code of an UNDECIDED verdict: fail = 10, neutral and pass = 0.",
        "fail",
        choices=("fail", "neutral", "pass"),
    ),
    GateOption(
        "early-stop",
        f"End a suite of {defaults.EARLY_STOP_CASES} cases or more as soon as everything is "
        "decided; auto does so unless every arm is recorded.",
        "auto",
        choices=("auto", "on", "off"),
    ),
    GateOption(
        "leakage",
        "Cases that also occur in tuned's training rows: gate leaves them out of the gates and "
        "refuses more than a tenth, report only shows them, off skips the check.",
        "gate",
        choices=("gate", "report", "off"),
    ),
    GateOption(
        "training-data",
        "Rows that tuned was trained on, if no tunegate_training.json next to it names them: "
        "JSONL, a JSON list, CSV or Parquet, comma-separated.",
        names="path",
    ),
    GateOption(
        "draft",
        "Judge suites that are still being written: no attempt is counted, and nothing ships.",
        flag=True,
    ),
    GateOption(
        "missing",
        "Result of suites, and of tests with the `gate` fixture, where no model is named: skip or "
        "fail; auto fails in CI (the variable CI is set) and skips elsewhere.",
        "auto",
        choices=("auto", "skip", "fail"),
    ),
    GateOption("open-sealed", "Judge sealed suites, for a release.", flag=True),
    GateOption("seed", "Seed of sampling and of the order of cases.", defaults.SEED, type=_seed),
    GateOption(
        "dtype",
        "Number format of local models, the same for all arms; auto is float32 without a GPU.",
        "auto",
        choices=("auto", "float32", "bfloat16", "float16"),
    ),
    GateOption(
        "trust-remote-code",
        "Run code in the folders of local models, for all arms, if Transformers has no class.",
        flag=True,
        typed=True,
    ),
    GateOption(
        "sandbox",
        "Where programs in answers run: bubblewrap, docker or podman (docker:IMAGE), or none, for "
        "jobs that run in a container of their own.",
        "bubblewrap",
        type=_checked("sandbox", "tunegate.harness.sandbox.chosen:find_sandbox"),
        typed=True,
    ),
    GateOption(
        "allow-prompt-difference",
        "Compare arms although their servers build different prompts, or count or cut them "
        "differently.",
        flag=True,
    ),
    GateOption(
        "allow-config-difference",
        "Keys of config.json that tuned changes on purpose, such as rope_parameters of a "
        "long-context fine-tune, comma-separated. The report names them first.",
        "",
    ),
    GateOption(
        "optimizations",
        "Optimizations of local models: all, none, or some of drafts,prefixes,slots.",
        "all",
        type=_checked("optimizations", "tunegate.harness.engine.optimizations:Optimizations.parse"),
    ),
    GateOption(
        "engine",
        "Where completions are computed: local is this process, ray is workers through Ray Data, "
        "vllm is a vLLM server that is started and ended with the run.",
        "local",
        choices=("local", "ray", "vllm"),
    ),
    GateOption(
        "llama-cpp",
        "Folder of llama.cpp, for llama-server: specs: a clone that was built, or an installation. "
        "Default: the variable TUNEGATE_LLAMA_CPP, else what is on PATH.",
    ),
    GateOption(
        "workers",
        "Number of Ray workers. Default: one per GPU, two on CPU.",
        type=_count("workers"),
    ),
    GateOption(
        "concurrency",
        "Maximum concurrent requests per server.",
        defaults.CONCURRENCY,
        type=_count("concurrency"),
    ),
    GateOption(
        "deadline",
        "Seconds for one request to a server, all attempts together.",
        defaults.DEADLINE_S,
        type=_positive("deadline", "a number of seconds"),
    ),
    GateOption(
        "requests-per-minute",
        "Maximum requests per minute to a server, per arm. Default: no limit.",
        type=_positive("requests-per-minute", "a number"),
    ),
    GateOption(
        "tokens-per-minute",
        "Maximum tokens per minute, read and written, per arm. Default: no limit.",
        type=_positive("tokens-per-minute", "a number"),
    ),
    GateOption("trace-content", "Put prompts and answers into traces.jsonl.", False, flag=True),
    GateOption(
        "trace-redact",
        "What to remove from them first: pii (addresses, phone and card numbers, keys), none, or "
        "pkg.mod:fn (your own function).",
        "pii",
    ),
    GateOption(
        "trace-link",
        "URL of a span in a trace viewer, such as "
        "http://localhost:16686/trace/{trace_id}?uiFind={span_id}: the report links to it.",
        type=_trace_link,
    ),
    GateOption(
        "log-to",
        "Log verdict, gates and report to trackers afterwards, comma-separated: "
        f"{', '.join(lookup.defined_texts('tunegate.harness.run.trackers', 'INSTALL'))}.",
        type=_checked("log-to", "tunegate.harness.contracts.tracker:tracker_names"),
    ),
    GateOption(
        "notify",
        "Post how the gate ended to this webhook; the variable TUNEGATE_NOTIFY_SECRET signs it.",
        type=_checked("notify", "tunegate.harness.telemetry.export.webhook:webhook_host"),
        typed=True,
        secret=True,
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """Register the table with pytest."""
    group = parser.getgroup("tunegate", "tunegate: is this fine-tune safe to ship?")
    for option in OPTIONS:
        help_text = option.help
        if option.default not in (None, False):
            help_text += f" Default: {option.default!r}."
        if option.flag:
            group.addoption(
                PREFIX + option.name,
                dest=option.dest,
                action="store_true",
                default=None,
                help=help_text,
            )
        else:
            group.addoption(
                PREFIX + option.name,
                dest=option.dest,
                default=None,
                type=option.type,
                choices=option.choices,
                metavar=option.name.upper().replace("-", "_"),
                help=help_text,
            )
        if not option.typed:
            parser.addini(option.dest, help=help_text, default="")


def read_options(config: pytest.Config) -> Mapping[str, Any]:
    """Return the value of every option: command line, then ini, then default."""
    return {option.name: _value(config, option) for option in OPTIONS}


def missing_fails(options: Mapping[str, Any]) -> bool:
    """Return whether naming no model is a failure."""
    from tunegate.harness.contracts.environment import in_ci

    return options["missing"] == "fail" or (options["missing"] == "auto" and in_ci())


def limits_of(options: Mapping[str, Any]) -> PoolLimits:
    """Return the limits on requests to servers."""
    from tunegate.harness.contracts.model import PoolLimits

    return PoolLimits(
        concurrency=options["concurrency"],
        deadline_s=options["deadline"],
        requests_per_minute=options["requests-per-minute"],
        tokens_per_minute=options["tokens-per-minute"],
    )


def _value(config: pytest.Config, option: GateOption) -> Any:
    value = config.getoption(option.dest)
    if value is not None:
        return value
    written = "" if option.typed else str(config.getini(option.dest)).strip()
    if not written:
        return option.default
    if option.flag:
        return _flag(option, written)
    if option.choices and written not in option.choices:
        raise pytest.UsageError(
            f"ini {option.dest}={written!r} must be one of {', '.join(option.choices)}"
        )
    if option.names and config.inipath and config.inipath.parent != Path.cwd():
        parts = (part.strip() for part in written.split(","))
        written = ",".join(_from_here(option, config.inipath.parent, part) for part in parts)
    return option.type(written)


def _from_here(option: GateOption, folder: Path, written: str) -> str:
    """Return a path in an ini file, relative to the current folder instead of the ini file's.

    A spec may be a hub id or a URL; it counts as a path if the path exists beside the ini file.
    """
    if option.names == "path":
        return os.path.relpath(folder / Path(written).expanduser())
    for prefix, colon, rest in (("", "", written), written.partition(":")):
        path, *more = re.split(r"(?=[#?])", rest, maxsplit=1)
        if path and (folder / path).exists():
            return f"{prefix}{colon}{os.path.relpath(folder / path)}{''.join(more)}"
    return written


def _flag(option: GateOption, written: str) -> bool:
    """Read a switch from an ini file."""
    switch = dict.fromkeys(("true", "1", "yes", "on"), True)
    switch |= dict.fromkeys(("false", "0", "no", "off"), False)
    if written.lower() not in switch:
        raise pytest.UsageError(f"ini {option.dest}={written!r} must be true or false")
    return switch[written.lower()]


def is_active(config: pytest.Config) -> bool:
    """Return whether a gate run was asked for: by an option, an ini key, or naming a suite.toml."""
    options = [option for option in OPTIONS if option.name != "missing"]
    has_option = any(config.getoption(option.dest) is not None for option in options)
    named = any(Path(arg.partition("::")[0]).name == "suite.toml" for arg in config.args)
    return (
        has_option
        or named
        or any(str(config.getini(option.dest)).strip() for option in options if not option.typed)
    )
