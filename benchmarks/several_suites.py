"""Several suites in one run against plain Transformers: `python -m benchmarks.several_suites`.

Suites have instructions of their own. The peer is `model.generate`, greedy, a suite at a time,
prompts sorted by length, batches of 8, which reads a suite's instruction again for every prompt.
tunegate answers all suites with the runner and store of a real run. Counted are the tokens of the
prompts and those that each side computed to read them, padding included, and the processor's time.
The answers must be equal.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._forwards import Watch, watched
from benchmarks.generation import _generate
from tunegate.harness import suite as suites
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.plan import make_plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.runner import Runner, collect_answers
from tunegate.harness.models.open_arms import open_arms

BUNDLED = Path(__file__).resolve().parents[1] / "suites"
Answers = dict[tuple[str, str], str]


def main() -> int:
    """Print the table; return 1 if an answer differs from the peer's."""
    options = _options()
    opened = open_arms({"base": options.base, "tuned": options.tuned}, dtype="float32")
    arms: dict[str, Any] = {"base": opened["base"]}
    with tempfile.TemporaryDirectory() as place:
        asked = [
            _suite(Path(place) / name, name, options.prompts, options.new_tokens)
            for name in options.suites
        ]
        lengths = [
            len(arms["base"].prompt(case, suite.generation).token_ids)
            for suite in asked
            for case in suite.cases
        ]
        plain, peer, peer_s = _timed(arms, lambda: _plain(arms["base"], asked, options.new_tokens))
        found, ours, ours_s = _timed(
            arms, lambda: _ours(arms, asked, AnswerCache(Path(place) / "store.sqlite"))
        )
    print(f"{len(lengths)} prompts of {', '.join(options.suites)}: {sum(lengths):,} tokens")
    print(f"{'':<16} {'tokens read':>12} {'forwards':>9} {'steps':>7} {'seconds':>8} {'ratio':>6}")
    for name, watch, seconds in (("model.generate", peer, peer_s), ("tunegate", ours, ours_s)):
        read = [forward for forward in watch.seen if forward.tokens > 1]
        tokens = sum(forward.rows * forward.tokens for forward in read)
        print(
            f"{name:<16} {tokens:12,} {len(read):9,} {watch.steps:7,} {seconds:8.1f} "
            f"{peer_s / seconds:6.2f}"
        )
    equal = found == plain
    print("answers equal to model.generate's: " + ("all" if equal else "NOT ALL"))
    return int(not equal)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True, help="folder of a model")
    parser.add_argument("--tuned", required=True, help="folder of an adapter; base is asked alone")
    parser.add_argument("--prompts", type=int, default=32, help="of each suite")
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--suites", nargs="+", default=["support_json", "production", "tool_calls"])
    return parser.parse_args()


def _suite(folder: Path, name: str, prompts: int, tokens: int) -> suites.Suite:
    """Return prompts of a bundled suite, with its instruction, as a suite that asks for answers."""
    bundled = suites.load_suite(BUNDLED / name)
    rows = [{"id": case.id, "prompt": case.prompt} for case in bundled.cases[:prompts]]
    lines = ["name = " + json.dumps(name), 'cases = "cases.jsonl"', "[generation]"]
    lines += [f"max_new_tokens = {tokens}"]
    if bundled.generation.system:
        lines += ["system = " + json.dumps(bundled.generation.system)]
    folder.mkdir()
    (folder / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (folder / "suite.toml").write_text("\n".join([*lines, '[[metrics]]\nuse = "loops"\n']), "utf-8")
    return suites.load_suite(folder)


def _timed(arms: Any, answer: Any) -> tuple[Answers, Watch, float]:
    """Return answers, the forwards that they took, and the seconds of the processor."""
    with watched(arms["base"].loaded.torch_model) as watch:
        start = time.process_time()
        return answer(), watch, time.process_time() - start


def _plain(arm: Any, asked: Sequence[suites.Suite], tokens: int) -> Answers:
    return {
        (suite.name, case): text
        for suite in asked
        for case, text in _generate(arm, suite, tokens).items()
    }


def _ours(arms: Any, asked: Sequence[suites.Suite], store: AnswerCache) -> Answers:
    plan = make_plan(asked, arms, seed=0)
    Runner(plan, arms, store, ProgressReporter(1.0, stream=io.StringIO())).run()
    return {
        (stored.cell.suite, stored.cell.case): stored.completion.text or ""
        for stored in collect_answers(plan, store, set())
        if stored.completion is not None
    }


if __name__ == "__main__":
    sys.exit(main())
