"""Peak memory of an adapter pair and of base alone: `python -m benchmarks.memory --tuned DIR`.

Both answer the same prompts in the same batches, each in a process of its own, loading included:
once base with nothing else, once base and its adapter on one load. The pair may take 1.15 times as
much.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path

from benchmarks._apart import apart
from benchmarks._prompts import prompts_suite
from tunegate.harness.models._model_folder import adapter_config

MOST = 1.15
"""Allowed ratio of the peaks."""


def main() -> int:
    """Print both peaks; return 1 if the pair takes more than allowed."""
    options = _options()
    base = options.base or str(adapter_config(Path(options.tuned))["base_model_name_or_path"])
    size = (options.prompts, options.new_tokens)
    rows = {
        "base alone": apart(answered, base, None, *size),
        "base and adapter, one load": apart(answered, base, options.tuned, *size),
    }
    print(f"{options.prompts} prompts, at most {options.new_tokens} new tokens, float32")
    print(f"{'':<28} {'peak, MB':>9} {'ratio':>6} {'seconds':>8}")
    alone, *_ = rows.values()
    for name, found in rows.items():
        ratio = found.peak / alone.peak
        print(f"{name:<28} {found.peak / 1e6:9.0f} {ratio:6.3f} {found.seconds:8.1f}")
    held = ratio <= MOST
    print(f"target: at most {MOST} times base alone: {'held' if held else 'MISSED'}")
    return int(not held)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="default: the base that the adapter names")
    parser.add_argument("--tuned", required=True, help="folder of an adapter")
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--new-tokens", type=int, default=64)
    return parser.parse_args()


def answered(base: str, tuned: str | None, prompts: int, tokens: int) -> None:
    """Answer the prompts with base, and with the adapter where one is named."""
    from tunegate.harness.engine.answer_cache import AnswerCache
    from tunegate.harness.engine.plan import make_plan
    from tunegate.harness.engine.progress import ProgressReporter
    from tunegate.harness.engine.runner import Runner
    from tunegate.harness.models.open_arms import open_arms

    opened = open_arms({"base": base, "tuned": tuned or base}, dtype="float32")
    arms = {name: arm for name, arm in opened.items() if name == "base" or tuned}
    with tempfile.TemporaryDirectory() as place:
        suite = prompts_suite(Path(place) / "suite", prompts, tokens)
        plan = make_plan([suite], arms, seed=0)
        store = AnswerCache(Path(place) / "store.sqlite")
        Runner(plan, arms, store, ProgressReporter(1.0, stream=io.StringIO())).run()


if __name__ == "__main__":
    sys.exit(main())
