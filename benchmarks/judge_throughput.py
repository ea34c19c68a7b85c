"""How close judging comes to the ideal: `python -m benchmarks.judge_throughput`.

A server on this machine takes a fixed time for each reply. With so many questions in progress at
once, the ideal is judgements x latency / concurrency; reading, checking and storing each reply may
add three tenths of it.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.attacks.small_server import SmallServer
from tunegate.harness import lookup
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judge import Judge
from tunegate.harness.judging.backends.server import ServerJudge
from tunegate.harness.judging.contract import JudgementTask
from tunegate.harness.judging.conversation import ModelJuror
from tunegate.harness.model import PoolLimits
from tunegate.harness.records.cases import Case, Completion

MOST = 1.3
"""Allowed time, in multiples of the ideal."""


def main() -> int:
    """Judge, print the table, and return 1 if it took too long or anything is unscored."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--judgements", type=int, default=1000)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds of each reply")
    parser.add_argument("--concurrency", type=int, default=16)
    args = parser.parse_args()
    ideal = -(-args.judgements // args.concurrency) * args.latency
    server = SmallServer(text=middle_score, latency_s=args.latency)
    with server, tempfile.TemporaryDirectory() as folder:
        url = f"http://127.0.0.1:{server.port}/v1"
        seconds, scored = timed(url, Path(folder), args.judgements, args.concurrency)
    ratio = seconds / ideal
    print(f"{args.judgements} judgements, {args.latency:g} s each, {args.concurrency} at once")
    print(f"ideal {ideal:.1f} s, took {seconds:.1f} s: {ratio:.2f} times the ideal")
    if scored < args.judgements:
        print(f"MISSED: {args.judgements - scored} have no score")
    if ratio > MOST:
        print(f"TOO SLOW: more than {MOST:g} times the ideal")
    return int(ratio > MOST or scored < args.judgements)


def timed(url: str, folder: Path, n: int, concurrency: int) -> tuple[float, int]:
    """Return the seconds of n judgements, and how many have a score."""
    rubric = lookup.find_object("tunegate.harness.judges", "rubric", what="judge")
    assert isinstance(rubric, Judge)
    judge = replace(rubric, options={"criteria": "Is polite."})
    tasks = [
        JudgementTask(
            "polite", judge, Case(id=f"c{i}", prompt="Hello"), (Completion(text=f"Answer {i}"),)
        )
        for i in range(n)
    ]
    store = AnswerCache(folder / "store.sqlite")
    model = ServerJudge(url, "judge", limits=PoolLimits(concurrency=concurrency))
    started = time.perf_counter()
    outcomes = [outcome for _, outcome in ModelJuror(model, store).judge(tasks)]
    seconds = time.perf_counter() - started
    store.close()
    return seconds, sum(o.score is not None for o in outcomes)


def middle_score(model: str, prompt: str) -> str:
    """Return a reply with the middle of the scale."""
    nonce = re.search(r"Nonce: (\w+)", prompt)
    return json.dumps({"nonce": nonce[1] if nonce else "", "reason": "r", "score": 3})


if __name__ == "__main__":
    raise SystemExit(main())
