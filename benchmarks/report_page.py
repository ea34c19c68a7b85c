"""How heavy the report is: `python -m benchmarks.report_page [CASES]`.

A made-up run of 10,000 cases in 57 subjects, each with two answers of about 150 words, is written
as a page and opened in headless Chromium. Printed are the time to write it, its size, the time to
the first paint and to a complete document, what a filter, a sort, a text search half a second after
that and a later one take until the list is drawn, what it takes to read the page of another run and
to show it next to this one, and how many elements the document has, with a case open too. Each time
is the median of five. The exit code is 1 if a budget is missed: first paint 1.5 s, filter and sort
100 ms, another page 3 s, 2,000 elements, 25 MB.
"""

from __future__ import annotations

import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunegate.harness.records.cases import Case, Cell, CellKind, Completion, ScoreRow, StoredAnswer
from tunegate.harness.records.manifest import Gate, Manifest, MetricRecord, SuiteRecord
from tunegate.harness.records.run_folder import Run, RunCase
from tunegate.harness.records.verdict import (
    GateResult,
    GateStatus,
    SuiteResult,
    Verdict,
    VerdictRecord,
)
from tunegate.reports.page import LIMIT, render_page

PAINT_S, FILTER_S, OTHER_S, ELEMENTS = 1.5, 0.1, 3.0, 2_000
ROUNDS = 5
SUBJECTS = 57
WORDS = 150
SUITE = "made_up"


