"""Drafts: stored answers of other arms, which a local arm verifies instead of decoding its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tunegate.harness.contracts.further_arm import further_arm
from tunegate.harness.contracts.model import Arm, LocalArm, Request
from tunegate.harness.engine.answer_cache import AnswerStore
from tunegate.harness.engine.plan import Plan
from tunegate.harness.engine.scheduling import PlannedQuestion
from tunegate.harness.records.answers import Completion

if TYPE_CHECKING:
    from tunegate.harness.engine.inference.speculative import DraftAcceptance, KnownAnswer


@dataclass(frozen=True)
class DraftSources:
    """Where the arms of a run get their drafts."""

    plan: Plan
    arms: Mapping[str, Arm]
    store: AnswerStore
    acceptance: dict[tuple[str, str], DraftAcceptance] = field(default_factory=dict)
    """(arm, who wrote its drafts) → how well they were accepted."""
    enabled: bool = True

    def are_offered(self, arm: str) -> bool:
        """Return whether an arm may get drafts."""
        # A run may ask only some of the arms that were planned.
        return self.enabled and arm != "base" and isinstance(self.arms.get(arm), LocalArm)

    def find(self, questions: Iterable[PlannedQuestion], arm: str) -> dict[str, KnownAnswer]:
        """Return request key → the stored answer that the arm is most likely to repeat."""
        if not self.are_offered(arm):
            return {}
        from tunegate.harness.engine.inference.speculative import DraftAcceptance, KnownAnswer

        offers = {q: self._offers(q, arm) for q in questions if (q, arm) in self.plan.requests}
        stored = self.store.completions(key for keys in offers.values() for key in keys.values())
        drafts: dict[str, KnownAnswer] = {}
        for question, keys in offers.items():
            sources = [source for source, key in keys.items() if key in stored]
            if sources:
                source = max(sources, key=lambda s: self._trust(arm, s, question.suite))
                acceptance = self.acceptance.setdefault((arm, source), DraftAcceptance())
                completion = stored[keys[source]]
                if completion.text is not None:
                    drafts[self.plan.requests[question, arm].key] = KnownAnswer(
                        completion, acceptance
                    )
        return drafts

    def kept_share(self, arm: str, suite: str) -> float | None:
        """Return the share of drafted tokens that the arm kept, from its best source of drafts."""
        found = [w.share(suite) for (name, _), w in self.acceptance.items() if name == arm]
        return max((share for share in found if share is not None), default=None)

    def _offers(self, question: PlannedQuestion, arm: str) -> dict[str, str]:
        """Return who else was asked the same → the key of the answer; empty if it is sampled.

        The candidate before has probably learned the same as tuned.
        """
        request = self.plan.requests[question, arm]
        if request.generation.temperature:
            return {}
        offers = {}
        source = further_arm(arm).made_of
        if (question, source) in self.plan.requests:
            offers[source] = self.plan.requests[question, source].key
        if request.key in self.plan.earlier:
            offers["candidate before"] = self.plan.earlier[request.key]
        if (question, "base") in self.plan.requests:
            offers["base"] = self.plan.requests[question, "base"].key
        return offers

    def _trust(self, arm: str, source: str, suite: str) -> float:
        """Return the share of a source's tokens that held; an untried source is tried."""
        share = (
            self.acceptance[arm, source].share(suite) if (arm, source) in self.acceptance else None
        )
        return 1.0 if share is None else share


def turn_draft(answer: KnownAnswer, turn: Request) -> KnownAnswer | None:
    """Return what another arm wrote in the same turn of the same episode; None beyond its end."""
    record = answer.completion.episode
    if record is None or turn.turn is None or turn.turn >= len(record.turns):
        return None
    stored = record.turns[turn.turn]
    draft = Completion(text=stored.text, finish_reason=stored.finish_reason)
    return replace(answer, completion=draft)
