"""How long leakage takes: `python -m benchmarks.leakage [ROWS] [CASES]`.

Made-up text, drawn from 30,000 words as often as words are drawn in real text (Zipf): 100,000
training rows of about 80 words against 10,000 cases of about 60, of which 1 in 100 was put into a
row, whole or with every fourteenth word changed. Reported are the time and what memory it took;
the exit code is 1 if a planted case was missed or another one called touched.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from bisect import bisect
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tunegate.harness.checks.contamination.check import check_contamination, find_training_files
from tunegate.harness.records.cases import Case, canonical_json
from tunegate.harness.records.training_card import ContaminationMode, TrainingSummary
from tunegate.harness.suite import Suite

WORDS = 30_000
EVERY = 100
"""Of so many cases one is planted."""


def main() -> int:
    """Print time and memory; return 1 if what was planted is not what was found."""
    rows, cases = ([int(a) for a in sys.argv[1:3]] + [100_000, 10_000][len(sys.argv) - 1 :])[:2]
    rng = random.Random(0)
    texts = list(_texts(rng, cases, 60))
    suite = SimpleNamespace(
        name="made",
        gates=(),
        cases=[SimpleNamespace(case=Case(id=f"c{i}", prompt=t)) for i, t in enumerate(texts)],
    )
    planted = {i: _edited(texts[i], whole=i % (2 * EVERY) == 0) for i in range(0, cases, EVERY)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        _write(path, rng, rows, list(planted.values()))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, busy = time.perf_counter(), time.process_time()
        found = check_contamination(
            [cast("Suite", suite)],
            find_training_files(TrainingSummary(), None, [path]),
            mode=ContaminationMode.GATE,
        )
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    touched = {int(case[1:]) for case in found.suites[0].touched}
    print(f"{found.rows:,} rows, {cases:,} cases: {seconds:.1f} s, {busy:.1f} of them computing")
    print(f"memory: {peak / 1024:.0f} MiB at its peak, {before / 1024:.0f} before")
    print(
        f"touched: {len(touched)} of {len(planted)} planted, {len(touched - set(planted))} others"
    )
    return int(touched != set(planted))


def _texts(rng: random.Random, count: int, words: int) -> Iterator[str]:
    """Yield texts of about so many words."""
    weights = list(accumulate(1 / rank for rank in range(1, WORDS + 1)))
    for _ in range(count):
        length = rng.randrange(words // 2, words * 3 // 2)
        drawn = (bisect(weights, rng.random() * weights[-1]) for _ in range(length))
        yield " ".join(f"w{word:x}" for word in drawn)


def _edited(text: str, *, whole: bool) -> str:
    """Return a text as it is, or with every fourteenth word changed: 13 in a row are left."""
    words = text.split()
    return " ".join(w if whole or k % 14 != 13 else "edited" for k, w in enumerate(words))


def _write(path: Path, rng: random.Random, rows: int, planted: list[str]) -> None:
    """Write the rows, the planted texts spread among them."""
    step = max(1, rows // max(1, len(planted)))
    with path.open("w", encoding="utf-8") as file:
        for i, text in enumerate(_texts(rng, rows, 80)):
            held = planted[i // step] if i % step == 0 and i // step < len(planted) else ""
            row: dict[str, Any] = {"prompt": f"{text[:200]} {held}", "completion": text[200:]}
            file.write(canonical_json(row) + "\n")


if __name__ == "__main__":
    sys.exit(main())
