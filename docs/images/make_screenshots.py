"""The screenshots of reports in README and docs: `python docs/images/make_screenshots.py`.

The runs are those of docs/evidence.md: published answers, judged again as `evidence/gate_all.py`
does. Only the judge and what it judges are scripted, which says nothing of any model.
Chromium and Playwright are needed; the same scores and scripts give the same pictures.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
JUDGED = ROOT / "trainers" / "demo" / "judge"
EVIDENCE = {
    "athene": ("gsm", "Llama-3-70B-Instruct", "Athene-70B", "BLOCK"),
    "undecided": ("mmlu_pro", "Mistral-7B-v0.2", "Mistral-7B-Instruct-v0.2", "UNDECIDED"),
}
"""Picture → task of evidence/, base, tuned, and the verdict that it shows."""
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
DESK, JUDGE, PHONE, COMMENT = (1280, 790), (1280, 880), (390, 844), (880, 410)
"""Width and height of a window."""
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2328; background: #f6f8fa; padding: 16px }
main { background: #fff; border: 1px solid #d1d9e0; border-radius: 6px }
header { background: #f6f8fa; border-bottom: 1px solid #d1d9e0; padding: 8px 16px; font-size: 14px }
article { padding: 0 16px 8px }
pre { background: #f6f8fa; padding: 16px; font-size: 13px; overflow-x: auto }
"""
"""A comment as a code host shows it."""


def main() -> int:
    """Make the pictures; return 1 if a verdict is not the one that its picture shows."""
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        for name, (task, base, tuned, meant) in EVIDENCE.items():
            run = _gate_published(Path(place) / name, task, base, tuned)
            _draw(run / "report.html", DESK, f"evidence-{name}")
            if name == "athene":
                _draw(run / "report.html", PHONE, "phone-athene")
                _draw(_comment_page(run / "comment.md"), COMMENT, "comment-athene")
            verdict = json.loads((run / "verdict.json").read_text(encoding="utf-8"))
            sys.stdout.write(f"{name}: {verdict['verdict']}: {verdict['sentence']}\n")
            wrong |= verdict["verdict"] != meant
        page = _judged(Path(place) / "judge-refused")
        _draw(page, JUDGE, "report-judge-refused", place="#judge-health")
    return int(wrong)


def _gate_published(folder: Path, task: str, base: str, tuned: str) -> Path:
    """Judge a pair of evidence/ in a folder of its own; return the run's folder."""
    for part in ("suites", "scores"):
        shutil.copytree(ROOT / "evidence" / part / task, folder / part / task)
    arms = (f"results:scores/{task}/{name}.csv" for name in (base, tuned))
    options = zip(("--base", "--tuned"), arms, strict=True)
    words = [word for option in options for word in option]
    said = _tunegate(folder, "gate", f"suites/{task}", *words, "--run-dir", "run")
    if not (folder / "run" / "report.html").is_file():
        raise SystemExit(said)
    return folder / "run"


def _comment_page(comment: Path) -> Path:
    """Write a page with the comment as a pull request shows it."""
    from markdown import markdown

    text = markdown(comment.read_text(encoding="utf-8"), extensions=["fenced_code"])
    page = comment.with_suffix(".html")
    page.write_text(
        f"<!doctype html><meta charset='utf-8'><style>{STYLE}</style><main>"
        f"<header><b>github-actions</b> commented</header><article>{text}</article></main>",
        encoding="utf-8",
    )
    return page


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


def _draw(page: Path, size: tuple[int, int], name: str, place: str = "") -> None:
    """Write the picture `name` of the page's place in a window of this size."""
    from playwright.sync_api import sync_playwright

    path, (width, height) = Path(__file__).with_name(f"{name}.png"), size
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        window = browser.new_page(viewport={"width": width, "height": height})
        window.goto(page.as_uri() + place)
        window.wait_for_timeout(300)
        window.screenshot(path=str(path))
        browser.close()
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path}: {path.stat().st_size} bytes, at most {LARGEST}: a lower window")


if __name__ == "__main__":
    raise SystemExit(main())
