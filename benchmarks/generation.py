"""Answers of both arms against plain Transformers: `python -m benchmarks.generation --tuned DIR`.

The peer is what one writes today: `model.generate`, greedy, prompts sorted by length, batches of 8,
once for base and once for tuned. tunegate answers the same prompts with the runner and store of a
real run: first both arms (cold), then another candidate against the same base, whose answers are
known. The answers of all must be equal; in float32 they are, token for token.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._prompts import everyday_prompts
from tunegate.harness import suite as suites
from tunegate.harness.contracts.model import Arm
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.plan import make_plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.runner import Runner, collect_answers
from tunegate.harness.models.open_arms import open_arms

BATCH = 8
"""Rows of the peer's batches."""
TOML = """
name = "prompts"
cases = "cases.jsonl"
[generation]
max_new_tokens = {tokens}
[[metrics]]
use = "loops"
"""
Answers = dict[str, str]


def main() -> int:
    """Print the table; return 1 if an answer differs from the peer's."""
    options = _options()
    arms = open_arms({"base": options.base, "tuned": options.tuned}, dtype="float32")
    with tempfile.TemporaryDirectory() as folder:
        suite = _suite(Path(folder), options.prompts, options.new_tokens)
        plain, plain_s = _plain(arms, suite, options.new_tokens)
        cold, cold_s = _ours(arms, suite, Path(folder) / "cold.sqlite")
        second, second_s = _second(arms, suite, Path(folder) / "second.sqlite")
    changed = sum(plain["base"][case] != plain["tuned"][case] for case in plain["base"])
    equal = all(found[arm] == plain[arm] for found in (cold, second) for arm in plain)
    print(f"{len(suite.cases)} prompts, at most {options.new_tokens} new tokens, float32")
    print(f"answers that the fine-tune changes: {changed} of {len(suite.cases)}")
    print(f"{'':<34} {'seconds':>8} {'ratio':>6}")
    print(f"{'model.generate, both arms':<34} {plain_s:8.1f} {1:6.2f}")
    print(f"{'tunegate, both arms':<34} {cold_s:8.1f} {plain_s / cold_s:6.2f}")
    print(f"{'tunegate, second candidate':<34} {second_s:8.1f} {plain_s / second_s:6.2f}")
    print("answers equal to model.generate's: " + ("all" if equal else "NOT ALL"))
    return int(not equal)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="default: the base that the adapter names")
    parser.add_argument("--tuned", required=True, help="folder of an adapter")
    parser.add_argument("--prompts", type=int, default=160)
    parser.add_argument("--new-tokens", type=int, default=96)
    return parser.parse_args()


def _suite(folder: Path, prompts: int, tokens: int) -> suites.Suite:
    """Return everyday prompts as a suite that only asks for answers."""
    found = list(everyday_prompts().items())[:prompts]
    rows = [{"id": name, "prompt": prompt} for name, prompt in found]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "cases.jsonl").write_text(text, encoding="utf-8")
    (folder / "suite.toml").write_text(TOML.format(tokens=tokens), encoding="utf-8")
    return suites.load_suite(folder)


def _plain(
    arms: Mapping[str, Any], suite: suites.Suite, tokens: int
) -> tuple[dict[str, Answers], float]:
    """Return each arm's answers as plain Transformers gives them, and the seconds it took."""
    start = time.perf_counter()
    found = {name: _generate(arm, suite, tokens) for name, arm in arms.items()}
    return found, time.perf_counter() - start


def _generate(arm: Any, suite: suites.Suite, tokens: int) -> Answers:
    import torch

    prompts = {c.id: arm.prompt(c, suite.generation).token_ids for c in suite.cases}
    ordered = sorted(prompts, key=lambda case: len(prompts[case]))
    pad = arm.tokenizer.pad_token_id
    answers = {}
    with arm.active() as model, torch.inference_mode():
        for at in range(0, len(ordered), BATCH):
            batch = ordered[at : at + BATCH]
            longest = max(len(prompts[case]) for case in batch)
            ids = torch.tensor(
                [[pad] * (longest - len(prompts[c])) + list(prompts[c]) for c in batch]
            )
            mask = torch.tensor(
                [[0] * (longest - len(prompts[c])) + [1] * len(prompts[c]) for c in batch]
            )
            out = model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=tokens,
                eos_token_id=sorted(arm.stop_ids),
                pad_token_id=pad,
            )
            for case, row in zip(batch, out[:, longest:].tolist(), strict=True):
                answers[case] = arm.tokenizer.decode(row, skip_special_tokens=True)
    return answers


def _ours(
    arms: Mapping[str, Arm], suite: suites.Suite, store: Path
) -> tuple[dict[str, Answers], float]:
    """Return the answers of tunegate's runner with an empty store, and its seconds."""
    start = time.perf_counter()
    found = _run(arms, suite, AnswerCache(store))
    return found, time.perf_counter() - start


def _second(
    arms: Mapping[str, Arm], suite: suites.Suite, store: Path
) -> tuple[dict[str, Answers], float]:
    """Return the same where base's answers are known from an earlier candidate."""
    known = AnswerCache(store)
    _run({"base": arms["base"]}, suite, known)
    start = time.perf_counter()
    found = _run(arms, suite, known)
    return found, time.perf_counter() - start


def _run(arms: Mapping[str, Arm], suite: suites.Suite, store: AnswerCache) -> dict[str, Answers]:
    plan = make_plan([suite], arms, seed=0)
    Runner(plan, arms, store, ProgressReporter(1.0, stream=io.StringIO())).run()
    found: dict[str, Answers] = {name: {} for name in arms}
    for stored in _answered(plan, store):
        found[stored.cell.arm][stored.cell.case] = stored.completion.text or ""
    return found


def _answered(plan: Any, store: AnswerCache) -> Sequence[Any]:
    return [c for c in collect_answers(plan, store, set()) if c.completion is not None]


if __name__ == "__main__":
    sys.exit(main())
