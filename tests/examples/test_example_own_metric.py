"""Measure what matters to you: a metric of your own is a function in a file of your own.

`use = "politeness:polite"` names the function `polite` of the module `politeness`, which lies where
the run is started. A plain function that returns a number is enough; with `@metric(binary=True)`
the statistics know that only 0 and 1 occur and use the exact tests for proportions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

METRICS = '''\
"""How polite is an answer?"""

from tunegate import Case, Completion, Score
from tunegate.harness.contracts.metric import metric


@metric(binary=True)
def polite(case: Case, completion: Completion, *, word: str = "please") -> Score:
    """Return 1 if the answer has the magic word."""
    found = word in (completion.text or "").lower()
    return Score.of(float(found), reason=None if found else f"no {word!r}")


def words(case, completion):
    """Return the number of words: a plain function works too."""
    return len(completion.text.split())
'''
SUITE = """\
name = "tone"
cases = "cases.jsonl"

[[metrics]]
use = "politeness:polite"
word = "thank you"
[[metrics]]
use = "politeness:words"
range = [0, 20]

[[gates]]
metric = "polite"
gain = 0.1
[[gates]]
metric = "words"
tolerance = 2
"""


def test_a_project_brings_its_own_metrics(project: Any) -> None:
    Path("politeness.py").write_text(METRICS, encoding="utf-8")
    project.raw_suite(SUITE, [{"id": f"c{i:03}", "prompt": f"q{i}"} for i in range(80)], "tone")
    rude = {f"c{i:03}": "no way" if i % 4 else "well now" for i in range(80)}
    kind = {f"c{i:03}": "Thank you so" if i % 4 else "well now" for i in range(80)}
    base = project.model("base", 0, completions=rude)
    tuned = project.model("tuned", 0, completions=kind)

    result = project.tunegate(
        "gate", "suites", "--base", base, "--tuned", tuned, "--run-dir", "run"
    )

    assert result.ret == 0
    result.stdout.fnmatch_lines(["SHIP: tone: polite rose 0 → 75.0 %*"])
    gates = project.verdict()["suites"][0]["gates"]
    assert [(g["metric"], g["status"]) for g in gates] == [("polite", "pass"), ("words", "pass")]
    assert "no 'thank you'" in (project.run / "scores.jsonl").read_text(encoding="utf-8")
