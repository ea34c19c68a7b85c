"""Whether an episode reached its goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import comb
from typing import Any

from tunegate.harness.contracts.metric import Metric, metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def pass_hat_k(values: Sequence[float], k: int) -> float:
    """Return the unbiased estimate of the probability that k samples of a task all pass.

    Of n samples c passed: C(c, k) / C(n, k), the share of the sets of k samples that all passed.

    Source: tau-bench (arXiv 2406.12045), section 4; as in tau2's `agent_metrics.py`.
    """
    passed = sum(value == 1.0 for value in values)
    return comb(passed, k) / comb(len(values), k)


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    k = options.get("k", 1)
    return [] if k >= 1 else [f"k={k!r} must be 1 or more"]


def _with_samples(used: Metric) -> Metric:
    """Return the metric with what k asks of the samples."""
    k = used.options.get("k", 1)
    if k <= 1:
        return used
    return replace(used, over_samples=partial(pass_hat_k, k=k), least_samples=k, binary=False)


@metric(
    label="episodes that succeed", binary=True, episodes=True, check=_check, adapt=_with_samples
)
def episode_pass(
    case: Case, completion: Completion, *, threshold: float = 1.0, k: int = 1
) -> Score:
    """Score 1 if the reward of an episode reaches a threshold, else 0.

    The mean over a task's samples is pass@1. With `k` the task scores pass^k, the probability that
    k episodes all pass: of n samples c passed, C(c, k) / C(n, k).

    Example:
        Rewards 1, 1, 0 and 1: pass@1 is 0.75, and with `k = 2` the score is C(3, 2) / C(4, 2) =
        0.5.

    Options:
        threshold: Lowest reward of an episode that passes.
        k: Episodes of a task that must all pass; needs as many samples.
    """
    if completion.episode is None:
        return Score.unscored("the completion is not an episode")
    reward = completion.episode.reward
    return Score.of(float(reward >= threshold), f"reward {reward:g}")
