"""The suite contract: cases, generation settings, metrics and gates, read from suite.toml.

`load(path)` checks everything that can be checked without a model and reports every problem at
once, each as `file:line: what; remedy`.

Example:
    >>> from pathlib import Path
    >>> suite = load(Path("suites/support_json"))
    >>> suite.name, suite.gates[0].kind.value
    ('support_json', 'floor')
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import lookup, toml
from harness import metric as metric_contract
from harness.errors import SuiteError, UnknownName
from harness.manifest import Gate, GateKind, MetricRecord, SuiteRecord
from harness.metric import Metric
from harness.records import Case, CellKind, Record, canonical_json, sha256
from harness.source import SourcedCase, located_problems

FILE_NAME = "suite.toml"


class Generation(Record):
    """How prompts are made and completions are decoded; the same for every arm."""

    system: str | None = None
    template: str = "chat"
    """`chat` applies the model's chat template, `none` sends the prompt as it is."""
    max_new_tokens: int = 256
    temperature: float = 0.0
    """0 decodes greedily."""
    top_p: float = 1.0
    samples: int = 1
    """Completions per case and arm; more than one needs a temperature."""
    stop: tuple[str, ...] = ()
    """Texts that end a completion; they are cut off."""
    latency_cases: int = 30
    """Cases of the latency pass, where a metric asks for it."""


