"""Parts of suite.toml: generation, cases, episode, metrics and gates, with all their problems."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tunegate.harness.contracts import keyword_options, lookup
from tunegate.harness.contracts.further_arm import PROMPTED, reference_arms
from tunegate.harness.contracts.json_schema import located_problems
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.metric_loading import load_metric
from tunegate.harness.contracts.source import NotedCases
from tunegate.harness.gates.contract.registry import gate_kinds
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError, UnknownName, unknown_name_message
from tunegate.harness.records.files import check_regular
from tunegate.harness.records.generation import TEMPLATES_OF, GenerationSettings
from tunegate.harness.records.manifest import Gate
from tunegate.harness.suite import consistency
from tunegate.harness.suite.arm_prompt import ArmPrompt, read_arm_prompt
from tunegate.harness.suite.case_images import read_images
from tunegate.harness.suite.file_schema import COMMON_KEYS, suite_validator
from tunegate.harness.suite.suite import with_prompted_goals
from tunegate.harness.suite.tag_keys import key_problems, on_every_value
from tunegate.harness.suite.toml_file import TomlFile
from tunegate.harness.suite.variants import make_variants

if TYPE_CHECKING:
    from tunegate.harness.contracts.episode_environment import EpisodePlan

LARGEST_TEMPLATE = 1_000_000
"""Largest chat template, in bytes."""
SOURCES = "tunegate.harness.suite.sources"

T = TypeVar("T")


class SuiteParts:
    """The valid parts of a suite, and the problems of all others."""

    def __init__(self, source: TomlFile, *, own_code: bool = True) -> None:
        self.source = source
        self.own_code = own_code
        located = located_problems(source.data, suite_validator())
        located = [(p, _one_table(source, p) or text) for p, text in located]
        typos = {place[:2] for place, text in located if "did you mean" in text}
        # a gate whose only key is misspelled does not also lack a key
        located = [(p, t) for p, t in located if not (p in typos and "needs at least one" in t)]
        located.sort(key=lambda problem: source.line(*problem[0]))
        self.problems = [f"{source.where(*place)}: {text}" for place, text in located]
        self.places = [place for place, _ in located]
        self.generation = GenerationSettings()
        if self._is_valid("generation"):
            self.generation = GenerationSettings.model_validate(source.data["generation"])
            self._collect(self._read_template)
        self.cases: list[Case] = []
        self.notes: tuple[str, ...] = ()
        all_read = self._is_valid("cases") and self._collect(self._read_cases) is True
        self.cases_known = all_read or bool(self.cases)
        self.variants: list[Case] = []
        if all_read and self._is_valid("variants"):
            self._collect(self._make_variants)
        self.episode: EpisodePlan | None = None
        if self._is_valid("episode"):
            self._collect(self._read_episode)
        self.metrics: dict[int, Metric] = {}
        for index in self._valid_tables("metrics"):
            self._collect(partial(self._read_metric, index))
        self.arm_prompts: dict[str, ArmPrompt] = {}
        for name in filter(self._is_valid, reference_arms()):
            prompt = self._collect(partial(read_arm_prompt, source, name))
            self.arm_prompts |= {name: prompt} if prompt else {}
        self.gates = tuple(
            gate
            for index in self._valid_tables("gates")
            for read in _read_gates(source, index)
            for gate in on_every_value(read, [*self.cases, *self.variants])
        )
        if PROMPTED in source.data:
            self.gates = with_prompted_goals(self.gates)
        if self._is_valid("plan"):
            self._check_plan(tuple(metric.name for metric in self.metrics.values()))
        self._check_together()

    def _is_valid(self, *keys: str | int) -> bool:
        """Return whether a key is present and its value has the right form."""
        present = keys[0] in self.source.data
        return present and not any(place[: len(keys)] == keys for place in self.places)

    def _valid_tables(self, name: str) -> list[int]:
        """Return the indexes of the valid tables of an array."""
        tables = self.source.data.get(name, ())
        count = len(tables) if isinstance(tables, list) else 0
        return [index for index in range(count) if self._is_valid(name, index)]

    def _collect(self, make: Callable[[], T]) -> T | None:
        """Call `make`; if it fails, add its problems and return None."""
        try:
            return make()
        except SuiteError as error:
            self.problems += error.problems
            return None

    def _read_cases(self) -> bool:
        opened = _open_source(self.source)
        for number, case in enumerate(opened, start=1):  # cases before a broken line are kept
            place = case.where or f"{self.source.where('cases')}: case {number}"
            self.cases.append(case if case.where else case.with_place(place))
        self.cases, problems = read_images(self.cases, _cases_folder(self.source))
        self.problems += problems
        self.notes = opened.notes if isinstance(opened, NotedCases) else ()
        return True

    def _make_variants(self) -> None:
        if "episode" in self.source.data:
            raise SuiteError(
                [f"{self.source.where('variants')}: episodes have no variants; remove [variants]"]
            )
        self.cases, self.variants = make_variants(self.source, self.cases, self.generation)

    def _read_template(self) -> None:
        """Replace the name of the chat template's file with its text."""
        name, folder = self.generation.chat_template, self.source.path.parent
        if name is None or name in TEMPLATES_OF:
            return
        where, file = self.source.where("generation", "chat_template"), folder / name
        if outside := keyword_options.outside_problem(folder, name):
            raise SuiteError([f"{where}: {outside}"])
        try:
            check_regular(file, LARGEST_TEMPLATE)
            text = file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise SuiteError(
                [
                    f"{where}: {name!r} is not a text file next to suite.toml "
                    f'({type(error).__name__}); name a file with a chat template, or "base" or '
                    '"tuned" for the template of that model'
                ]
            ) from error
        if not text.strip():
            raise SuiteError([f"{where}: {name!r} is empty; write a chat template into it"])
        self.generation = self.generation.model_copy(update={"chat_template": text})

    def _read_episode(self) -> None:
        from tunegate.harness.suite.episode_table import read_episodes

        self.episode, problems = read_episodes(self.source, self.cases, self.generation)
        self.problems += problems

    def _read_metric(self, index: int) -> None:
        if self.own_code or ":" not in self.source.data["metrics"][index]["use"]:
            self.metrics[index] = _load_metric(self.source, index)

    def _check_plan(self, names: tuple[str, ...]) -> None:
        for name in self.source.data["plan"].get("spread", {}):
            if name not in names:
                where = self.source.where("plan", "spread", name)
                self.problems.append(f"{where}: {unknown_name_message(name, names, what='metric')}")

    def _check_together(self) -> None:
        source, used = self.source, tuple(self.metrics.values())
        if self.cases_known:
            self.problems += consistency.case_problems(source, self.cases, used)
            for index, metric in self.metrics.items():
                where = source.where("metrics", index, "use")
                self.problems += consistency.metric_problems(where, metric, self.cases)
        played = "episode" in source.data or any(metric.episodes for metric in used)
        if played:
            from tunegate.harness.suite.episode_table import episode_metric_problems

            self.problems += episode_metric_problems(source, self.metrics, self.generation)
            if seen := next((case for case in self.cases if case.images), None):
                self.problems.append(
                    f"{seen.where}: case {seen.id!r} has an image, and episodes are text only"
                )
            for name in self.arm_prompts:
                self.problems.append(
                    f"{source.where(name)}: episodes give their arms no prompt; remove [{name}]"
                )
        self.problems += self._sample_problems()
        names = [(index, metric.name) for index, metric in self.metrics.items()]
        self.problems += consistency.name_problems(source, names)
        complete = self._is_valid("metrics") and len(used) == len(source.data["metrics"])
        self.problems += consistency.gate_problems(used, self.gates, complete=complete)
        if self.cases_known:
            gates = self._valid_tables("gates")
            self.problems += consistency.tag_problems(source, gates, [*self.cases, *self.variants])
            self.problems += key_problems(source, gates, self.cases)
        for index in self._valid_tables("gates"):
            self.problems += consistency.companion_problems(source, index)
        self.problems += consistency.thinking_problems(source, self.generation)
        drawn = self.generation.temperature or any(case.temperature for case in self.cases)
        generates = any(m.needs is not CellKind.RECORDED for m in used)
        if self.generation.samples > 1 and not drawn and generates:
            self.problems.append(
                f"{source.where('generation', 'samples')}: samples={self.generation.samples} of "
                "greedy decoding are all the same; set a temperature, or samples = 1"
            )

    def _sample_problems(self) -> Iterator[str]:
        for index, used in self.metrics.items():
            if (least := used.least_samples) > self.generation.samples:
                yield (
                    f"{self.source.where('metrics', index, 'use')}: metric {used.name!r} needs "
                    f"{least} samples of each case, not {self.generation.samples}: set samples = "
                    f"{least} under [generation]"
                )


