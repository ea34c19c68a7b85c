"""The suite contract: suite.toml and its cases, loaded and checked as a whole.

`load_suite(path)` checks everything that can be checked without a model and reports every problem
at once, each as `file:line: what; remedy`.

Example:
    >>> from pathlib import Path
    >>> suite = load_suite(Path("suites/support_json"))
    >>> suite.name, suite.gates[0].kind
    ('support_json', 'floor')
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tunegate.harness.contracts import lookup, options
from tunegate.harness.contracts import metric as metric_contract
from tunegate.harness.contracts.json_schema import located_problems
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.source import AccountedCases
from tunegate.harness.gates.contract.gate_kind import gate_kinds
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.defaults import MAX_UNSCORED
from tunegate.harness.records.errors import SuiteError, UnknownName, unknown_name_message
from tunegate.harness.records.files import check_regular
from tunegate.harness.records.generation import TEMPLATES_OF, GenerationSettings
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.manifest import Gate, MetricRecord, SuiteRecord
from tunegate.harness.suite import consistency, toml_file
from tunegate.harness.suite.equal_prompts import join_equal_prompts
from tunegate.harness.suite.file_schema import suite_validator
from tunegate.harness.suite.find import FILE_NAME

if TYPE_CHECKING:
    from tunegate.harness.contracts.episode_environment import EpisodePlan

LARGEST_TEMPLATE = 1_000_000
"""Bytes of a chat template."""
MOST_TABLES = 500
"""Metrics, or gates, of one suite at most; each is compared with every other one."""

LONGEST_NAME = 255
"""Letters of a text that may be a file's name."""

T = TypeVar("T")


@dataclass(frozen=True)
class Suite:
    """A loaded suite."""

    name: str
    path: Path
    """The suite.toml it came from."""
    cases: tuple[Case, ...] = field(repr=False)
    generation: GenerationSettings
    metrics: tuple[Metric, ...]
    gates: tuple[Gate, ...]
    goal_rule: str
    max_unscored: float
    alpha_per_attempt: bool
    """Whether the k-th candidate is judged at 1/k of the error."""
    sealed: bool
    """Whether it is judged only when the user opens it."""
    definition: Mapping[str, Any] = field(repr=False)
    """suite.toml as parsed."""
    hash: str
    """SHA-256 of the definition, the cases, the files that metrics read and the modules of metrics
    that are not tunegate's own."""
    account: tuple[str, ...] = field(default=(), repr=False)
    """Tolerances that are wide, what its source read and left out, and which cases have the same
    prompt, in lines."""
    episode: EpisodePlan | None = field(default=None, repr=False)
    """How its completions are played in turns; None where they are written at once."""
    equal_prompts: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    """Cases by prompt, where several have the same one: each group is in one cluster."""

    @property
    def gated_metrics(self) -> tuple[Metric, ...]:
        """The metrics that some gate rests on, in the order of the file."""
        gated = {gate.metric for gate in self.gates}
        return tuple(m for m in self.metrics if m.name in gated)

    @property
    def written_spreads(self) -> Mapping[str, float]:
        """Metric → the spread that suite.toml gives for planning."""
        found: Mapping[str, float] = self.definition.get("plan", {}).get("spread", {})
        return found

    @property
    def content_metrics(self) -> tuple[str, ...] | None:
        """Of replayed traffic the metrics that judge what answers say; None of other suites."""
        cases = self.definition["cases"]
        from_traces = isinstance(cases, Mapping) and cases.get("from") == "traces"
        if not self.definition.get("replay", from_traces):
            return None
        return tuple(m.name for m in self.metrics if m.judges_content_of(self.cases))

    @property
    def rule_hash(self) -> str:
        """SHA-256 of name and gates: what stays the same when cases are added."""
        gates = [gate.model_dump(mode="json", exclude={"where"}) for gate in self.gates]
        return sha256([self.name, self.goal_rule, gates])

    def record(self) -> SuiteRecord:
        """Return what the verdict must know of the suite."""
        uses = {
            table.get("name", table["use"].rpartition(":")[2]): table["use"]
            for table in self.definition["metrics"]
        }
        return SuiteRecord(
            name=self.name,
            path=str(self.path),
            hash=self.hash,
            n_cases=len(self.cases),
            goal_rule=self.goal_rule,
            max_unscored=self.max_unscored,
            alpha_per_attempt=self.alpha_per_attempt or self.sealed,
            sealed=self.sealed,
            content_metrics=self.content_metrics,
            episode=self.episode and self.episode.settings,
            equal_prompts=self.equal_prompts,
            metrics=tuple(
                MetricRecord(
                    name=m.name,
                    use=uses[m.name],
                    needs=m.needs,
                    binary=m.binary,
                    higher_is_better=m.higher_is_better,
                    range=m.range,
                    corpus=m.corpus_options,
                    signature=m.signature and m.signature(m, self.cases),
                    indicative=m.indicative,
                    judge=m.judge and m.judge.record(),
                    label=m.label or None,
                    silent_without=m.silent_without,
                )
                for m in self.metrics
            ),
            gates=self.gates,
            generation=self.generation.model_dump(mode="json"),
        )

    def metric(self, name: str) -> Metric:
        """Return the metric called `name`.

        Raises:
            UnknownName: the suite has none of that name.
        """
        for candidate in self.metrics:
            if candidate.name == name:
                return candidate
        names = tuple(m.name for m in self.metrics)
        raise UnknownName(f"{self.path}: {unknown_name_message(name, names, what='metric')}")


