"""Remaining work of a run, which its progress shows as a share and a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from tunegate.harness.contracts.model import Request
from tunegate.harness.engine.drafts import DraftSources
from tunegate.harness.engine.plan import Plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.scheduling import READING, estimate_effort
from tunegate.harness.records.answers import CellKind, StoredAnswer

_Kind = tuple[str, str, bool]
"""Arm, suite, and whether drafts are offered: what the price of a token depends on."""


@dataclass
class RemainingWork:
    """Effort of the answers that are still to come."""

    plan: Plan
    drafts: DraftSources
    progress: ProgressReporter
    left: dict[_Kind, float] = field(default_factory=dict)

    def expect(self, requests: Iterable[tuple[str, Request]]) -> None:
        """Set the requests that are left, with their arms."""
        self.left.clear()
        for arm, request in requests:
            kind = self._kind(arm, request)
            self.left[kind] = self.left.get(kind, 0.0) + self.effort[request.key]
        self._set_total()

    def count(self, answer: StoredAnswer, label: str) -> None:
        """Move an answer from what is left to what is done."""
        tokens = answer.completion.output_tokens or 0 if answer.completion else 0
        effort, kind = self.effort[answer.key], self._kinds[answer.key]
        self.left[kind] = max(0.0, self.left.get(kind, 0.0) - effort)
        done = effort * self._price(*kind)
        self._set_total(done)
        self.progress.add(done, tokens=tokens, label=label)

    @cached_property
    def effort(self) -> dict[str, float]:
        """Request key → work, in tokens that have to be written."""
        return {r.key: estimate_effort(r) for r in self.plan.requests.values()}

    @cached_property
    def _kinds(self) -> dict[str, _Kind]:
        return {r.key: self._kind(arm, r) for (_, arm), r in self.plan.requests.items()}

    def _kind(self, arm: str, request: Request) -> _Kind:
        written = request.kind is CellKind.GENERATE and not request.generation.temperature
        return arm, request.suite, written and self.drafts.are_offered(arm)

    def _set_total(self, done: float = 0.0) -> None:
        """Set the progress's total, with work that is done and not yet counted there."""
        remaining = sum(effort * self._price(*kind) for kind, effort in self.left.items())
        self.progress.total = self.progress.done + done + remaining or 1.0

    def _price(self, arm: str, suite: str, drafted: bool) -> float:
        """Return what an answer costs of its effort: an accepted token is only read."""
        share = self.drafts.kept_share(arm, suite) if drafted else None
        return 1 - (1 - READING) * (share or 0.0)