def _one_table(source: TomlFile, place: tuple[str | int, ...]) -> str:
    """Return what to write for a table in single brackets that must be one of several; else ""."""
    if place not in (("metrics",), ("gates",)) or not isinstance(source.data[place[0]], dict):
        return ""
    return f"[{place[0]}] is a single table; write [[{place[0]}]], once for each"


def _open_source(source: TomlFile) -> Iterable[Case]:
    cases_value = source.data["cases"]
    settings = (
        {"from": "jsonl", "file": cases_value}
        if isinstance(cases_value, str)
        else dict(cases_value)
    )
    name = settings.pop("from")
    where = source.where("cases") if isinstance(cases_value, str) else source.where("cases", "from")
    try:
        function = lookup.find_object(SOURCES, name, what="case source")
    except UnknownName as error:
        raise SuiteError([f"{where}: {error}"]) from error
    folder, place = source.path.parent, f"{where}: case source {name!r}"
    outside = [f"{source.where('cases')}: {text}" for text in _outside_problems(settings, folder)]
    # records of other tools may be anywhere: only their own formats are read
    if outside and not getattr(inspect.getmodule(function), "READS_RECORDS", False):
        raise SuiteError(outside)
    bound = keyword_options.bind_options(function, settings, skip=1, folder=folder, where=place)
    opened: Iterable[Case] = function(folder, **bound)
    return opened


