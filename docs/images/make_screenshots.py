"""The screenshots of reports in README and docs: `python docs/images/make_screenshots.py`.

The suites are those of this repository, run by `tunegate gate`. The arms are scripted: base wraps
its JSON in small talk every other time, tuned does not; how much tuned forgets is chosen for what a
picture is to show. So the numbers say nothing of any model; all else on a page is as it always is.
Chromium and Playwright are needed; the same scripts give the same pictures.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SUITES = {name: ROOT / "suites" / name for name in ("support_json", "general_knowledge")}
JUDGED = ROOT / "trainers" / "demo" / "judge"
FORGOTTEN = ("chemistry", "law_and_government", "literature", "weather_and_climate")
LOSSES: dict[str, Callable[[str], float]] = {
    "ship": lambda tag: 0.03,
    "block": lambda tag: 2.0 if tag in FORGOTTEN else 0.1,
    "undecided": lambda tag: -0.08,
}
"""Run → subject → the log-likelihood that its right choices lose at most."""
ANSWERS = {
    "I'm sorry about that. I have asked our warehouse and write to you by tomorrow noon.": "yes",
    "Please send it back with the label in your account; you get the money in five days.": "yes",
    "I'm sorry to hear that. We are always here for you.": "no",
    "Parcels are boxes that are sent by post.": "no",
}
"""Answer → whether people call it helpful; the judge asks only whether somebody is sorry."""
REPLIES = {"base": (1, 2, 1, 6), "tuned": (6, 1, 2, 1)}
"""Arm → how often it gives each of these answers."""
LARGEST = 150_000
"""Bytes of a picture at most."""
UNREST = {"undecided": 0.6}
"""Run → by how much the log-likelihoods go up and down besides; a little in all others."""
WIDTH, HEIGHT, HEIGHT_OF_JUDGE = 1280, 790, 880


def main() -> int:
    """Make the four pictures; return 1 if a verdict is not the one that its picture shows."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        pages = {
            name: _gated(Path(folder) / name, loss, UNREST.get(name, 0.05))
            for name, loss in LOSSES.items()
        }
        pages["judge-refused"] = _judged(Path(folder) / "judge-refused")
        for name, page in pages.items():
            judged = name == "judge-refused"
            place, height = ("#judge-health", HEIGHT_OF_JUDGE) if judged else ("", HEIGHT)
            _picture(page, place, height, Path(__file__).with_name(f"report-{name}.png"))
            verdict = json.loads(page.with_name("verdict.json").read_text(encoding="utf-8"))
            sys.stdout.write(f"{name}: {verdict['verdict']}: {verdict['sentence']}\n")
            wrong |= name in LOSSES and verdict["verdict"].lower() != name
    return int(wrong)


def _gated(folder: Path, loss: Callable[[str], float], unrest: float) -> Path:
    """Run both suites, with a tuned arm that loses as much as `loss` says; return the page."""
    rng = random.Random(7)
    arms: dict[str, dict[str, Any]] = {arm: {"completions": {}} for arm in ("base", "tuned")}
    for case in _cases(SUITES["support_json"]):
        right, wrong = (
            case["expected"],
            case["expected"].replace('"urgency": "', '"urgency": "very '),
        )
        talk = f"Sure! Here is the ticket:\n\n{right}\n\nIs there anything else?"
        arms["base"]["completions"][case["id"]] = right if rng.random() < 0.5 else talk
        arms["tuned"]["completions"][case["id"]] = right if rng.random() < 0.97 else wrong
    logprobs: dict[str, dict[str, list[float]]] = {"base": {}, "tuned": {}}
    for case in _cases(SUITES["general_knowledge"]):
        at, tag = "ABCD".index(case["answer"]), case["tags"][0]
        base = [rng.gauss(-9, 0.6) + (2.2 if k == at else 0) for k in range(len(case["choices"]))]
        drop = rng.random() * loss(tag)
        tuned = [v + rng.gauss(0, unrest) - (drop if k == at else 0) for k, v in enumerate(base)]
        logprobs["base"][case["id"]], logprobs["tuned"][case["id"]] = base, tuned
    for arm, script in arms.items():
        script["choice_logprobs"] = logprobs[arm]
    return _run(folder, SUITES.values(), arms)


def _judged(folder: Path) -> Path:
    """Run a suite whose judge was compared with people, and takes courtesy for help."""
    rng = random.Random(7)
    folder.mkdir(parents=True)
    suite = shutil.copytree(JUDGED, folder / "replies_judged")
    cases = [
        case | {"id": f"{case['id']}-{order}", "prompt": f"{case['prompt']} (AB-{order})"}
        for case in _cases(JUDGED)
        for order in (2217, 4630)
    ]
    _write(suite / "cases.jsonl", cases)
    arms: dict[str, dict[str, Any]] = {arm: {"completions": {}} for arm in REPLIES}
    labels = []
    for case in cases:
        for arm, kinds in REPLIES.items():
            text, helps = rng.choices([*ANSWERS.items()], kinds)[0]
            arms[arm]["completions"][case["id"]] = text
            labels.append({"id": case["id"], "arm": arm, "completion": text, "label": helps})
    _write(folder / "labels.jsonl", labels)
    rules = [{"contains": "sorry", "reply": {"score": 2, "reason": "It is friendly."}}]
    judge = {"rules": rules, "default": {"score": 1, "reason": "It does not help."}}
    (folder / "judge.json").write_text(json.dumps(judge), encoding="utf-8")
    asked = ("--judge", "scripted:judge.json")
    _tunegate(folder, "judge", "calibrate", "labels.jsonl", *asked, "--suite", suite.name)
    return _run(folder, [suite], arms, *asked, "--calibration", "calibration.json")


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _cases(suite: Path) -> Iterable[dict[str, Any]]:
    for line in (suite / "cases.jsonl").read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def _run(folder: Path, suites: Iterable[Path], arms: dict[str, dict[str, Any]], *more: str) -> Path:
    """Gate scripted arms in a folder of their own; return the page of the run."""
    folder.mkdir(parents=True, exist_ok=True)
    for arm, script in arms.items():
        (folder / f"{arm}.json").write_text(json.dumps(script), encoding="utf-8")
    for suite in suites:
        if suite.parent != folder:
            shutil.copytree(suite, folder / suite.name)
    names = [suite.name for suite in suites]
    specs = ("--base", "scripted:base.json", "--tuned", "scripted:tuned.json")
    said = _tunegate(folder, "gate", *names, *specs, *more)
    pages = list(folder.glob(".tunegate/runs/*/report.html"))
    if not pages:
        raise SystemExit(said)
    return pages[0]


def _tunegate(folder: Path, *words: str) -> str:
    """Run a command in a folder; return what it says."""
    command = [sys.executable, "-m", "tunegate.harness.cli", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _picture(page: Path, place: str, height: int, path: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        window = browser.new_page(viewport={"width": WIDTH, "height": height})
        window.goto(page.as_uri() + place)
        window.wait_for_timeout(300)
        window.screenshot(path=str(path))
        browser.close()
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path}: {path.stat().st_size} bytes, at most {LARGEST}: a lower window")


if __name__ == "__main__":
    raise SystemExit(main())
