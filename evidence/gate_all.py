"""Gate every pair of pairs.toml and write docs/evidence.md with its picture.

    python evidence/gate_all.py [FOLDER]   # FOLDER instead of docs; about a minute on two cores

Each pair is one `tunegate gate` and one `tunegate results`; nothing is computed here. Both run in
forks of this process, which has imported tunegate once for all of them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from tunegate.harness.cli import main as run_command

HERE = Path(__file__).parent
COLORS = {"SHIP": "#2e7d32", "BLOCK": "#c62828", "UNDECIDED": "#ef8f00", "HOLD": "#546e7a"}
LINE = re.compile(r"^  (\S+): .*; (\d+) pairs, (\d+) better, (\d+) worse", re.MULTILINE)
SLICE = re.compile(r"^\| `(.+?)` \| .* \| (−[\d.]+) points \| ([\d,]+) \|$", re.MULTILINE)
"""A subject that lost, in summary.md, worst first."""

SHARED = (
    "jsonschema",
    "scipy.stats",
    "tunegate.harness.plugin.session",
    "tunegate.harness.run.evaluate",
    "tunegate.reports.page",
)
"""Imported once, before the forks."""

Row = dict[str, Any]


def judge_all() -> list[Row]:
    """Return a row for each pair and score, in the order of pairs.toml."""
    listed = tomllib.loads((HERE / "pairs.toml").read_text(encoding="utf-8"))["pairs"]
    for name in SHARED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("fork")
        jobs = [(Path(folder) / f"{number:02}", pair) for number, pair in enumerate(listed)]
        with context.Pool(2, maxtasksperchild=1) as pool:
            return [row for rows in pool.imap(judge_pair, jobs, chunksize=1) for row in rows]


def judge_pair(job: tuple[Path, Row]) -> list[Row]:
    """Gate one pair in a folder of its own, so that no other attempt on the suite is counted."""
    folder, pair = job
    for part in ("suites", "scores"):
        shutil.copytree(HERE / part / pair["task"], folder / part / pair["task"])
    os.chdir(folder)
    base, tuned = (f"results:scores/{pair['task']}/{pair[arm]}.csv" for arm in ("base", "tuned"))
    where = ["--run-dir", "run", "--store", "store.sqlite"]
    code, said = run("gate", f"suites/{pair['task']}", "--base", base, "--tuned", tuned, *where)
    if not Path("run/verdict.json").is_file():
        raise SystemExit(f"{pair['tuned']}: no verdict, exit code {code}\n{said}")
    verdict = json.loads(Path("run/verdict.json").read_text(encoding="utf-8"))
    _, looked = run("results", base.removeprefix("results:"), tuned.removeprefix("results:"))
    counts = {key: (int(better), int(worse)) for key, _, better, worse in LINE.findall(looked)}
    lost = SLICE.search(Path("run/summary.md").read_text(encoding="utf-8"))
    suite = verdict["suites"][0]
    gates = {gate["metric"]: gate for gate in suite["gates"]}  # the last of each: the tolerance
    return [
        {
            **pair,
            "files": [pair["base"], pair["tuned"]],
            **{key: gate[key] for key in ("metric", "base", "tuned", "delta", "low", "high", "n")},
            "names": (pair["base"].partition("-beside")[0], pair["tuned"]),
            "rate": bool(gate.get("rate")),
            "margin": gate["margin"],
            "needed": gate.get("needed_n"),
            "verdict": verdict["verdict"].replace("_", " "),
            "sentence": verdict["sentence"],
            "lost": lost.groups() if lost else (),
            "better": counts.get(metric, counts.get("score", ()))[0],
            "worse": counts.get(metric, counts.get("score", ()))[1],
        }
        for metric, gate in gates.items()
    ]


def run(*words: str) -> tuple[int, str]:
    """Run a command of tunegate in this process; return its exit code and what it printed."""
    sys.argv = ["tunegate", *words]
    code = 0
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(Path("said.txt").open("w", encoding="utf-8"))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(out))
        try:
            run_command()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return code, Path("said.txt").read_text(encoding="utf-8")


def shown(row: Row, value: float, *, sign: bool = False) -> str:
    """Return a score in percent, or as the judge gave it."""
    number, digits = (100 * value, 1) if row["rate"] else (value, 2)
    return f"{number:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def caveat_of(row: Row, index: Row) -> str:
    """Return the pair's own caveat, and what the index says about length and missing answers."""
    base, tuned = (index[f"scores/{row['task']}/{pair}.csv"] for pair in row["files"])
    found = [row["caveat"]] if "caveat" in row else []
    if base.get("mean_characters"):
        longer = tuned["mean_characters"] / base["mean_characters"] - 1
        if abs(longer) > 0.25:
            found.append(f"answers {abs(longer):.0%} {'longer' if longer > 0 else 'shorter'}")
    if row["lost"] and row["verdict"] == "SHIP":
        found.append("{} {} points on {} of the cases".format(*row["lost"]))
    if "without_answer" in base:
        missing = [one["without_answer"] / one["cases"] for one in (base, tuned)]
        if abs(missing[1] - missing[0]) > 0.01:
            found.append("no answer found in {:.1%} → {:.1%}".format(*missing))
    return "; ".join(found)


