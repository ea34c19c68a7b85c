"""Populations of `benchmarks.wild`: the scores of many models on one set, and samples of a pair."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import rules
from tunegate.harness.records.manifest import Gate, MetricRecord

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

APART = 0.15
"""Largest difference of two levels, as a share of the range."""
METRIC = "m"


@dataclass(frozen=True, slots=True)
class ScoreSet:
    """The scores of many models on the same items."""

    name: str
    kind: str
    metric: MetricRecord
    width: float
    """Largest difference that two scores can have."""
    models: dict[str, Floats]
    documents: Ints | None = None
    """Number of each item's document."""

    @classmethod
    def read(cls, path: Path) -> ScoreSet:
        """Read one file of the folder; a missing score is NaN."""
        content = json.loads(path.read_text())
        low, high = content["range"]
        of = rules.metric(range=(low, high), binary=content["binary"], name=METRIC)
        models = {name: np.array(scores, float) for name, scores in content["models"].items()}
        names = content["documents"]
        documents = None if names is None else np.unique(names, return_inverse=True)[1]
        return cls(path.stem, content["kind"], of, high - low, models, documents)

    @property
    def unbounded(self) -> ScoreSet:
        """Return the set as one whose suite declares no range."""
        metric = self.metric.model_copy(update={"range": None})
        return replace(self, name=f"{self.name}, no range", metric=metric)

    def populations(self, count: int, rng: np.random.Generator) -> list[ModelPair]:
        """Return so many pairs of models, the better one as base."""
        found = []
        for first, second in combinations(self.models, 2):
            known = ~np.isnan(self.models[first] + self.models[second])
            base, tuned = self.models[first][known], self.models[second][known]
            if tuned.mean() > base.mean():
                base, tuned = tuned, base
            documents = None if self.documents is None else self.documents[known]
            pair = ModelPair(self, f"{first} / {second}", base, tuned, documents)
            if 0 < -pair.difference <= APART * self.width:
                found.append(pair)
        alike = sorted(found, key=lambda pair: pair.discordance)[: count // 2]
        others = [pair for pair in found if pair not in alike]
        chosen = rng.permutation(len(others))[: count - len(alike)]
        return [*alike, *(others[i] for i in sorted(chosen))]


@dataclass(frozen=True, slots=True)
class Sample:
    """The scores of some cases."""

    base: Floats
    tuned: Floats
    units: tuple[int, ...] | None = None
    """Cases of each document, in order; None where each case is for itself."""

    @property
    def n(self) -> int:
        """Return the number of cases."""
        return len(self.base)

    @property
    def labels(self) -> list[str] | None:
        """Return the document of each case; one that was drawn twice counts as two."""
        if self.units is None:
            return None
        return [str(number) for number, size in enumerate(self.units) for _ in range(size)]

    def first(self, n: int) -> Sample:
        """Return the first cases, which are whole documents."""
        units = self.units
        if units is not None:
            units = units[: int(np.searchsorted(np.cumsum(units), n)) + 1]
        return Sample(self.base[:n], self.tuned[:n], units)


@dataclass(frozen=True, eq=False)
class ModelPair:
    """A pair of models on all items of a set."""

    set: ScoreSet
    name: str
    base: Floats
    tuned: Floats
    documents: Ints | None = None

    @property
    def n(self) -> int:
        """Return the number of items."""
        return len(self.base)

    @cached_property
    def difference(self) -> float:
        """Return the true difference, tuned − base."""
        return float(np.mean(self.tuned - self.base))

    @cached_property
    def discordance(self) -> float:
        """Return the share of items on which the scores differ."""
        return float(np.mean(self.tuned != self.base))

    @property
    def exchanged(self) -> ModelPair:
        """Return the pair with the arms exchanged."""
        return replace(self, base=self.tuned, tuned=self.base)

    @property
    def balanced(self) -> ModelPair:
        """Return each item twice, once with the arms exchanged: no difference at all."""
        base, tuned = self.base, self.tuned
        documents = self.documents
        if documents is not None:
            documents = np.concatenate([documents, documents + documents.max() + 1])
        return ModelPair(
            self.set,
            self.name,
            np.concatenate([base, tuned]),
            np.concatenate([tuned, base]),
            documents,
        )

    @cached_property
    def _members(self) -> list[Ints]:
        """Return the items of each document."""
        assert self.documents is not None
        order = np.argsort(self.documents, kind="stable")
        ends = np.flatnonzero(np.diff(self.documents[order])) + 1
        return np.split(order, ends)

    def sample(self, n: int, rng: np.random.Generator, *, replaced: bool) -> Sample:
        """Return a random sample of about `n` items, in random order."""
        if self.documents is None:
            chosen = _drawn(self.n, n, rng, replaced=replaced)
            return Sample(self.base[chosen], self.tuned[chosen])
        count = max(1, round(n * len(self._members) / self.n))
        drawn = _drawn(len(self._members), count, rng, replaced=replaced)
        members = [self._members[i] for i in drawn]
        chosen = np.concatenate(members)
        return Sample(self.base[chosen], self.tuned[chosen], tuple(map(len, members)))

    def is_true(self, gate: Gate) -> bool:
        """Return whether the pair deserves to pass a gate."""
        margin = gate.margin
        if isinstance(margin, str):
            margin = float(margin.rstrip("%")) / 100 * abs(float(self.base.mean()))
        return self.difference > (margin if gate.kind == "gain" else -margin)


def _drawn(count: int, n: int, rng: np.random.Generator, *, replaced: bool) -> Ints:
    return rng.integers(count, size=n) if replaced else rng.permutation(count)[:n]