def load_suite(path: Path | str, *, max_cases: int | None = None) -> Suite:
    """Load a suite from its folder or its suite.toml.

    Args:
        path: Folder that holds suite.toml, or the file itself.
        max_cases: Keep only the first cases, for a quick look.

    Raises:
        SuiteError: every problem found, one per line.
    """
    path = Path(path)
    file = path / FILE_NAME if path.is_dir() else path
    if problem := toml_file.cases_file_problem(path):
        raise SuiteError([problem])
    if not file.exists():
        raise SuiteError([f"{file}: no such suite; `tunegate suite new {path.name}` makes one"])
    source = toml_file.read_toml(file)
    for name in ("metrics", "gates"):
        count = len(source.data[name]) if isinstance(source.data.get(name), list) else 0
        if count > MOST_TABLES:
            problem = f"{count} {name}; a suite has at most {MOST_TABLES}: make several suites"
            raise SuiteError([f"{source.where(name)}: {problem}"])
    parts = _SuiteParts(source)
    if parts.problems:
        raise SuiteError(parts.problems)
    kept = parts.cases[:max_cases]
    if parts.episode is not None:
        from tunegate.harness.suite.episode_table import open_cases

        kept = list(open_cases(parts.episode, kept, parts.generation))
    kinds = dict.fromkeys(used.needs for used in parts.metrics.values())
    joined = join_equal_prompts(kept, kinds)
    return Suite(
        name=source.data["name"],
        path=file,
        cases=joined.cases,
        generation=parts.generation,
        metrics=tuple(parts.metrics.values()),
        gates=parts.gates,
        goal_rule=source.data.get("goal_rule", "primary"),
        max_unscored=source.data.get("max_unscored", MAX_UNSCORED),
        alpha_per_attempt=source.data.get("alpha_per_attempt", False),
        sealed=source.data.get("sealed", False),
        definition=source.data,
        hash=_hash(source, parts),
        episode=parts.episode,
        account=(
            *consistency.wide_guardrails(tuple(parts.metrics.values()), parts.gates),
            *joined.account,
            *parts.account,
        ),
        equal_prompts=joined.groups,
    )


def hash_without_code(file: Path) -> str | None:
    """Return the hash of the suite in a suite.toml without running any code of its own.

    None if only its code can tell: it makes the cases or plays the episodes, or is not found.

    Raises:
        SuiteError: the file cannot be read.
    """
    source = toml_file.read_toml(file)
    cases = source.data.get("cases")
    settings = cases if isinstance(cases, Mapping) else {}
    named = (str(settings.get(key, "")) for key in ("from", "redact"))
    if "episode" in source.data or any(":" in text or text == "lm_eval" for text in named):
        return None
    parts = _SuiteParts(source, own_code=False)
    if parts.places:
        return "not readable"
    files: dict[str, str] = {}
    for table in source.data["metrics"]:
        module, colon, function = table["use"].rpartition(":")
        if not colon:
            continue
        code = _module_file(module)
        if code is None:
            return None
        name = table.get("name", function)
        files[f"{name} {code.name}"] = _digest(code)
        for option, value in table.items():
            short = isinstance(value, str) and len(value) < LONGEST_NAME
            if short and (path := file.parent / value).is_file():
                files[f"{name}.{option}"] = _digest(path)
    return _hash(source, parts, files)


def _module_file(name: str) -> Path | None:
    """Return the file of a module; neither it nor its packages are imported."""
    places, found = [*sys.path, str(Path.cwd())], None
    for part in name.split("."):
        found = PathFinder.find_spec(part, places)
        if found is None:
            return None
        places = list(found.submodule_search_locations or ())
    return Path(found.origin) if found is not None and found.origin else None


