"""Sentences on gate results: the one place where the words of a kind meet a result's numbers."""

from __future__ import annotations

import math

from tunegate.harness.comparison.estimator import FEW_CLUSTERS
from tunegate.harness.comparison.labelled_level import n_labelled
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.contracts.quantity import quantity_of
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.wording import count_noun


def gate_sentence(result: GateResult, pairs: Pairs, remaining: int = 0) -> str:
    """Return what was measured, against what, and what follows; `remaining` cases not asked."""
    if result.n == 0:
        return f"{result.metric}: no case has a score in both arms"
    wording = _Wording(result, pairs, remaining, arm=pairs.arm)
    measured = f"{wording['measured']}{_uncorrected_note(result, pairs)}"
    return f"{measured}: {wording['conclusion']}"


def gate_headline(result: GateResult) -> str:
    """Return what the metric did, and how that compares with the bound."""
    if result.n == 0 or result.status is GateStatus.ERROR:
        return result.sentence
    if result.reason is GateReason.PROMPT_SUFFICES:
        return result.sentence
    wording = _Wording(result)
    return f"{result.words} {wording['moved']}, {wording['brief']}"


def gate_words(result: GateResult, slot: str, arm: str = "tuned") -> str:
    """Return one slot of `GateWords` for a result of the arm: `rule`, `label`, `measured` …"""
    return _Wording(result, arm=arm)[slot]


def cases_against(result: GateResult, *, lost: bool = False) -> str:
    """Return what to call the cases that speak against a gate, or those of them that `lost`."""
    return _Wording(result).text("against", "lost" if lost else "")


def missing_evidence(result: GateResult, pairs: Pairs) -> str | None:
    """Return what an undecided gate lacks that more cases alone do not give."""
    clusters = pairs.n_clusters
    if result.n < 2:
        return "one case is too little to judge by"
    if pairs.labels is not None:
        return "more labels would narrow it"
    if clusters is not None and clusters < FEW_CLUSTERS:
        come = f"the cases come in {count_noun(clusters, 'cluster')}"
        return f"{come}, and it takes {FEW_CLUSTERS} at least"
    if result.low is None and result.high is None:
        return "all differences are equal, so the next one cannot be predicted"
    return None


class _Wording:
    """What the templates of a result's kind may name."""

    def __init__(
        self,
        result: GateResult,
        pairs: Pairs | None = None,
        remaining: int = 0,
        *,
        arm: str = "tuned",
    ) -> None:
        kind = self.kind = gate_kind(result.kind)
        self.result, self.pairs, self.remaining = result, pairs, remaining
        code, facts = kind.finding(result, pairs, remaining)
        self.codes = tuple(filter(None, (code, result.reason, result.status)))
        how, levels = kind.quantity_format(result), quantity_of(result)
        signed = kind.tests_difference
        margin = how.margin(result.margin, points=signed)
        self.facts = {
            "arm": arm,
            "metric": result.metric,
            "base": result.against or "base",
            "kind": result.kind,
            "method": result.method,
            "cases": count_noun(result.n, "case"),
            "value": how.level(kind.value(result)),
            "interval": how.interval(result.low, result.high, result.confidence, sign=signed),
            "change": how.change(result.base, result.tuned, result.delta),
            "movement": levels.moved(result.base, result.tuned, result.delta),
            "margin": margin,
            "bound": margin + f" of {result.against or 'base'}" * isinstance(result.margin, str),
            **kind.phrases(result),
            **facts,
        }

    def __getitem__(self, name: str) -> str:
        """Return what `{name}` stands for."""
        if name in self.facts:
            return self.facts[name]
        if name == "more":
            return self._deciding_evidence()
        by_outlook = name in ("assumption", "unplanned")
        return self.text(name, *([self.kind.outlook(self.result)] if by_outlook else self.codes))

    def text(self, slot: str, *codes: str) -> str:
        """Return a slot's template, filled."""
        return self.kind.words.template(slot, codes).format_map(self)

    def _deciding_evidence(self) -> str:
        """Return what would decide an undecided gate."""
        result = self.result
        missing = None if self.pairs is None else missing_evidence(result, self.pairs)
        if missing is not None:
            return missing
        if result.needed_n is None:
            if self.remaining:
                return count_noun(self.remaining, "case was not asked", "cases were not asked")
            return self["unplanned"]
        in_all, most = result.needed_n, max(result.needed_most or 0, result.needed_n)
        often = f"would decide it in 4 of 5 runs{self['assumption']}"
        if in_all <= result.n:
            return f"{in_all} cases {often}, and this was the fifth"
        span = f"{in_all}" if most == in_all else f"{in_all} to {most}"
        return f"about {in_all - result.n} more ({span} in all) {often}"


def _uncorrected_note(result: GateResult, pairs: Pairs) -> str:
    """Return what the judge alone would say, if labels correct it."""
    if pairs.labels is None or not pairs.n:
        return ""
    labelled = count_noun(n_labelled(pairs.labels), "pair")
    alone = (math.fsum(pairs.tuned) - math.fsum(pairs.base)) / pairs.n
    uncorrected = f"the judge alone gives {quantity_of(result).difference(alone)}"
    return f" (corrected by labels on {labelled}; {uncorrected})"
