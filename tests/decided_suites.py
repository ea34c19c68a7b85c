"""Fixtures of the verdict tests: a run made of columns of scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tunegate.harness.contracts.json_schema import read_schema
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.records.answers import Cell, CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.files import record_json
from tunegate.harness.records.manifest import (
    ArmPromptRecord,
    Gate,
    Manifest,
    MetricRecord,
    SuiteRecord,
)
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import VerdictRecord

Column = Sequence[float | None]


def zeros_and_ones(wins: int, losses: int, both: int, neither: int) -> tuple[list[float], ...]:
    """Return base's and tuned's 0/1 scores with the given counts of each kind of pair."""
    base = [0.0] * wins + [1.0] * losses + [1.0] * both + [0.0] * neither
    tuned = [1.0] * wins + [0.0] * losses + [1.0] * both + [0.0] * neither
    return base, tuned


def metric_record(name: str = "m", **changes: Any) -> MetricRecord:
    """Return a 0/1 metric, or one with the given changes."""
    given = {
        "use": name,
        "needs": CellKind.GENERATE,
        "higher_is_better": True,
        "range": (0.0, 1.0),
        "binary": True,
    }
    return MetricRecord(name=name, **(given | changes))


@dataclass
class SuiteOfColumns:
    """A suite whose scores are written down: metric → (base, tuned); None is unscored."""

    gates: Sequence[Gate]
    columns: Mapping[str, tuple[Column, Column]]
    metrics: Sequence[MetricRecord] = ()
    name: str = "s"
    clusters: Sequence[str | None] | None = None
    goal_rule: str = "primary"
    max_unscored: float = 0.05
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields of every case."""
    counts: Mapping[str, tuple[Sequence[Any], Sequence[Any]]] = field(default_factory=dict)
    """Metric → what it counted on each case, base's and tuned's."""
    tags: Sequence[tuple[str, ...]] = ()
    """Tags of each case; none where empty."""
    references: Mapping[str, Mapping[str, Column]] = field(default_factory=dict)
    """Further arm → metric → its scores."""
    arm_prompts: Mapping[str, ArmPromptRecord] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of cases."""
        return max((len(base) for base, _ in self.columns.values()), default=0)

    def all_metrics(self) -> tuple[MetricRecord, ...]:
        """Return the metrics given, and a 0/1 one for every other column."""
        known = {m.name for m in self.metrics}
        return (*self.metrics, *(metric_record(n) for n in self.columns if n not in known))

    def record(self) -> SuiteRecord:
        """Return what the manifest holds of it."""
        return SuiteRecord(
            name=self.name,
            path=f"suites/{self.name}/suite.toml",
            hash=f"hash of {self.name}",
            n_cases=self.n,
            goal_rule=self.goal_rule,
            max_unscored=self.max_unscored,
            metrics=self.all_metrics(),
            gates=tuple(self.gates),
            generation={},
            arm_prompts=dict(self.arm_prompts),
        )

    def cases(self) -> list[Case]:
        """Return its cases, `c000` and on."""
        clusters = self.clusters or [None] * self.n
        return [
            Case(
                id=f"c{i:03}",
                prompt="p",
                cluster=clusters[i],
                tags=self.tags[i] if self.tags else (),
                **self.extra,
            )
            for i in range(self.n)
        ]

    def rows(self) -> list[ScoreRow]:
        """Return its scores."""
        return [
            ScoreRow(
                suite=self.name,
                metric=metric,
                case=f"c{i:03}",
                arm=arm,
                value=value,
                reason="the judge timed out" if value is None else None,
                counts=self.counts[metric][side][i] if metric in self.counts else None,
            )
            for metric, pair in self.columns.items()
            for side, (arm, column) in enumerate(self._arms(metric, pair))
            for i, value in enumerate(column)
        ]

    def _arms(self, metric: str, pair: tuple[Column, Column]) -> list[tuple[str, Column]]:
        further = [(arm, of[metric]) for arm, of in self.references.items() if metric in of]
        return [*zip(("base", "tuned"), pair, strict=True), *further]


def manifest_of(suites: Sequence[SuiteOfColumns], **changes: Any) -> Manifest:
    """Return the manifest of a run of these suites."""
    given: dict[str, Any] = {
        "run_id": "r1",
        "created": "2026-01-01T00:00:00+00:00",
        "command": (),
        "arms": {"base": {"spec": "b"}, "tuned": {"spec": "t"}},
        "suites": tuple(s.record() for s in suites),
        "plan": (),
        "seed": 0,
        "versions": {},
        "comparability": {},
        "liveness": {},
        "attempts": {},
    }
    return Manifest(**(given | changes))


def cells_of(suite: SuiteOfColumns) -> tuple[Cell, ...]:
    """Return the plan that asks every case of both arms."""
    return tuple(
        Cell(suite=suite.name, case=case.id, arm=arm, kind=CellKind.GENERATE, key=case.id + arm)
        for case in suite.cases()
        for arm in ("base", "tuned")
    )


@pytest.fixture(name="validator", scope="session")
def _validator() -> Draft202012Validator:
    """Return a validator of the schema of verdict.json."""
    return Draft202012Validator(read_schema("verdict"))


@pytest.fixture(name="judge")
def _judge(validator: Draft202012Validator) -> Callable[..., VerdictRecord]:
    """Return a function that decides suites; every verdict it makes must satisfy the schema."""

    def judge(*suites: SuiteOfColumns, **changes: Any) -> VerdictRecord:
        manifest = manifest_of(suites, **changes)
        cases = {s.name: s.cases() for s in suites}
        verdict = decide_run(manifest, cases, [row for s in suites for row in s.rows()])
        validator.validate(json.loads(record_json(verdict)))
        return verdict

    return judge


@pytest.fixture(name="columns")
def _columns() -> type[SuiteOfColumns]:
    """Return the class of suites made of columns."""
    return SuiteOfColumns


@pytest.fixture(name="record_factory")
def _record_factory() -> Any:
    """Return the helpers of this file: tests cannot import a conftest by name."""

    class RecordFactory:
        pairs = staticmethod(zeros_and_ones)
        metric = staticmethod(metric_record)
        manifest = staticmethod(manifest_of)
        cells = staticmethod(cells_of)

    return RecordFactory