class _SuiteParts:
    """The readable part of a suite, and all its problems.

    A part whose form is wrong is left out, so that the problems of the others are found as well.
    """

    def __init__(self, source: toml_file.TomlFile, *, own_code: bool = True) -> None:
        self.source = source
        self.own_code = own_code
        found = located_problems(source.data, suite_validator())
        typos = {place[:2] for place, text in found if "did you mean" in text}
        # A gate whose only key is misspelt does not lack one as well.
        found = [(p, t) for p, t in found if not (p in typos and "needs at least one" in t)]
        found.sort(key=lambda problem: source.line(*problem[0]))
        self.problems = [f"{source.where(*place)}: {text}" for place, text in found]
        self.places = [place for place, _ in found]
        self.generation = GenerationSettings()
        if self._sound("generation"):
            self.generation = GenerationSettings.model_validate(source.data["generation"])
            self._collect(self._read_template)
        self.cases: list[Case] = []
        self.account: tuple[str, ...] = ()
        all_read = self._sound("cases") and self._collect(self._read_cases) is True
        self.cases_known = all_read or bool(self.cases)
        self.episode: EpisodePlan | None = None
        if self._sound("episode"):
            self._collect(self._read_episode)
        self.metrics: dict[int, Metric] = {}
        for index in self._tables("metrics"):
            self._collect(partial(self._read_metric, index))
        self.gates = tuple(g for i in self._tables("gates") for g in _gates(source, i))
        if self._sound("plan"):
            self._check_plan(tuple(one.name for one in self.metrics.values()))
        self._check_together()

    def _sound(self, *keys: str | int) -> bool:
        """Return whether the value is there and has the right form."""
        there = keys[0] in self.source.data
        return there and not any(place[: len(keys)] == keys for place in self.places)

    def _tables(self, name: str) -> list[int]:
        """Return the numbers of the tables of an array whose form is right."""
        tables = self.source.data.get(name, ())
        count = len(tables) if isinstance(tables, list) else 0
        return [index for index in range(count) if self._sound(name, index)]

    def _collect(self, make: Callable[[], T]) -> T | None:
        """Return what `make` returns, or None with its problems added to the list."""
        try:
            return make()
        except SuiteError as error:
            self.problems += error.problems
            return None

    def _read_cases(self) -> bool:
        found = _cases(self.source)
        for number, case in enumerate(found, start=1):  # those before a broken line are kept
            place = case.where or f"{self.source.where('cases')}: case {number}"
            self.cases.append(case if case.where else case.with_place(place))
        self.account = found.account if isinstance(found, AccountedCases) else ()
        return True

    def _read_template(self) -> None:
        """Put the text of the chat template in the place of its file's name."""
        name, folder = self.generation.chat_template, self.source.path.parent
        if name is None or name in TEMPLATES_OF:
            return
        where, file = self.source.where("generation", "chat_template"), folder / name
        if outside := options.outside_problem(folder, name):
            raise SuiteError([f"{where}: {outside}"])
        try:
            check_regular(file, LARGEST_TEMPLATE)
            text = file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise SuiteError(
                [
                    f"{where}: {name!r} is not a text file next to suite.toml "
                    f'({type(error).__name__}); name one that holds a chat template, or "base" or '
                    '"tuned" for the template of that model'
                ]
            ) from error
        if not text.strip():
            raise SuiteError([f"{where}: {name!r} is empty; it has to hold a chat template"])
        self.generation = self.generation.model_copy(update={"chat_template": text})

    def _read_episode(self) -> None:
        from tunegate.harness.suite.episode_table import read_episodes

        self.episode, problems = read_episodes(self.source, self.cases, self.generation)
        self.problems += problems

    def _read_metric(self, index: int) -> None:
        if self.own_code or ":" not in self.source.data["metrics"][index]["use"]:
            self.metrics[index] = _metric(self.source, index)

    def _check_plan(self, names: tuple[str, ...]) -> None:
        for name in self.source.data["plan"].get("spread", {}):
            if name not in names:
                where = self.source.where("plan", "spread", name)
                self.problems.append(f"{where}: {unknown_name_message(name, names, what='metric')}")

    def _check_together(self) -> None:
        source, used = self.source, tuple(self.metrics.values())
        if self.cases_known:
            self.problems += consistency.case_problems(source, self.cases, used)
            for index, one in self.metrics.items():
                where = source.where("metrics", index, "use")
                self.problems += consistency.metric_problems(where, one, self.cases)
        played = "episode" in source.data or any(one.episodes for one in used)
        if played:
            from tunegate.harness.suite.episode_table import episode_metric_problems

            self.problems += episode_metric_problems(source, self.metrics, self.generation)
        names = [(index, one.name) for index, one in self.metrics.items()]
        self.problems += consistency.name_problems(source, names)
        complete = self._sound("metrics") and len(used) == len(source.data["metrics"])
        self.problems += consistency.gate_problems(used, self.gates, complete=complete)
        if self.cases_known:
            self.problems += consistency.tag_problems(source, self._tables("gates"), self.cases)
        for index in self._tables("gates"):
            self.problems += consistency.companion_problems(source, index)
        self.problems += consistency.thinking_problems(source, self.generation)
        drawn = self.generation.temperature or any(case.temperature for case in self.cases)
        asked = any(m.needs is not CellKind.RECORDED for m in used)
        if self.generation.samples > 1 and not drawn and asked:
            self.problems.append(
                f"{source.where('generation', 'samples')}: samples={self.generation.samples} of "
                "greedy decoding are all the same; set a temperature, or samples = 1"
            )