def main() -> int:
    """Print the figures; return 1 if a budget is missed."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    run = _run(n, random.Random(0))
    start = time.perf_counter()
    html = render_page(run)
    wrote = time.perf_counter() - start
    size = len(html.encode())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(html, encoding="utf-8")
        other = path.with_name("other.html")
        other.write_text(html.replace(run.verdict.run_id, "another-run"), encoding="utf-8")
        figures = _measured(path, other)
    print(f"{n:,} cases, {size / 1e6:.1f} MB, written in {wrote:.1f} s")
    print(f"texts of {figures['kept']:,.0f} cases, scores of {figures['rows']:,.0f}")
    for name in ("first paint", "complete", "filter", "sort", "first search", "search", "other"):
        print(f"{name}: {1000 * figures[name]:.0f} ms")
    print(f"elements: {figures['elements']:.0f}, with a case open {figures['opened']:.0f}")
    slowest = max(figures[name] for name in ("filter", "sort", "first search", "search"))
    quick = figures["first paint"] <= PAINT_S and figures["other"] <= OTHER_S
    kept = quick and slowest <= FILTER_S and size <= LIMIT
    return int(not kept or figures["opened"] > ELEMENTS)


def _measured(path: Path, other: Path) -> dict[str, float]:
    """Open the page several times; return the medians of what it took."""
    from playwright.sync_api import sync_playwright

    rounds = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for _ in range(ROUNDS):
            page = browser.new_page()
            page.goto(path.as_uri())
            rounds.append(_round(page, other))
            page.close()
        browser.close()
    return {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}


def _round(page: Any, other: Path) -> dict[str, float]:
    ask: Callable[[str], float] = page.evaluate
    page.wait_for_timeout(500)
    paint = ask("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
    complete = ask("performance.getEntriesByType('navigation')[0].domComplete") / 1000
    filtered = ask(_timed("{ status: 'all', tag: 'subject 07' }"))
    first = ask(_timed("{ tag: '', text: 'w0a w1f' }"))
    sort = ask(_timed("{ order: 'loss', tag: '', text: '' }"))
    page.wait_for_timeout(1_000)
    again = ask(_timed("{ text: 'w0b w1c' }"))
    ask("set({ ...DEFAULTS })")
    from_s = time.perf_counter()
    page.set_input_files("#pick input", other)
    while not ask("document.querySelectorAll('#next-to table').length"):
        page.wait_for_timeout(20)
    shown = time.perf_counter() - from_s
    ask("(others.length = 0, drawRuns())")
    elements = ask("document.querySelectorAll('*').length")
    page.keyboard.press("n")
    return {
        "first paint": paint,
        "complete": complete,
        "filter": filtered,
        "sort": sort,
        "other": shown,
        "first search": first,
        "search": again,
        "elements": elements,
        "opened": ask("document.querySelectorAll('*').length"),
        "rows": ask("cases.length"),
        "kept": ask("(body(0), texts.length)"),
    }


def _timed(changes: str) -> str:
    """Return the expression that filters and draws, forces the layout, and gives the seconds."""
    return (
        f"(() => {{ const from = performance.now(); set({changes}); "
        "document.body.getBoundingClientRect(); return (performance.now() - from) / 1000; })()"
    )


def _run(n: int, rng: random.Random) -> Run:
    """Return a run of `n` cases on which tuned is often another text, and at times a worse one."""
    words = [f"w{i:02x}" for i in range(2_000)]
    cases, cells, scores = {}, list[StoredAnswer](), list[ScoreRow]()
    for i in range(n):
        name, subject = f"case-{i:05d}", f"subject {rng.randrange(SUBJECTS):02d}"
        prompt = " ".join(rng.choices(words, k=40))
        case = Case(id=name, prompt=prompt, expected=words[i % 2_000], tags=(subject,))
        cases[SUITE, name] = RunCase(suite=SUITE, case=case, where=f"cases.jsonl:{i + 1}")
        base = rng.choices(words, k=rng.randrange(WORDS // 2, WORDS * 3 // 2))
        tuned = [w if rng.random() > 0.2 else rng.choice(words) for w in base]
        for arm, text in (("base", base), ("tuned", tuned)):
            cells.append(_cell(name, arm, " ".join(text), i))
            for metric in ("exact_match", "token_f1"):
                value = float(rng.random() > 0.3) if metric == "exact_match" else rng.random()
                row = ScoreRow(suite=SUITE, metric=metric, case=name, arm=arm, value=value)
                scores.append(row)
    return Run(
        folder=Path("made-up"),
        manifest=_manifest(n),
        cases=cases,
        cells=tuple(cells),
        scores=tuple(scores),
        verdict=_verdict(n),
    )


def _cell(case: str, arm: str, text: str, at: int) -> StoredAnswer:
    cell = Cell(suite=SUITE, case=case, arm=arm, kind=CellKind.GENERATE, key=f"{case}/{arm}")
    done = Completion(
        text=text, finish_reason="stop", input_tokens=60, output_tokens=160, latency_s=1.5,
        batch_size=16,
    )  # fmt: skip
    return StoredAnswer(cell=cell, status="ok", completion=done, started_s=1.7e9 + at)


def _manifest(n: int) -> Manifest:
    metrics = tuple(
        MetricRecord(
            name=name, use=name, needs=CellKind.GENERATE, higher_is_better=True,
            range=(0.0, 1.0), binary=name == "exact_match",
        )
        for name in ("exact_match", "token_f1")
    )  # fmt: skip
    gates = tuple(Gate(metric=m.name, kind="tolerance", margin=0.02) for m in metrics)
    suite = SuiteRecord(
        name=SUITE, path="suite.toml", hash="0" * 64, n_cases=n, goal_rule="primary",
        max_unscored=0.05, metrics=metrics, gates=gates, generation={},
    )  # fmt: skip
    return Manifest(created="2026-01-01T00:00:00Z", command=(), suites=(suite,), plan=(), **_FACTS)


def _verdict(n: int) -> VerdictRecord:
    gates = tuple(
        GateResult(
            metric=name, kind="tolerance", status=GateStatus.PASS, sentence="made up",
            base=0.7, tuned=0.7, delta=0.0, low=-0.01, high=0.01, confidence=0.9, method="made up",
            margin=0.02, n=n,
        )
        for name in ("exact_match", "token_f1")
    )  # fmt: skip
    suite = SuiteResult(
        name=SUITE, hash="0" * 64, verdict=Verdict.SHIP, goal_rule="primary", has_goal=False,
        n_planned=n, n_scored=n, n_unscored={}, gates=gates,
    )  # fmt: skip
    return VerdictRecord(verdict=Verdict.SHIP, sentence="made up", suites=(suite,), **_FACTS)


_FACTS: dict[str, Any] = {
    "run_id": "made-up",
    "arms": {"base": {"spec": "base"}, "tuned": {"spec": "tuned"}},
    "seed": 0,
    "versions": {},
    "comparability": {},
    "liveness": {},
    "attempts": {},
}

if __name__ == "__main__":
    raise SystemExit(main())