@dataclass(frozen=True)
class Suite:
    """A loaded suite."""

    name: str
    path: Path
    """The suite.toml it came from."""
    cases: tuple[SourcedCase, ...] = field(repr=False)
    generation: Generation
    metrics: tuple[Metric, ...]
    gates: tuple[Gate, ...]
    goal_rule: str
    max_unscored: float
    definition: Mapping[str, Any] = field(repr=False)
    """suite.toml as parsed."""
    hash: str
    """SHA-256 of the definition, the cases and the files that metrics read."""

    @property
    def gated_metrics(self) -> tuple[Metric, ...]:
        """The metrics that some gate rests on, in the order of the file."""
        gated = {gate.metric for gate in self.gates}
        return tuple(m for m in self.metrics if m.name in gated)

    def record(self) -> SuiteRecord:
        """Return what the verdict must know of the suite."""
        uses = {table.get("name", table["use"].rpartition(":")[2]): table["use"]
                for table in self.definition["metrics"]}
        return SuiteRecord(
            name=self.name,
            path=str(self.path),
            hash=self.hash,
            n_cases=len(self.cases),
            goal_rule=self.goal_rule,
            max_unscored=self.max_unscored,
            metrics=tuple(
                MetricRecord(name=m.name, use=uses[m.name], needs=m.needs, binary=m.binary,
                             higher_is_better=m.higher_is_better, range=m.range)
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
        raise UnknownName(f"{self.path}: {lookup.unknown(name, names, what='metric')}")


def load(path: Path, *, max_cases: int | None = None) -> Suite:
    """Load a suite from its folder or its suite.toml.

    Args:
        path: Folder that holds suite.toml, or the file itself.
        max_cases: Keep only the first cases, for a quick look.

    Raises:
        SuiteError: every problem found, one a line.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise SuiteError([f"{file}: no such suite; `tunegate suite new {path.name}` makes one"])
    source = toml.read(file)
    problems = _definition_problems(source)
    if problems:
        raise SuiteError(problems)
    cases = _collect(problems, lambda: tuple(_cases(source))) or ()
    metrics = tuple(m for i in _tables(source, "metrics") if (m := _metric(source, i, problems)))
    gates = tuple(g for i in _tables(source, "gates") for g in _gates(source, i))
    generation = Generation.model_validate(source.data.get("generation", {}))
    if not problems:
        problems += _consistency(source, cases, metrics, gates, generation)
    if problems:
        raise SuiteError(problems)
    return Suite(
        name=source.data["name"],
        path=file,
        cases=cases[:max_cases],
        generation=generation,
        metrics=metrics,
        gates=gates,
        goal_rule=source.data.get("goal_rule", "primary"),
        max_unscored=source.data.get("max_unscored", 0.05),
        definition=source.data,
        hash=_hash(source, cases, metrics),
    )


def _definition_problems(source: toml.TomlFile) -> list[str]:
    return [
        f"{source.where(*place)}: {text}"
        for place, text in located_problems(source.data, "suite")
    ]


def _tables(source: toml.TomlFile, name: str) -> range:
    return range(len(source.data.get(name, ())))


def _cases(source: toml.TomlFile) -> Iterator[SourcedCase]:
    given = source.data["cases"]
    options = {"from": "jsonl", "file": given} if isinstance(given, str) else dict(given)
    name = options.pop("from")
    where = source.where("cases") if isinstance(given, str) else source.where("cases", "from")
    try:
        function = lookup.find("harness.sources", name, what="case source")
        yield from function(source.path.parent, **options)
    except UnknownName as error:
        raise SuiteError([f"{where}: {error}"]) from error
    except TypeError as error:
        raise SuiteError([f"{where}: case source {name!r}: {error}"]) from error


def _collect(problems: list[str], make: Any) -> Any:
    """Return what `make` returns, or None with its problems added to the list."""
    try:
        return make()
    except SuiteError as error:
        problems += error.problems
        return None


def _metric(source: toml.TomlFile, index: int, problems: list[str]) -> Metric | None:
    options = dict(source.data["metrics"][index])
    use = options.pop("use")
    name = options.pop("name", use.rpartition(":")[2])
    where = source.where("metrics", index, "use")
    try:
        return metric_contract.load(
            use, options, name=name, folder=source.path.parent, where=where
        )
    except SuiteError as error:
        problems += error.problems
    except UnknownName as error:
        problems.append(f"{where}: {error}")
    return None


def _gates(source: toml.TomlFile, index: int) -> Iterator[Gate]:
    table = source.data["gates"][index]
    for kind in GateKind:
        if kind.value in table:
            yield Gate(
                metric=table["metric"],
                kind=kind,
                margin=table[kind.value],
                floor_mode=table.get("floor_mode", "observed"),
                expected_gain=table.get("expected_gain") if kind is GateKind.GAIN else None,
                confidence=table.get("confidence", 0.90),
                where=source.where("gates", index, kind.value),
            )


def _consistency(
    source: toml.TomlFile,
    cases: tuple[SourcedCase, ...],
    metrics: tuple[Metric, ...],
    gates: tuple[Gate, ...],
    generation: Generation,
) -> list[str]:
    problems = _case_problems(source, cases, metrics) + _gate_problems(source, metrics, gates)
    if generation.samples > 1 and generation.temperature == 0:
        problems.append(
            f"{source.where('generation', 'samples')}: samples={generation.samples} of greedy "
            "decoding are all the same; set a temperature, or samples = 1"
        )
    return problems


def _case_problems(
    source: toml.TomlFile, cases: tuple[SourcedCase, ...], metrics: tuple[Metric, ...]
) -> list[str]:
    if not cases:
        return [f"{source.where('cases')}: no cases; a suite needs at least one line"]
    problems = []
    seen: dict[str, str] = {}
    for sourced in cases:
        case, where = sourced.case, sourced.where
        if case.id in seen:
            problems.append(f"{where}: id {case.id!r} is already used at {seen[case.id]}")
        seen.setdefault(case.id, where)
        problems += [
            f"{where}: case {case.id!r} has no {what!r}, which the metric {m.name!r} needs"
            for m in metrics
            for what in _lacking(case, m)
        ]
    for used in metrics:
        if used.check is not None:
            problems += used.check(used.options, [s.case for s in cases])
    return problems


def _lacking(case: Case, used: Metric) -> list[str]:
    needed = set(used.requires)
    if used.needs is CellKind.CHOICES:
        needed |= {"choices", "answer"}
    if used.needs is CellKind.ANSWER:
        needed.add("expected")
    return sorted(name for name in needed if getattr(case, name) is None)


def _gate_problems(
    source: toml.TomlFile, metrics: tuple[Metric, ...], gates: tuple[Gate, ...]
) -> list[str]:
    names = tuple(m.name for m in metrics)
    problems = [
        f"{source.where('metrics', i, 'use')}: metric {name!r} is already used; give one a name"
        for i, name in enumerate(names)
        if name in names[:i]
    ]
    by_name = {m.name: m for m in metrics}
    seen: set[str] = set()
    for gate in gates:
        if gate.metric not in by_name:
            problems.append(f"{gate.where}: {lookup.unknown(gate.metric, names, what='metric')}")
            continue
        if gate.id in seen:
            problems.append(f"{gate.where}: a second {gate.kind.value} on {gate.metric!r}")
        seen.add(gate.id)
        problems += _range_problems(gate, by_name[gate.metric])
    return problems


def _range_problems(gate: Gate, used: Metric) -> list[str]:
    """Catch `floor = 90` on a metric that ends at 1, and margins that nothing can reach."""
    if used.range is None or isinstance(gate.margin, str):
        return []
    low, high = used.range
    if gate.kind.is_level and not low <= gate.margin <= high:
        hint = f"; did you mean {gate.margin / 100:g}?" if low <= gate.margin / 100 <= high else ""
        return [f"{gate.where}: {gate.kind.value}={gate.margin:g} is outside {low:g}–{high:g}{hint}"]
    if not gate.kind.is_level and gate.margin >= high - low:
        return [
            f"{gate.where}: {gate.kind.value}={gate.margin:g}: scores of {gate.metric!r} lie in "
            f"{low:g}–{high:g}, so a difference cannot be that large"
        ]
    if gate.expected_gain is not None and gate.expected_gain < gate.margin:
        return [
            f"{gate.where}: expected_gain={gate.expected_gain:g} is below gain={gate.margin:g}; "
            "what would be worth having is at least what must be proven"
        ]
    return []


def _hash(
    source: toml.TomlFile, cases: tuple[SourcedCase, ...], metrics: tuple[Metric, ...]
) -> str:
    files = {
        str(value.name): hashlib.sha256(value.read_bytes()).hexdigest()
        for m in metrics
        for value in m.options.values()
        if isinstance(value, Path)
    }
    definition = canonical_json({k: v for k, v in source.data.items() if k != "cases"})
    rows = [s.case.model_dump(mode="json", exclude_none=True, by_alias=True) for s in cases]
    return sha256({"definition": definition, "cases": rows, "files": files})