def _cases(source: toml_file.TomlFile) -> Iterable[Case]:
    given = source.data["cases"]
    settings = {"from": "jsonl", "file": given} if isinstance(given, str) else dict(given)
    name = settings.pop("from")
    where = source.where("cases") if isinstance(given, str) else source.where("cases", "from")
    try:
        function = lookup.find_object("tunegate.harness.suite.sources", name, what="case source")
    except UnknownName as error:
        raise SuiteError([f"{where}: {error}"]) from error
    folder, place = source.path.parent, f"{where}: case source {name!r}"
    outside = [f"{source.where('cases')}: {text}" for text in _outside(settings, folder)]
    # What other tools recorded is where they put it, and nothing but their formats is read.
    if outside and not getattr(inspect.getmodule(function), "READS_RECORDS", False):
        raise SuiteError(outside)
    bound = options.bind_options(function, settings, given=1, folder=folder, where=place)
    found: Iterable[Case] = function(folder, **bound)
    return found


def _outside(settings: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield what is wrong with the paths among a source's settings."""
    for key in ("file", "path", "include_path"):
        given = settings.get(key, ())
        for name in given if isinstance(given, list) else [given]:
            text = options.outside_problem(folder, name) if isinstance(name, str) else None
            if text is not None:
                yield text


def _metric(source: toml_file.TomlFile, index: int) -> Metric:
    settings = dict(source.data["metrics"][index])
    use = settings.pop("use")
    name = settings.pop("name", use.rpartition(":")[2])
    where = source.where("metrics", index, "use")
    try:
        return metric_contract.load_metric(
            use, settings, name=name, folder=source.path.parent, where=where
        )
    except UnknownName as error:
        raise SuiteError([f"{where}: {error}"]) from error


def _gates(source: toml_file.TomlFile, index: int) -> Iterator[Gate]:
    table = source.data["gates"][index]
    common = {key: table[key] for key in ("metric", "tag", "confidence") if key in table}
    for kind in gate_kinds():
        key = kind.key_in(table)
        if key is not None:
            where = source.where("gates", index, key)
            yield Gate(kind=kind.name, where=where, **common, **kind.fields(table))


def _hash(
    source: toml_file.TomlFile, parts: _SuiteParts, more: Mapping[str, str] | None = None
) -> str:
    metrics = parts.metrics.values()
    files = dict(more or {}) | {
        f"{used.name}.{option}": _digest(value)
        for used in metrics
        for option, value in used.options.items()
        if isinstance(value, Path)
    }
    files |= {f"{used.name} {path.name}": _digest(path) for used in metrics for path in _code(used)}
    planning = ("cases", "plan")  # the first is hashed case by case, the second decides nothing
    definition = {key: value for key, value in source.data.items() if key not in planning}
    rows = [case.model_dump(mode="json", exclude_none=True, by_alias=True) for case in parts.cases]
    # A date, which TOML has and JSON has not, is hashed as its text.
    text = json.dumps(definition, sort_keys=True, default=str)
    if parts.episode is not None:
        files["episode"] = parts.episode.settings.sha256
    if parts.generation.chat_template not in (None, *TEMPLATES_OF):
        files["chat template"] = sha256(parts.generation.chat_template)
    return sha256({"definition": text, "cases": rows, "files": files})


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _code(used: Metric) -> Iterator[Path]:
    """Yield the source files of a metric's functions, unless they are tunegate's own."""
    functions = (used.score, used.corpus, used.judge and used.judge.steps)
    modules = {getattr(function, "__module__", None) or "" for function in functions if function}
    for name in sorted(modules):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None and name.partition(".")[0] != "tunegate":
            yield Path(file)
