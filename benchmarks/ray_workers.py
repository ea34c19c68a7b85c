"""One process against Ray's workers: `python -m benchmarks.ray_workers [--workers 2 --cases 400]`.

Scripted models that take a fixed time for each answer, as a model on another machine or on a GPU
would: what is measured is how well the work is spread, and what Ray itself takes to start and to
end. On one machine whose cores are all busy already, more processes make a local model no
faster. The two verdicts must be the same bytes.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._prompts import prompts_suite
from tunegate.harness.pipeline.run import HERE, EvaluationRun, ExecutionBackend
from tunegate.harness.suite import Suite


def main() -> int:
    """Print the seconds of both and their ratio; return 1 if the verdicts differ."""
    options = _options()
    with tempfile.TemporaryDirectory() as place:
        suite = prompts_suite(Path(place) / "suite", options.cases, 32)
        for arm, every in (("base", 3), ("tuned", 4)):
            answers = {c.id: "no " * (1 + i % every) for i, c in enumerate(suite.cases)}
            script = json.dumps({"completions": answers, "delay_s": options.delay})
            (Path(place) / f"{arm}.json").write_text(script, encoding="utf-8")
        one, alone = _judged(Path(place), "one", suite, HERE)
        two, together = _judged(Path(place), "ray", suite, ExecutionBackend("ray", options.workers))
    waiting = 2 * options.cases * options.delay
    print(f"{options.cases} cases, both arms, {options.delay:g} s an answer: {waiting:.1f} s")
    print(f"one process {alone:18.1f} s")
    print(f"{options.workers} workers through Ray {together:8.1f} s, Ray's start and end included")
    print(f"ratio {alone / together:24.2f}")
    print(f"the verdicts are {'the same bytes' if one == two else 'DIFFERENT'}")
    return int(one != two)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--delay", type=float, default=0.2, help="seconds an answer takes")
    return parser.parse_args()


def _judged(place: Path, name: str, suite: Suite, engine: ExecutionBackend) -> tuple[bytes, float]:
    """Judge with an empty store; return verdict.json and the seconds that it took."""
    start = time.perf_counter()
    EvaluationRun(
        suites=[suite],
        specs={arm: f"scripted:{place / arm}.json" for arm in ("base", "tuned")},
        folder=place / name / "run",
        store_path=place / name / "store.sqlite",
        stream=io.StringIO(),
        early_stop=False,
        place=engine,
    ).run()
    seconds = time.perf_counter() - start
    return (place / name / "run" / "verdict.json").read_bytes(), seconds


if __name__ == "__main__":
    sys.exit(main())
