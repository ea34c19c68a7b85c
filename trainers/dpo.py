"""Preference optimisation: TRL's `DPOTrainer` on pairs of a better and a worse answer.

```
tunegate train dpo --config pairs.yaml --beta 0.1 --loss_type ipo
tunegate train dpo --adapter_name_or_path sft-adapter … # goes on from a fine-tune
```
The reference is never a second model in memory (`trainers/references.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from harness.errors import UsageError
from trainers import lengths, progress, references, row_format, training
from trainers.training import Job, Method


def run(argv: Sequence[str], *, say: progress.Say = progress.to_stderr) -> int:
    """Train as `argv` asks and return the exit code; the body of `tunegate train dpo`."""
    return training.run(METHOD, argv, say=say)


def _configuration() -> type[Any]:
    from trl import DPOConfig  # type: ignore[attr-defined]  # TRL re-exports lazily

    return DPOConfig


def _build(job: Job) -> Any:
    from trl import DPOTrainer  # type: ignore[attr-defined]  # TRL re-exports lazily

    _refuse_smoothing_without_effect(job.config.training)
    references.compute_beforehand(job)
    return DPOTrainer(**job.model_arguments(), **job.arguments())


_SMOOTHED = {"robust", "exo_pair", "aot", "aot_unpaired"}
"""Loss types of TRL 1.12 that know label smoothing; the others ignore it without a word."""


def _refuse_smoothing_without_effect(args: Any) -> None:
    if args.label_smoothing and not _SMOOTHED & set(args.loss_type):
        raise UsageError(
            f"label_smoothing={args.label_smoothing} has no effect on loss_type="
            f"{','.join(args.loss_type)}; for labels that may be wrong use --loss_type robust"
        )


METHOD = Method(
    name="dpo",
    rows=row_format.PREFERENCES,
    configuration=_configuration,
    build=_build,
    settings=(
        *("beta", "loss_type", "loss_weights", "label_smoothing", "f_divergence_type"),
        *("truncation_mode", "precompute_ref_log_probs", "sync_ref_model"),
    ),
    check=lengths.say_prompts_that_fill,
    kinds=references.KINDS,
    goes_on=True,
)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
