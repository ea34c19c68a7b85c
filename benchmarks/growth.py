"""How cost grows: `python -m benchmarks.growth [--base DIR --tuned DIR]`.

First with scripted models, which answer at once: 100, 1,000 and 10,000 cases through runner, store,
metrics, statistics and report. Then, where a model is named, with the real one: more cases, longer
answers, longer shared prefixes, one at a time. Time must grow no faster than the work, and memory
stay flat; each size runs in a process of its own.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks._apart import Measured, apart
from benchmarks._prompts import prompts_suite

STEEPEST = 1.15
"""Largest exponent of seconds over work that counts as a straight line: work doubled, 2.2 times."""
FLATTEST = 1.3
"""Largest ratio of peak memories while the work grows tenfold that counts as flat."""
WARM = 20
"""Cases of the run that only imports what a run imports."""
Point = tuple[int, Measured]


def main() -> int:
    """Print a table for each kind of growth; return 1 if one of them is steeper than allowed."""
    options = _options()
    tables = {"scripted cases": [(n, apart(scripted, n)) for n in options.scripted]}
    if options.tuned:
        cases, tokens, prefix = options.cases, options.tokens, options.prefix
        axes = {
            "cases": [(n, (n, tokens[0], 0)) for n in cases],
            "longest answer, tokens": [(n, (cases[0], n, 0)) for n in tokens],
            "shared prefix, words": [(n, (cases[0], tokens[0], n)) for n in prefix],
        }
        for name, sizes in axes.items():
            tables[name] = [
                (n, apart(real, options.base, options.tuned, *size)) for n, size in sizes
            ]
    good = [_report(name, points) for name, points in tables.items()]
    print(
        f"target: seconds at most work to the power of {STEEPEST}, peak memory at most "
        f"{FLATTEST} times for ten times the work: {'held' if all(good) else 'MISSED'}"
    )
    return int(not all(good))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scripted", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--base", help="default: the base that the adapter names")
    parser.add_argument("--tuned", help="folder of an adapter; without it, scripted only")
    parser.add_argument("--cases", type=int, nargs="+", default=[48, 96, 192])
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--prefix", type=int, nargs="+", default=[100, 200, 400])
    return parser.parse_args()


def exponent(points: Sequence[Point]) -> float:
    """Return the power of the work by which seconds grow between the two largest sizes.

    Between the largest, since what a process costs to start is most of a small one.
    """
    (less, before), (more, after) = points[-2:]
    return math.log(after.seconds / before.seconds) / math.log(more / less)


def widening(points: Sequence[Point]) -> float:
    """Return by how much peak memory grows for ten times the work, between the largest sizes."""
    (less, before), (more, after) = points[-2:]
    return float((after.peak / before.peak) ** (1 / math.log10(more / less)))


def _report(name: str, points: Sequence[Point]) -> bool:
    print(f"{name:<24} {'seconds':>8} {'a unit, ms':>11} {'peak, MB':>9}")
    for size, found in points:
        each = 1000 * found.seconds / size if size else math.nan
        print(f"{size:<24} {found.seconds:8.2f} {each:11.2f} {found.peak / 1e6:9.0f}")
    if len(points) < 2:
        return True
    power, wider = exponent(points), widening(points)
    good = power <= STEEPEST and wider <= FLATTEST
    print(
        f"seconds grow with the power {power:.2f}, memory {wider:.2f} times for ten times the "
        f"work: {'ok' if good else 'TOO STEEP'}\n"
    )
    return good


def scripted(cases: int) -> float:
    """Return the seconds in which scripted models are judged, libraries being imported before."""
    with tempfile.TemporaryDirectory() as place:
        judged(Path(place) / "warm", WARM)
        start = time.perf_counter()
        judged(Path(place) / "run", cases)
        seconds = time.perf_counter() - start
        print(_on_disk(Path(place) / "run", cases), flush=True)
        return seconds


def _on_disk(folder: Path, cases: int) -> str:
    """Return how large the store, the run folder and the page of a run are."""
    out = folder / "out"
    sizes = {
        "store": sum(path.stat().st_size for path in folder.glob("store.sqlite*")),
        "run folder": sum(path.stat().st_size for path in out.iterdir() if path.is_file()),
        "its traces": sum(path.stat().st_size for path in out.glob("traces.jsonl*")),
        "page": (out / "report.html").stat().st_size,
    }
    told = ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in sizes.items())
    return f"{cases} cases on the disk: {told}"


def judged(folder: Path, cases: int) -> None:
    """Judge scripted models on so many cases, from the suite's files to the report."""
    from tunegate.harness.pipeline.run import EvaluationRun
    from tunegate.harness.records.run_folder import Run
    from tunegate.reports import page

    suite = prompts_suite(folder / "suite", cases, 32)
    ids = [case.id for case in suite.cases]
    for arm, every in (("base", 3), ("tuned", 4)):
        answers = {case: "no " * (1 + i % every) for i, case in enumerate(ids)}
        script = json.dumps({"completions": answers})
        (folder / f"{arm}.json").write_text(script, encoding="utf-8")
    EvaluationRun(
        suites=[suite],
        specs={arm: f"scripted:{folder / arm}.json" for arm in ("base", "tuned")},
        folder=folder / "out",
        store_path=folder / "store.sqlite",
        stream=io.StringIO(),
        early_stop=False,
    ).run()
    page.write_all(Run.load(folder / "out"), folder / "out")


def real(base: str | None, tuned: str, cases: int, tokens: int, prefix: int) -> float:
    """Return the seconds in which the engine answers for both arms, the models loaded before."""
    from tunegate.harness.engine.answer_cache import AnswerCache
    from tunegate.harness.engine.plan import make_plan
    from tunegate.harness.engine.progress import ProgressReporter
    from tunegate.harness.engine.runner import Runner
    from tunegate.harness.models.open_arms import open_arms

    arms = open_arms({"base": base, "tuned": tuned}, dtype="float32")
    with tempfile.TemporaryDirectory() as place:
        suite = prompts_suite(Path(place) / "suite", cases, tokens, prefix=prefix)
        store = AnswerCache(Path(place) / "store.sqlite")
        start = time.perf_counter()
        plan = make_plan([suite], arms, seed=0)
        Runner(plan, arms, store, ProgressReporter(1.0, stream=io.StringIO())).run()
        return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
