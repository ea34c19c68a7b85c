"""What DPO and KTO compare with: the model as it was, without a second one in memory.

With a fresh adapter that is the model with the adapter off. With an adapter that is there already,
TRL keeps a frozen copy of that adapter, which is not saved. Where all weights or the biases are
trained, the reference's log-probabilities are computed once, before the first step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers import adapters

if TYPE_CHECKING:
    from trainers.training import Job

KINDS = (*adapters.COMMON, "bitfit")
"""Kinds of `--peft` for methods with a reference; TRL compares no virtual tokens there."""


def compute_beforehand(job: Job) -> None:
    """Turn TRL's `precompute_ref_log_probs` on where a second model would be loaded instead."""
    args = job.config.training
    whole = adapters.kind_of(job.config) in adapters.WHOLE
    if whole and "precompute_ref_log_probs" not in job.config.given and not args.sync_ref_model:
        args.precompute_ref_log_probs = True
