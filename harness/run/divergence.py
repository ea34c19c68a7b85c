"""Token-level divergence between tuned and its deployed form, along tuned's answers.

Answers may be equal by luck, or differ by a meaningless word; the distributions show how much was
lost. It takes one forward pass per answer and arm, for a sample of each suite's cases. Both arms
must have logits, so recorded, scripted and served models have no divergence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tunegate.harness.checks.drift import (
    ProbePassage,
    count_changed_tokens,
    mean_divergence,
    token_distributions,
)
from tunegate.harness.contracts.further_arm import SHIPPED
from tunegate.harness.contracts.model import Arm, LocalArm, Prompt
from tunegate.harness.decision.gating.answer_agreement import answer_agreement
from tunegate.harness.decision.verdict.decide import ScoredRun
from tunegate.harness.decision.verdict.deployment_parity import ParityEvidence, compare_shipped
from tunegate.harness.engine.inference.local_engine import memory_watched
from tunegate.harness.engine.inference.speculative import draft_ids
from tunegate.harness.engine.noise_sample import noise_sample
from tunegate.harness.records.answers import CellKind, StoredAnswer
from tunegate.harness.records.errors import OutOfMemory
from tunegate.harness.records.parity import DeploymentParity, PredictionDivergence

Prompts = Mapping[tuple[str, str, str], Prompt]
"""(suite, case, arm) → rendered prompt."""
SAMPLE = 50
"""Cases of a suite to compare."""
IMPOSSIBLE = -50.0
"""Lower bound of log-probabilities (nats): minus infinity would swamp the mean."""


def compare(run: ScoredRun) -> DeploymentParity:
    """Compare the shipped arm of a run with tuned: by scores, answers and predictions."""
    apart = measure_divergence(run.prompts, run.cells, run.arms, seed=run.manifest.seed)
    evidence = ParityEvidence(answer_agreement(run.cells), apart)
    return compare_shipped(run.manifest, run.cases, run.scores, evidence, looks=run.looks)


def measure_divergence(
    prompts: Prompts, cells: Iterable[StoredAnswer], arms: Mapping[str, Arm], *, seed: int
) -> dict[str, PredictionDivergence]:
    """Return suite → the divergence of shipped from tuned; without suites that cannot be measured.

    Args:
        prompts: (suite, case, arm) → rendered prompt, with its token ids.
        cells: What was answered; read twice.
        arms: The opened arms.
        seed: Seed of the sample.
    """
    tuned, shipped = arms["tuned"], arms.get(SHIPPED)
    if not (isinstance(tuned, LocalArm) and isinstance(shipped, LocalArm)):
        return {}
    names: dict[str, list[str]] = {}
    for stored in filter(_is_first_answer, cells):
        names.setdefault(stored.cell.suite, []).append(stored.cell.case)
    chosen = {
        suite: noise_sample(n, suite=suite, seed=seed, size=SAMPLE) for suite, n in names.items()
    }
    rows: dict[str, list[StoredAnswer]] = {suite: [] for suite in names}
    for stored in filter(_is_first_answer, cells):
        if stored.cell.case in chosen[stored.cell.suite]:
            rows[stored.cell.suite].append(stored)
    measured = {}
    for suite, sample in rows.items():
        passages = _passages(prompts, tuned, sample)
        readings = [reading for passage in passages if (reading := _read(passage, tuned, shipped))]
        if readings:
            measured[suite] = _pool_answers(readings)
    return measured


def _is_first_answer(stored: StoredAnswer) -> bool:
    """Return whether a cell is a first answer of tuned."""
    cell = stored.cell
    first = cell.kind is CellKind.GENERATE and cell.sample == 0
    return first and cell.arm == "tuned" and stored.completion is not None


@dataclass(frozen=True, slots=True)
class _ScoredAnswer:
    """One answer as both arms see it."""

    tokens: int
    kl: float
    """Mean over the tokens."""
    logprob: float
    """Sum over the tokens."""
    changed: int
    until: float


def _passages(
    prompts: Prompts, arm: LocalArm, rows: Sequence[StoredAnswer]
) -> Iterator[ProbePassage]:
    """Yield each prompt of text with the answer to it; empty answers have no token to predict."""
    for stored in rows:
        prompt = prompts.get((stored.cell.suite, stored.cell.case, "tuned"))
        assert stored.completion is not None
        answer = draft_ids(arm, stored.completion)
        if prompt is not None and prompt.token_ids and answer and not prompt.images:
            yield ProbePassage((*prompt.token_ids, *answer), len(answer) + 1)


def _read(passage: ProbePassage, tuned: LocalArm, shipped: LocalArm) -> _ScoredAnswer | None:
    """Read one answer with both arms; None where that gives no number."""
    try:
        with memory_watched():
            # There is one distribution more than tokens: drop the one after the answer.
            ours, theirs = (
                token_distributions(arm, [passage])[0][:-1].clamp(min=IMPOSSIBLE)
                for arm in (tuned, shipped)
            )
    except OutOfMemory:
        return None
    kl = mean_divergence([ours], [theirs])
    if kl is None or not math.isfinite(kl):
        return None
    import torch

    answer = torch.tensor(passage.token_ids[-(passage.places - 1) :])[:, None]
    apart = (ours.argmax(dim=-1) != theirs.argmax(dim=-1)).nonzero()
    return _ScoredAnswer(
        tokens=len(ours),
        kl=kl,
        logprob=float((theirs.gather(1, answer) - ours.gather(1, answer)).sum()),
        changed=count_changed_tokens([ours], [theirs]),
        until=float(apart[0]) / len(ours) if len(apart) else 1.0,
    )


def _pool_answers(readings: Sequence[_ScoredAnswer]) -> PredictionDivergence:
    tokens = sum(r.tokens for r in readings)
    return PredictionDivergence(
        answers=len(readings),
        tokens=tokens,
        kl=sum(r.kl * r.tokens for r in readings) / tokens,
        logprob=sum(r.logprob for r in readings) / tokens,
        same_choice=1 - sum(r.changed for r in readings) / tokens,
        until=sum(r.until for r in readings) / len(readings),
    )