def _cases_folder(source: TomlFile) -> Path:
    """Return the folder of the cases' file, which paths of images are relative to."""
    given = source.data["cases"]
    name = given if isinstance(given, str) else given.get("file")
    return (source.path.parent / name).parent if isinstance(name, str) else source.path.parent


def _outside_problems(settings: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield paths of a source that are outside the project."""
    for key in ("file", "path", "include_path"):
        value = settings.get(key, ())
        for name in value if isinstance(value, list) else [value]:
            text = keyword_options.outside_problem(folder, name) if isinstance(name, str) else None
            if text is not None:
                yield text


def _load_metric(source: TomlFile, index: int) -> Metric:
    settings = dict(source.data["metrics"][index])
    use = settings.pop("use")
    name = settings.pop("name", use.rpartition(":")[2])
    where = source.where("metrics", index, "use")
    try:
        return load_metric(use, settings, name=name, folder=source.path.parent, where=where)
    except UnknownName as error:
        raise SuiteError([f"{where}: {error}"]) from error


def _read_gates(source: TomlFile, index: int) -> Iterator[Gate]:
    table = source.data["gates"][index]
    common = {key: table[key] for key in COMMON_KEYS if key in table}
    for kind in gate_kinds():
        key = kind.key_in(table)
        if key is not None:
            where = source.where("gates", index, key)
            yield Gate(kind=kind.name, where=where, **common, **kind.fields(table))
