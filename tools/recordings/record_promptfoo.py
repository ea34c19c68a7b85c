"""Records what promptfoo writes with `eval -o`, into `tests/results/recorded/promptfoo/`.

    python tools/recordings/record_promptfoo.py path/to/promptfoo

Needs node and promptfoo (0.123.1 wrote the files), given as the path of its command. The providers
are functions without a network; asking, grading, repeating and writing is promptfoo's. One
question's call fails, one assertion's grader fails, and each question is asked twice.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

RECORDED = Path(__file__).parents[2] / "tests/results/recorded/promptfoo"
MODEL = """
const ANSWERS = {
  base: { "2 + 2": "4", "3 + 5": "9", "6 + 3": "9", "France": "Paris", "out of order": null },
  tuned: { "2 + 2": "4", "3 + 5": "8", "6 + 3": "7", "France": "Paris", "out of order": null },
};
module.exports = class {
  constructor(options) { this.label = options.label; this.config = options.config || {}; }
  id() { return `offline:${this.config.arm}`; }
  async callApi(prompt) {
    const known = ANSWERS[this.config.arm];
    const output = known[Object.keys(known).find((one) => prompt.includes(one))];
    if (output === null) return { error: "connection refused" };
    return { output, tokenUsage: { prompt: 7, completion: 1, total: 8 } };
  }
};
"""
GRADER = """
module.exports = class {
  id() { return "offline:grader"; }
  async callApi(prompt) {
    if (prompt.includes("Paris")) return { error: "grader is out of order" };
    return { output: JSON.stringify({ pass: true, score: 0.5, reason: "fine" }) };
  }
};
"""
CONFIG = {
    "prompts": ["Answer in one word: {{question}}?"],
    "providers": [
        {"id": "file://model.cjs", "label": arm, "config": {"arm": arm}}
        for arm in ("base", "tuned")
    ],
    "defaultTest": {
        "options": {"provider": "file://grader.cjs"},
        "assert": [
            {"type": "javascript", "value": "output === context.vars.answer", "metric": "exact"},
            {"type": "llm-rubric", "value": "is short", "metric": "rubric"},
        ],
    },
    "tests": [
        {"vars": {"question": asked, "answer": right}, "metadata": {"question_id": f"q{number}"}}
        for number, (asked, right) in enumerate(
            [("2 + 2", "4"), ("3 + 5", "8"), ("6 + 3", "9"), ("Capital of France", "Paris"),
             ("Is it out of order", "no")], start=1)
    ],
}  # fmt: skip


def main() -> None:
    """Run promptfoo once and keep both forms of its results."""
    command = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.cjs").write_text(MODEL)
        (folder / "grader.cjs").write_text(GRADER)
        (folder / "promptfooconfig.json").write_text(json.dumps(CONFIG))
        switches = {
            f"PROMPTFOO_DISABLE_{what}": "1"
            for what in ("TELEMETRY", "UPDATE", "REMOTE_GENERATION")
        }
        subprocess.run(
            [str(command), "eval", "-c", "promptfooconfig.json", "--repeat", "2", "--no-cache",
             "--no-progress-bar", "--no-table", "-o", "results.json", "results.jsonl"],
            cwd=folder, check=False,
            env={**os.environ, **switches, "PROMPTFOO_CONFIG_DIR": str(folder / ".promptfoo")},
        )  # fmt: skip
        shutil.rmtree(RECORDED, ignore_errors=True)
        RECORDED.mkdir(parents=True)
        for form in ("results.json", "results.jsonl"):
            text = (folder / form).read_text(encoding="utf-8")
            stack = re.compile(r"(\\n    at [^\"]*?)(?=\")")
            (RECORDED / form).write_text(stack.sub("", text), encoding="utf-8")


if __name__ == "__main__":
    main()
