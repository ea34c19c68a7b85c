"""The runs of the guides on comparing and on history, and their screenshots.

`python docs/images/make_comparisons.py` makes both pictures. Two suites of 300 cases, a base and
four fine-tunes that gain and forget at random, as `CANDIDATES` says: the answers are
scripted, so the numbers say nothing about any model. The days of the history are made up; the rest
of the pages is real. It needs Chromium and Playwright; the same script gives the same pictures.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = 300
GATES = {"tickets": "gain = 0.1\nfloor = 0.4\nexpected_gain = 0.25", "kept": "tolerance = 0.08"}
SUITE = """\
name = "{name}"
cases = "cases.jsonl"

[[metrics]]
use = "exact_match"

[[gates]]
metric = "exact_match"
{gates}
"""
CANDIDATES = {
    "base": (0.0, 0.0, 0),
    "r4": (0.22, 0.02, 5),
    "r16": (0.5, 0.035, 6),
    "r64": (0.56, 0.13, 7),
    "r64-long": (0.52, 0.075, 8),
}
"""Name → chance to solve a ticket that base does not, to lose what base had kept, and the seed."""
DAYS = {
    "0301-r4": "r4",
    "0308-r64": "r64",
    "0315-r16": "r16",
    "0322-r64-long": "r64-long",
    "0329-r16b": "r16",
}
"""Run of the history → the run that it is a copy of."""
SHIPPED = "0322-r64-long"
TUNEGATE = str(Path(sys.executable).with_name("tunegate"))


def write_project(folder: Path) -> None:
    """Write the suites, and a script for base and each candidate."""
    for name, gates in GATES.items():
        place = folder / "suites" / name
        place.mkdir(parents=True)
        (place / "suite.toml").write_text(SUITE.format(name=name, gates=gates), encoding="utf-8")
        cases = (
            {"id": f"{name[0]}{i:03}", "prompt": f"{name} question {i}", "expected": "yes"}
            for i in range(CASES)
        )
        text = "".join(json.dumps(case) + "\n" for case in cases)
        (place / "cases.jsonl").write_text(text, encoding="utf-8")
    for name, (gain, loss, seed) in CANDIDATES.items():
        script = {"completions": _answers(gain, loss, seed)}
        (folder / f"{name}.json").write_text(json.dumps(script), encoding="utf-8")


def _answers(gain: float, loss: float, seed: int) -> dict[str, str]:
    luck, ability = random.Random(seed), random.Random(1)
    answers = {}
    for suite in GATES:
        for i in range(CASES):
            drawn, chance = ability.random(), luck.random()
            right = drawn < (0.35 if suite == "tickets" else 0.8)
            lost, found = (0.03, gain) if suite == "tickets" else (loss, 0.08)
            right = chance >= lost if right else chance < found
            answers[f"{suite[0]}{i:03}"] = "yes" if right else "no"
    return answers


def gate(folder: Path) -> None:
    """Judge each candidate; its run is `.tunegate/runs/<name>`."""
    for name in list(CANDIDATES)[1:]:
        words = ["--base", "scripted:base.json", "--tuned", f"scripted:{name}.json"]
        tunegate(
            folder,
            "gate",
            "suites",
            *words,
            "--run-dir",
            f".tunegate/runs/{name}",
            "--early-stop",
            "off",
        )


def write_history(folder: Path, source: Path) -> None:
    """Write the history's runs: copies of those of `source`, under other names and days."""
    for number, (name, copied) in enumerate(DAYS.items()):
        place = folder / ".tunegate" / "runs" / name
        shutil.copytree(source / ".tunegate" / "runs" / copied, place)
        for file in ("manifest.json", "verdict.json"):
            record = json.loads((place / file).read_text(encoding="utf-8")) | {"run_id": name}
            if file == "manifest.json":
                record["created"] = f"2026-03-{1 + 7 * number:02}T09:00:00+00:00"
            (place / file).write_text(json.dumps(record), encoding="utf-8")
    (folder / ".tunegate" / "runs" / "notes").mkdir()
    tunegate(folder, "promote", f".tunegate/runs/{SHIPPED}")


def tunegate(folder: Path, *words: str) -> str:
    """Run a command in a folder; return what it prints, whatever its verdict."""
    done = subprocess.run(
        [TUNEGATE, *words], cwd=folder, capture_output=True, text=True, check=False, env=os.environ
    )
    if done.returncode not in (0, 1, 10, 11):
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


def compare(folder: Path) -> str:
    """Compare the candidates; return what is printed."""
    return tunegate(folder, "compare", *(f".tunegate/runs/{n}" for n in list(CANDIDATES)[1:]))


def main() -> None:
    """Make both pictures."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        project, past = Path(first), Path(second)
        write_project(project)
        gate(project)
        sys.stdout.write(compare(project))
        write_history(past, project)
        sys.stdout.write(tunegate(past, "history"))
        pages = {
            "compare": (project / ".tunegate/compare/compare.html", 1060, 1010),
            "history": (past / ".tunegate/history.html", 1000, 880),
        }
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            for name, (path, width, height) in pages.items():
                page = browser.new_page(viewport={"width": width, "height": height})
                page.goto(path.as_uri())
                page.screenshot(path=Path(__file__).with_name(f"{name}.png"))
            browser.close()


if __name__ == "__main__":
    main()