def table_of(rows: list[Row], index: Row) -> str:
    """Return the page's table."""
    lines = [
        "| base → tuned | task | n | base | tuned | difference, 90 % | verdict | better / worse "
        "| published; ours on all | caveat |",
        "|---|---|--:|--:|--:|---|---|--:|---|---|",
    ]
    for row in rows:
        both = [index[f"scores/{row['task']}/{name}.csv"] for name in row["files"]]
        public = " → ".join(str(one) for one in row.get("published", ())) or "–"
        if row["task"] == "mmlu_pro":
            public += "; " + " → ".join(f"{100 * one['mean_score']:.1f}" for one in both)
        interval = f"{shown(row, row['low'], sign=True)} to {shown(row, row['high'], sign=True)}"
        metric = "" if row["metric"] in ("right", "quality") else f": {row['metric']}"
        lines.append(
            f"| {' → '.join(row['names'])} | {row['task']}{metric} | {row['n']:,} "
            f"| {shown(row, row['base'])} | {shown(row, row['tuned'])} "
            f"| {shown(row, row['delta'], sign=True)} ({interval}) | **{row['verdict']}** "
            f"| {row['better']} / {row['worse']} | {public} | {caveat_of(row, index)} |"
        )
    return "\n".join(lines)


def picture_of(rows: list[Row]) -> str:
    """Return the forest plot as SVG: points of a hundred, right is better for tuned."""
    rows = [row for row in rows if row["metric"] != "no_loop"]
    left, right, step, low, high = 330, 900, 24, -26, 30

    def x(points: float) -> float:
        return left + (points - low) * (right - left) / (high - low)

    bottom = 40 + step * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1010 {bottom + 30}" '
        'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{x(0)}" y="18" text-anchor="middle">tuned − base, points of a hundred</text>',
    ]
    for tick in range(-20, 31, 10):
        style = "#000" if tick == 0 else "#ddd"
        parts.append(f'<path d="M{x(tick):.1f} 28V{bottom}" stroke="{style}"/>')
        label = f"{tick:+d}".replace("-", "−") if tick else "0"
        parts.append(
            f'<text x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{label}</text>'
        )
    for number, row in enumerate(rows):
        y = 44 + step * number
        scale = 100 if row["rate"] else 10
        a, b, c = (x(scale * row[key]) for key in ("low", "delta", "high"))
        color = COLORS.get(row["verdict"], "#777")
        margin, name = x(-scale * row["margin"]), f"{row['names'][1]}, {row['task']}"
        parts += [
            f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{name}</text>',
            f'<path d="M{margin:.1f} {y - 8}v16" stroke="#888" stroke-dasharray="3 2"/>',
            f'<path d="M{a:.1f} {y}H{c:.1f}" stroke="{color}" stroke-width="3"/>',
            f'<circle cx="{b:.1f}" cy="{y}" r="4.5" fill="{color}"/>',
            f'<text x="{right + 8}" y="{y + 4}" fill="{color}">{row["verdict"]}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def main(docs: Path) -> None:
    """Judge all pairs; write the page, its picture and what both were made from."""
    index = json.loads((HERE / "index.json").read_text(encoding="utf-8"))
    rows = judge_all()
    (docs / "images").mkdir(exist_ok=True)
    (docs / "images" / "evidence.svg").write_text(picture_of(rows), encoding="utf-8")
    page = (HERE / "page.md").read_text(encoding="utf-8")
    text = page.replace("{table}", table_of(rows, index))
    (docs / "evidence.md").write_text(text, encoding="utf-8")
    (docs / "verdicts.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE.parent / "docs")
