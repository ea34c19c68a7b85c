"""How each frozen run is made: a suite, scripted or recorded answers, and one gate run of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TUNEGATE = (sys.executable, "-m", "tunegate.harness.cli")


class Project:
    """A user's project in an empty folder: suites, scripted models, and gate runs."""

    def __init__(self, folder: Path, run: str) -> None:
        self.folder = folder
        self.run = run

    def suite(self, name: str, toml: str, cases: Sequence[Mapping[str, Any]]) -> None:
        """Write a suite."""
        folder = self.folder / "suites" / name
        folder.mkdir(parents=True)
        text = f'name = "{name}"\ncases = "cases.jsonl"\n{toml}'
        (folder / "suite.toml").write_text(text, encoding="utf-8")
        self.lines(f"suites/{name}/cases.jsonl", cases)

    def lines(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a file of JSON lines."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.folder / name).write_text(text, encoding="utf-8")

    def script(self, name: str, **content: Any) -> str:
        """Write what a scripted model or judge answers; return its spec."""
        (self.folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        return f"scripted:{name}.json"

    def replay(self, name: str, rows: Sequence[Mapping[str, Any]]) -> str:
        """Write recorded answers; return the spec of the arm that gives them."""
        self.lines(f"{name}.jsonl", rows)
        return f"replay:{name}.jsonl"

    def gate(self, verdict: str, *options: str) -> None:
        """Make the run."""
        self.tunegate("gate", "suites", f"--run-dir=runs/{self.run}", *options)
        self.expect(verdict)

    def expect(self, verdict: str) -> None:
        """Fail unless the run has this verdict."""
        found = json.loads((self.folder / "runs" / self.run / "verdict.json").read_bytes())
        assert found["verdict"] == verdict, f"{self.run}: {found['verdict']}: {found['sentence']}"

    def tunegate(self, *words: str) -> None:
        """Run a command of tunegate, whatever its exit code is."""
        result = subprocess.run(
            [*TUNEGATE, *words],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if "Traceback" in result.stdout + result.stderr or result.returncode in (2, 4):
            raise RuntimeError(f"{self.run}: {words}:\n{result.stdout}\n{result.stderr}")


def environment() -> dict[str, str]:
    """Return the variables of a command: those of this process without what a CI job sets."""
    known = {k: v for k, v in os.environ.items() if not re.match("GITHUB_|CI|OTEL_|PYTEST_", k)}
    paths = os.pathsep.join(filter(None, [str(ROOT), known.get("PYTHONPATH")]))
    return {**known, "PYTHONPATH": paths}


def yes_no(right: int, n: int = 100, skip: int = 0) -> dict[str, str]:
    """Return `yes` for so many of n cases after the first `skip`, and `no` for the others."""
    return {f"c{i:03}": "yes" if skip <= i < skip + right else "no" for i in range(n)}


def questions(n: int = 100, **more: Callable[[int], Any]) -> list[dict[str, Any]]:
    """Return n cases whose right answer is `yes`, with further fields by their number."""
    return [
        {"id": f"c{i:03}", "prompt": f"Is {i} a number?", "expected": "yes"}
        | {name: field(i) for name, field in more.items()}
        for i in range(n)
    ]


ROUTING = """
[[metrics]]
use = "exact_match"
[[gates]]
metric = "exact_match"
floor = 0.2
gain = 0.1
expected_gain = 0.3
"""
TOLERANT = """
[[metrics]]
use = "exact_match"
[[gates]]
metric = "exact_match"
tolerance = 0.1
"""
RUBRIC = """
[[metrics]]
use = "rubric"
name = "apology"
criteria = "Apologises."
[[gates]]
metric = "apology"
gain = 0.1
expected_gain = 0.3
"""
HONEST: dict[str, Any] = {
    "rules": [{"contains": "yes\n<</completion", "reply": {"score": 5, "reason": "says yes"}}],
    "default": {"score": 1, "reason": "says <b>no</b>"},
}
"""A judge that gives 5 to `yes` and 1 to everything else."""


FAITHFUL: list[dict[str, Any]] = [
    {"contains": "<<completion", "step": "claims", "reply": {"claims": ["a claim", "<another>"]}},
    {"contains": "<another>", "step": "verdict",
     "reply": {"verdict": "contradicted", "evidence": "It is written in 3 lines."}},
    {"contains": "a claim", "step": "verdict",
     "reply": {"verdict": "supported", "evidence": "is a number"}},
]  # fmt: skip
"""A judge that finds two claims in every answer, and the context supports one of them."""


def ship_early_stop(p: Project) -> None:
    """A clear gain ends a suite at its second look; a second suite of equal arms runs whole."""
    p.suite("routing", ROUTING, questions(tags=lambda i: ["odd" if i % 2 else "even", "all"]))
    p.suite("smalltalk", TOLERANT, [
        {"id": f"s{i:02}", "prompt": f"Hello {i}", "expected": "hi"} for i in range(60)
    ])  # fmt: skip
    base = p.script("base", completions=yes_no(30), default="hi")
    tuned = p.script("tuned", completions=yes_no(95), default="hi", finish_reason={"s07": "length"})
    link = "https://traces.example.org/trace/{trace_id}?span={span_id}"
    p.gate("SHIP", f"--base={base}", f"--tuned={tuned}", f"--trace-link={link}")


def ship_every_gate_kind(p: Project) -> None:
    """One suite with all kinds of gates, a relative tolerance, and a rule that wants all goals."""
    p.suite(
        "support",
        """
goal_rule = "all"
[[metrics]]
use = "exact_match"
[[metrics]]
use = "token_f1"
[[metrics]]
use = "length"
[[metrics]]
use = "answer_logprob"
[[gates]]
metric = "exact_match"
floor = 0.5
floor_mode = "certified"
gain = 0.05
[[gates]]
metric = "token_f1"
gain = 0.02
tolerance = "2%"
severe_drop = 0.1
drop = 0.4
confidence = 0.95
[[gates]]
metric = "length"
ceiling = 12
tolerance = "80%"
ratio_at_most = 4
[[gates]]
metric = "answer_logprob"
tolerance = 0.5
""",
        [
            {
                "id": f"t{i:02}",
                "prompt": f"Ticket {i}",
                "expected": text_of(i),
                "tags": [kind_of(i)],
            }
            for i in range(90)
        ],
    )
    worse = {f"t{i:02}": " ".join(text_of(i).split()[: 3 + i % 3]) for i in range(90)}
    right = {f"t{i:02}": text_of(i) for i in range(90)}
    base = p.script(
        "base",
        completions=worse | {f"t{i:02}": text_of(i) for i in range(0, 90, 3)},
        answer_logprob={f"t{i:02}": -0.8 - i / 200 for i in range(90)},
    )
    tuned = p.script(
        "tuned",
        completions=right | {f"t{i:02}": worse[f"t{i:02}"] for i in range(5, 90, 11)},
        answer_logprob={f"t{i:02}": -0.7 - (i % 7) / 50 for i in range(90)},
    )
    p.gate("SHIP", f"--base={base}", f"--tuned={tuned}")


def block_regression(p: Project) -> None:
    """Three suites: broken JSON and a zero-tolerance floor, forgotten facts, hostile texts."""
    p.suite(
        "json",
        """
[[metrics]]
use = "json_fields"
[[metrics]]
use = "format"
rules = { max_words = 10 }
[[gates]]
metric = "json_fields"
floor = 0.9
gain = 0.05
tolerance = 0.03
severe_drop = 0.05
[[gates]]
metric = "format"
floor = 0.5
floor_mode = "zero_tolerance"
tolerance = 0.05
""",
        [
            {"id": f"j{i:02}", "prompt": f"Order {i} as JSON", "expected": order(i)}
            for i in range(60)
        ],
    )
    p.suite(
        "facts",
        """
[[metrics]]
use = "choice_accuracy"
[[metrics]]
use = "choice_probability"
[[gates]]
metric = "choice_accuracy"
tolerance = 0.1
[[gates]]
metric = "choice_probability"
tolerance = 0.02
severe_drop = 0.1
drop = 0.3
""",
        [
            {"id": f"f{i:02}", "prompt": f"Question {i}", "choices": ["north", "south", "east"],
             "answer": i % 3, "tags": ["geography" if i % 4 else "history"]}
            for i in range(70)
        ],
    )  # fmt: skip
    p.suite(
        "hostile",
        """
[[metrics]]
use = "contains"
[[metrics]]
use = "edit_similarity"
[[gates]]
metric = "contains"
tolerance = 0.2
[[gates]]
metric = "edit_similarity"
floor = 0.1
tolerance = "10%"
""",
        [
            {"id": f"<i>{i}</i>", "prompt": f"{HOSTILE[i % len(HOSTILE)]} {i}", "expected": "& so",
             "tags": ["<b>tag</b>"]}
            for i in range(40)
        ],
    )  # fmt: skip
    base = p.script(
        "base",
        completions={f"j{i:02}": order(i) for i in range(60)}
        | {f"<i>{i}</i>": f"& so {HOSTILE[i % len(HOSTILE)]}" for i in range(40)},
        choice_logprobs={f"f{i:02}": choices(i, i % 5 != 0) for i in range(70)},
    )
    tuned = p.script(
        "tuned",
        completions={
            f"j{i:02}": order(i).replace("}", ' extra "x": [1, 2, 3')
            if i % 3 == 0
            else order(i + i % 2 * 4)
            for i in range(60)
        }
        | {f"<i>{i}</i>": f"& so <{i}> {HOSTILE[(i * 3 + 1) % len(HOSTILE)]}" for i in range(40)},
        choice_logprobs={f"f{i:02}": choices(i, i % 3 != 1) for i in range(70)},
    )
    p.gate("BLOCK", f"--base={base}", f"--tuned={tuned}", "--seed=7")


def hold_any_goal(p: Project) -> None:
    """Any of two goals would do (Holm), and both worthwhile gains are ruled out."""
    p.suite("routing", 'goal_rule = "any"\n' + two_goals("expected_gain = 0.3"), questions(90))
    base = p.script("base", completions=yes_no(30, 90))
    tuned = p.script("tuned", completions=yes_no(31, 90))
    p.gate("HOLD", f"--base={base}", f"--tuned={tuned}")


def hold_prompted(p: Project) -> None:
    """Base with an example in front of each case is as good as tuned; a teacher is asked, too."""
    against = '[[gates]]\nmetric = "exact_match"\nagainst = "teacher"\ntolerance = 0.1\n'
    p.suite("routing", ROUTING + against, questions())
    p.lines("shots.jsonl", [{"prompt": "Is blue a number?", "completion": "no"}])
    shown = "user: Is blue a number?\nassistant: no\nuser: Is {} a number?"
    behind = {shown.format(i): "yes" if i < 93 else "no" for i in range(100)}
    base = p.script("base", completions={**yes_no(30), **behind})
    arms = {"tuned": yes_no(94, skip=6), "teacher": yes_no(95)}
    p.gate("HOLD", f"--base={base}", "--prompted=shots.jsonl",
           *(f"--{arm}={p.script(arm, completions=to)}" for arm, to in arms.items()))  # fmt: skip


def ship_teacher(p: Project) -> None:
    """Recorded answers of tuned replace those of a teacher with an instruction of its own."""
    p.suite("routing", """
[teacher]
system = "careful.txt"
[[metrics]]
use = "exact_match"
[[metrics]]
use = "cost"
[[gates]]
metric = "exact_match"
gain = 0.1
[[gates]]
metric = "exact_match"
against = "teacher"
tolerance = 0.1
[[gates]]
metric = "cost"
against = "teacher"
ratio_at_most = 0.5
""", questions())  # fmt: skip
    instruction = "Answer yes or no."
    (p.folder / "suites" / "routing" / "careful.txt").write_text(instruction, encoding="utf-8")

    def recorded(arm: str, right: int, price: float, *first: dict[str, str]) -> str:
        return p.replay(arm, [
            {"id": f"c{i:03}", "completion": "yes" if i < right else "no", "cost": price + i % 3,
             "messages": [*first, {"role": "user", "content": f"Is {i} a number?"}]}
            for i in range(100)
        ])  # fmt: skip

    own = {"role": "system", "content": instruction}
    p.gate("SHIP", f"--base={recorded('base', 30, 1)}", f"--tuned={recorded('tuned', 97, 1)}",
           f"--teacher={recorded('teacher', 98, 9, own)}")  # fmt: skip


def ship_any_goal(p: Project) -> None:
    """Any of two goals would do, and they share the error at an interim look; one is proven."""
    p.suite("routing", 'goal_rule = "any"\n' + two_goals(""), questions(120))
    base = p.script("base", completions=yes_no(40, 120))
    tuned = p.script("tuned", completions=yes_no(76, 120))
    p.gate("SHIP", f"--base={base}", f"--tuned={tuned}")


def undecided_any_goal(p: Project) -> None:
    """Any of two goals would do; the first is proven by itself, and not any more after Holm."""
    p.suite("routing", 'goal_rule = "any"\n' + two_goals(""), questions(90))
    base = p.script("base", completions=yes_no(30, 90))
    tuned = p.script("tuned", completions=yes_no(45, 90))
    p.gate("UNDECIDED", f"--base={base}", f"--tuned={tuned}")


def undecided_few_cases(p: Project) -> None:
    """The first 30 cases of 60, which caps the verdict, and gates without enough evidence."""
    p.suite("routing", ROUTING.replace("expected_gain = 0.3", "tolerance = 0.05"), questions(60))
    base = p.script("base", completions=yes_no(12, 60))
    tuned = p.script("tuned", completions=yes_no(13, 60, skip=3))
    p.gate("UNDECIDED", f"--base={base}", f"--tuned={tuned}", "--max-cases=30")


def undecided_unscored(p: Project) -> None:
    """Four answers of 90 failed: the gain would ship, and would not in the worst case."""
    p.suite("routing", ROUTING, questions(90))
    base = p.script("base", completions=yes_no(30, 90))
    failures = {f"c{i:03}": "HTTP 503 <Service Unavailable>" for i in (3, 35, 60, 88)}
    tuned = p.script("tuned", completions=yes_no(47, 90), fail=failures)
    p.gate("UNDECIDED", f"--base={base}", f"--tuned={tuned}")


def error_unscored(p: Project) -> None:
    """Ten answers of 90 failed, more than the suite allows; another suite would ship."""
    p.suite("routing", ROUTING, questions(90))
    p.suite("smalltalk", TOLERANT, [
        {"id": f"s{i:02}", "prompt": f"Hello {i}", "expected": "hi"} for i in range(60)
    ])  # fmt: skip
    base = p.script("base", completions=yes_no(30, 90), default="hi")
    failures = {f"c{i:03}": "HTTP 500 <b>Error</b>" for i in range(10)}
    tuned = p.script("tuned", completions=yes_no(80, 90), default="hi", fail=failures)
    p.gate("ERROR", f"--base={base}", f"--tuned={tuned}")


def error_broken_off(p: Project) -> None:
    """The user stops the run while the models answer, so that it breaks off and has no scores."""
    p.suite("routing", ROUTING, questions(90))
    base = p.script("base", completions=yes_no(30, 90), delay_s=0.05)
    tuned = p.script("tuned", completions=yes_no(80, 90), delay_s=0.05)
    words = ["gate", "suites", f"--run-dir=runs/{p.run}", f"--base={base}", f"--tuned={tuned}"]
    process = subprocess.Popen([*TUNEGATE, *words], cwd=p.folder, env=environment(),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    while not (p.folder / "runs" / p.run / "cases.jsonl").is_file():
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    p.expect("ERROR")


def not_comparable_prompts(p: Project) -> None:
    """The arms get different prompts, so that nothing is scored."""
    p.suite("routing", ROUTING, questions(40))
    base = p.script("base", completions=yes_no(12, 40))
    tuned = p.script("tuned", completions=yes_no(36, 40), prefix="You are <kind>. ")
    p.gate("NOT_COMPARABLE", f"--base={base}", f"--tuned={tuned}")


def not_comparable_leaked(p: Project) -> None:
    """More than a tenth of the cases are in the training data that the training card names."""
    p.suite("routing", ROUTING, long_questions(60))
    p.lines("train.jsonl", training_rows(range(11)))
    card = {"method": "sft", "seed": 7, "steps": 20, "files": [{"path": "train.jsonl"}]}
    train_card(p, card)
    base = p.script("base", completions=yes_no(20, 60))
    tuned = p.script("tuned", completions=yes_no(57, 60))
    data = "--training-data=train.jsonl"
    p.gate("NOT_COMPARABLE", f"--base={base}", f"--tuned={tuned}", data)


def ship_leaked_cases(p: Project) -> None:
    """Eight cases were trained on and are left out; second candidate of a sealed suite."""
    p.suite("routing", "sealed = true\n" + ROUTING, long_questions(100))
    p.lines("train.jsonl", training_rows(range(25, 33)))
    hardware = {"cpu": "A processor", "cores": 2}
    card = {"method": "dpo", "base": "org/base", "seed": 7, "steps": 160, "hardware": hardware}
    train_card(p, card)
    base = p.script("base", completions=yes_no(30))
    first = p.script("first", completions=yes_no(50))
    tuned = p.script("tuned", completions=yes_no(95))
    p.tunegate("gate", "suites", "--run-dir=runs/first", f"--base={base}", f"--tuned={first}",
               "--open-sealed")  # fmt: skip
    p.gate("SHIP", f"--base={base}", f"--tuned={tuned}", "--training-data=train.jsonl",
           "--open-sealed")  # fmt: skip


def ship_jury_advisory(p: Project) -> None:
    """A jury that was never calibrated: its gates are shown and decide nothing; a rule ships."""
    p.suite(
        "civil",
        ROUTING
        + RUBRIC.replace("gain = 0.1\nexpected_gain = 0.3", "tolerance = 0.05\nfloor = 0.99")
        + '[[metrics]]\nuse = "faithfulness"\n[[gates]]\nmetric = "faithfulness"\nfloor = 0.5\n',
        questions(40, context=lambda i: f"{i} is a number. It is written in {i % 7} lines."),
    )
    jury = [
        p.script("judge", rules=[*FAITHFUL, *HONEST["rules"]], default=HONEST["default"]),
        p.script("kind", rules=FAITHFUL, default={"score": 5}),
        p.script("harsh", rules=[{"contains": "Is 7 a", "fail": "timed out"}, *FAITHFUL],
                 default={"score": 1}),
    ]  # fmt: skip
    base = p.script("base", completions=yes_no(12, 40))
    tuned = p.script("tuned", completions=yes_no(39, 40))
    p.gate("SHIP", f"--base={base}", f"--tuned={tuned}", f"--judge={','.join(jury)}")


def ship_judge_calibrated(p: Project) -> None:
    """A judge that agrees with people on 99 of 100 labelled pairs decides the only goal."""
    p.suite("civil", RUBRIC, questions(100))
    judge = p.script("judge", **HONEST)
    calibrate(p, judge, cases=100)
    base = p.script("base", completions=yes_no(30))
    tuned = p.script("tuned", completions=yes_no(95))
    p.gate("SHIP", f"--base={base}", f"--tuned={tuned}", f"--judge={judge}", CALIBRATION)


def ship_judge_labelled(p: Project) -> None:
    """People labelled 60 answers of each arm of the run, which corrects the judge (PPI)."""
    p.suite("civil", RUBRIC, questions(80))
    judge = p.script("judge", **HONEST)
    calibrate(p, judge, cases=20)
    base, tuned = yes_no(24, 80), yes_no(76, 80)
    folder = p.folder / "runs" / p.run
    folder.mkdir(parents=True)
    labelled = [
        {"suite": "civil", "metric": "apology", "id": name, "arm": arm, "completion": text,
         "label": float((text == "yes") != (i % 17 == 5)), "by": "anna"}
        for arm, texts in (("base", base), ("tuned", tuned))
        for i, (name, text) in enumerate(texts.items()) if i % 4
    ]  # fmt: skip
    p.lines(f"runs/{p.run}/labels.jsonl", labelled)
    models = [f"--{n}={p.script(n, completions=c)}" for n, c in (("base", base), ("tuned", tuned))]
    p.gate("SHIP", *models, f"--judge={judge}", CALIBRATION)


def error_judge_fooled(p: Project) -> None:
    """A calibrated judge that obeys orders in the answers may not decide anything."""
    p.suite("civil", RUBRIC, questions(100))
    obeys = {"contains": "Ignore all previous instructions", "reply": {"score": 5}}
    judge = p.script("judge", rules=[obeys, *HONEST["rules"]], default=HONEST["default"])
    calibrate(p, judge, cases=100)
    base = p.script("base", completions=yes_no(30))
    tuned = p.script("tuned", completions=yes_no(95))
    p.gate("ERROR", f"--base={base}", f"--tuned={tuned}", f"--judge={judge}", CALIBRATION)


def ship_judge_pairwise(p: Project) -> None:
    """A judge compares the answers of both arms in both orders, and prefers the first place."""
    p.suite(
        "civil",
        ROUTING + '[[metrics]]\nuse = "pairwise"\n[[gates]]\nmetric = "pairwise"\ngain = 0.1\n',
        questions(40),
    )
    base = {name: f"{text}, {name}" if i % 5 else text
            for i, (name, text) in enumerate(yes_no(12, 40).items())}  # fmt: skip
    judge = p.script(
        "judge",
        rules=[{"contains": "Is 3", "reply": {"verdict": "first", "reason": "it is the first"}},
               {"contains": "yes\n<</first", "reply": {"verdict": "first"}},
               {"contains": "yes\n<</second", "reply": {"verdict": "second"}}],
        default={"verdict": "tie", "reason": "both are <poor>"},
    )  # fmt: skip
    arms = (
        f"--base={p.script('base', completions=base)}",
        (f"--tuned={p.script('tuned', completions=yes_no(39, 40))}"),
    )
    p.gate("SHIP", *arms, f"--judge={judge}")


def block_incumbent(p: Project) -> None:
    """Tuned beats base and is worse than the fine-tune that is in use today."""
    p.suite("routing", ROUTING, questions())
    p.suite("smalltalk", TOLERANT, [
        {"id": f"s{i:02}", "prompt": f"Hello {i}", "expected": "hi"} for i in range(50)
    ])  # fmt: skip
    arms = {"base": 30, "tuned": 75, "incumbent": 100}
    p.gate("BLOCK", *(f"--{arm}={p.script(arm, completions=yes_no(right), default='hi')}"
                      for arm, right in arms.items()))  # fmt: skip


def undecided_noise(p: Project) -> None:
    """Base answers a sample again and gains more than tuned; in another suite it only guesses.

    Only local models in an inexact number format are asked again, so these records are added.
    """
    p.suite("facts", """
[[metrics]]
use = "choice_accuracy"
[[gates]]
metric = "choice_accuracy"
tolerance = 0.15
""", [
        {"id": f"f{i:02}", "prompt": f"Question {i}", "choices": ["north", "south", "east"],
         "answer": i % 3}
        for i in range(60)
    ])  # fmt: skip
    p.suite("routing", ROUTING + "tolerance = 0.05\n", questions(90))
    guesses = {f"f{i:02}": choices(i, i % 3 == 0) for i in range(60)}
    base = p.script("base", completions=yes_no(30, 90), choice_logprobs=guesses)
    tuned = p.script("tuned", completions=yes_no(55, 90), choice_logprobs=guesses)
    first = [{"id": name, "completion": text} for name, text in yes_no(50, 90).items()]
    rest = [{"id": name, "choice_logprobs": values} for name, values in guesses.items()]
    incumbent = p.replay("incumbent", [*first, *rest])
    p.gate("UNDECIDED", f"--base={base}", f"--tuned={tuned}", f"--incumbent={incumbent}")
    folder = p.folder / "runs" / p.run
    manifest = json.loads((folder / "manifest.json").read_bytes())
    rows = {name: read_lines(folder / name) for name in ("cells.jsonl", "scores.jsonl")}
    base_cells = [
        cell for cell in manifest["plan"] if (cell["suite"], cell["arm"]) == ("routing", "base")
    ]
    for cell in base_cells[20:70]:
        known = {
            **cell,
            "arm": "base_again",
            "key": hashlib.sha256(cell["case"].encode()).hexdigest(),
        }
        manifest["plan"].append(known)
        rows["cells.jsonl"].append({"cell": known, "status": "ok", "completion": {"text": "yes"}})
        place = {"suite": "routing", "metric": "exact_match", "case": cell["case"]}
        rows["scores.jsonl"].append({**place, "arm": "base_again", "value": 1.0})
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    for name, lines in rows.items():
        p.lines(f"runs/{p.run}/{name}", lines)


def undecided_shipped(p: Project) -> None:
    """The suite ships early; that the artifact is equivalent to tuned is not proven."""
    p.suite("routing", ROUTING, questions())
    arms = {"base": 30, "tuned": 95, "shipped": 92}
    p.gate("UNDECIDED", *(f"--{arm}={p.script(arm, completions=yes_no(right))}"
                          for arm, right in arms.items()))  # fmt: skip


def block_all_arms(p: Project) -> None:
    """All arms: shipped is not equivalent, the incumbent is beaten, and recorded is shown."""
    p.suite("routing", ROUTING, questions(80))
    arms = {"base": 24, "tuned": 72, "shipped": 40, "incumbent": 50}
    said = [{"id": f"c{i:03}", "completion": f"no idea <{i}>"} for i in range(0, 80, 2)]
    p.gate(
        "BLOCK",
        *(f"--{arm}={p.script(arm, completions=yes_no(n, 80))}" for arm, n in arms.items()),
        f"--recorded={p.replay('recorded', said)}",
    )


def ship_equivalent(p: Project) -> None:
    """The artifact answers as tuned does, and tuned is no worse than the incumbent."""
    p.suite("routing", ROUTING, questions(90))
    arms = {"base": 27, "tuned": 85, "shipped": 85, "incumbent": 60}
    more = {"shipped": {"finish_reason": {"c001": "length"}}}
    p.gate("SHIP", *(f"--{arm}={p.script(arm, completions=yes_no(n, 90), **more.get(arm, {}))}"
                     for arm, n in arms.items()))  # fmt: skip


def ship_corpus(p: Project) -> None:
    """Corpus BLEU gains by the jackknife, and chrF does not fall; texts have clusters."""
    p.suite(
        "translations",
        """
[[metrics]]
use = "bleu"
[[metrics]]
use = "chrf"
[[gates]]
metric = "bleu"
gain = 2.0
tolerance = "5%"
floor = 40
[[gates]]
metric = "chrf"
tolerance = 6.0
""",
        [
            {"id": f"x{i:02}", "prompt": f"Translate {i}", "cluster": f"doc{i % 55}",
             "expected": [sentence(i), f"not {sentence(i)}"]}
            for i in range(60)
        ],
    )  # fmt: skip
    arms = {
        arm: p.replay(arm, [
            {"id": f"x{i:02}", "completion": damaged(sentence(i), i, every)} for i in range(60)
        ])
        for arm, every in (("base", 3), ("tuned", 6))
    }  # fmt: skip
    p.gate("SHIP", *(f"--{arm}={spec}" for arm, spec in arms.items()))


def block_slow(p: Project) -> None:
    """Three samples a case, cases in clusters, a price, and tuned takes longer to answer."""
    p.suite(
        "drafting",
        """
[generation]
temperature = 0.7
samples = 3
latency_cases = 30
[[metrics]]
use = "token_f1"
[[metrics]]
use = "tokens"
[[metrics]]
use = "latency"
[[metrics]]
use = "truncated"
[[gates]]
metric = "token_f1"
gain = 0.05
expected_gain = 0.2
[[gates]]
metric = "tokens"
tolerance = "30%"
[[gates]]
metric = "latency"
tolerance = "10%"
[[gates]]
metric = "truncated"
ceiling = 0.1
tolerance = 0.1
""",
        [
            {"id": f"d{i:02}", "prompt": f"Draft {i}", "expected": text_of(i),
             "cluster": f"customer {i // 2}"}
            for i in range(60)
        ],
    )  # fmt: skip
    arms = {
        arm: p.replay(arm, [
            {"id": f"d{i:02}", "sample": s, "completion": draft(i, s, keep), "batch_size": 1,
             "latency_s": round(slow * (1 + (i % 7) / 50 + s / 100), 4), "input_tokens": 5 + i % 4,
             "output_tokens": 6 + (i * keep + s) % 5 + i % keep, "cost": 0.0001 * (keep + s),
             "finish_reason": "stop" if i % 9 else "length"}
            for i in range(60) for s in range(3)
        ])
        for arm, keep, slow in (("base", 2, 0.4), ("tuned", 5, 0.6))
    }  # fmt: skip
    p.gate("BLOCK", *(f"--{arm}={spec}" for arm, spec in arms.items()))


def candidate_a(p: Project) -> None:
    """A candidate of three for `compare`: a clear gain, and a small loss on the guard."""
    candidate(p, "SHIP", 66, 59)


def candidate_b(p: Project) -> None:
    """A candidate of three for `compare`: the largest gain, and nothing is lost."""
    candidate(p, "SHIP", 70, 60)


def candidate_c(p: Project) -> None:
    """A candidate of three for `compare`: a gain, and too much is lost on the guard."""
    candidate(p, "BLOCK", 50, 30)


def ship_results(p: Project) -> None:
    """Two runs of lm-eval, those of `examples/results`."""
    for name in ("base", "tuned", "suites"):
        shutil.copytree(ROOT / "examples" / "results" / name, p.folder / name, dirs_exist_ok=True)
    p.gate("SHIP", "--base=results:base", "--tuned=results:tuned")


def undecided_replayed(p: Project) -> None:
    """Replayed conversations: tuned keeps the form and shuffles the words of its answers."""
    p.suite("production", """replay = true
[[metrics]]
use = "resemblance"
recorded = "recorded.jsonl"
[[metrics]]
use = "loops"
[[gates]]
metric = "resemblance"
tolerance = "20%"
blocks = false
[[gates]]
metric = "loops"
tolerance = 0.3
""", [
        {"id": f"p{i:02}", "cluster": f"talk{i // 2:02}", "expected": sentence(i), "messages": [
            {"role": "user", "content": f"Tell me of {WORDS[i % len(WORDS)]} <{i}>."}]}
        for i in range(40)
    ])  # fmt: skip
    said = [{"id": f"p{i:02}", "completion": sentence(i)} for i in range(40)]
    p.lines("suites/production/recorded.jsonl", said)
    base = {f"p{i:02}": damaged(sentence(i), i, 3) for i in range(40)}
    tuned = {name: " ".join(sorted(text.split(), key=sha)) for name, text in base.items()}
    p.gate(
        "UNDECIDED",
        f"--base={p.script('base', completions=base)}",
        f"--tuned={p.script('tuned', completions=tuned)}",
        f"--recorded={p.replay('recorded', said)}",
    )


RUNS = (
    ship_early_stop,
    ship_every_gate_kind,
    ship_any_goal,
    ship_leaked_cases,
    ship_jury_advisory,
    ship_judge_calibrated,
    ship_judge_labelled,
    ship_judge_pairwise,
    ship_equivalent,
    ship_corpus,
    block_regression,
    block_incumbent,
    block_all_arms,
    block_slow,
    hold_any_goal,
    hold_prompted,
    ship_teacher,
    undecided_any_goal,
    undecided_few_cases,
    undecided_unscored,
    undecided_noise,
    undecided_shipped,
    not_comparable_prompts,
    not_comparable_leaked,
    error_unscored,
    error_broken_off,
    error_judge_fooled,
    candidate_a,
    candidate_b,
    candidate_c,
    undecided_replayed,
    ship_results,
)
"""Every frozen run, in the order of their dates."""

EDITED = ("undecided_noise",)
"""Runs with records that no scripted model gives, so that the gate decided without them."""

HOSTILE = (
    "<script>alert(1)</script>",
    "</td></tr>&amp;&lt;",
    "| a | b |\n|---|---|",
    "`code` **bold** [link](javascript:alert(1))",
    "مرحبا \u202eabc",
    "ünï \U0001f600 \x07\ttab",
    "]]> <!-- -->",
    "\"quoted\" 'single' \\back",
)
"""Texts that a page, a table or an XML file must not take for its own."""
CALIBRATION = "--calibration=calibration.json"
WORDS = (
    "the", "a", "cat", "dog", "bird", "sat", "ran", "flew", "on", "under", "over", "mat", "tree",
    "house", "red", "old", "refund", "order", "late", "parcel", "sorry", "today", "next", "week",
)  # fmt: skip


def sentence(i: int) -> str:
    """Return eight to eleven words, another text for every case."""
    return " ".join(WORDS[(i * 7 + k * (1 + i % 5)) % len(WORDS)] for k in range(8 + i % 4))


text_of = sentence


def sha(word: str) -> str:
    """Return the hash of a word, to sort by as if shuffled."""
    return hashlib.sha256(word.encode()).hexdigest()


def kind_of(i: int) -> str:
    """Return the topic of a ticket."""
    return ("billing", "returns", "delivery & more")[i % 3]


def damaged(text: str, i: int, every: int) -> str:
    """Return the text with every so many-th word replaced, at a place that the case decides."""
    words = text.split()
    return " ".join("x" if (k + i) % every == 0 else word for k, word in enumerate(words))


def draft(i: int, sample: int, keep: int) -> str:
    """Return a sampled draft that has the first words right."""
    words = text_of(i).split()
    return " ".join([*words[: keep + (i + sample) % 3], *["um"] * (i % 2 + sample)])


def order(i: int) -> str:
    """Return an order as JSON."""
    return json.dumps({"id": i, "item": WORDS[i % len(WORDS)], "rush": i % 4 == 0})


def choices(i: int, right: bool) -> tuple[float, ...]:
    """Return the log-probabilities of three choices, the right one being i % 3."""
    best = i % 3 if right else (i + 1) % 3
    return tuple(-0.4 - (i % 5) / 20 if k == best else -1.5 - k / 10 for k in range(3))


def two_goals(more: str) -> str:
    """Return a suite with two goals, the second of which is out of reach."""
    goals = (("exact_match", 0.1), ("strict", 0.25))
    return "".join(
        f'[[metrics]]\nuse = "exact_match"\nname = "{name}"\n'
        f'[[gates]]\nmetric = "{name}"\ngain = {gain}\n{more}\n'
        for name, gain in goals
    )


def long_questions(n: int) -> list[dict[str, Any]]:
    """Return cases with prompts that are long enough to be found in training data."""
    return [
        {"id": f"c{i:03}", "prompt": " ".join(f"c{i}w{k}" for k in range(20)), "expected": "yes"}
        for i in range(n)
    ]


def training_rows(cases: Sequence[int]) -> list[dict[str, str]]:
    """Return training rows: one of no case, and one of each case that is named."""
    known = long_questions(100)
    texts = ["one of no case", *(known[i]["prompt"] for i in cases)]
    return [{"prompt": text, "completion": "yes"} for text in texts]


def train_card(p: Project, card: Mapping[str, Any]) -> None:
    """Write the card that a training leaves with the weights."""
    (p.folder / "tunegate_training.json").write_text(json.dumps(card), encoding="utf-8")


def calibrate(p: Project, judge: str, *, cases: int) -> None:
    """Calibrate the judge on people's labels of so many pairs; it differs on the pair c013."""
    rows = [
        {"id": f"c{i:03}", "arm": arm, "completion": "yes" if i < right else "no",
         "label": int(i < right and (i != 13 or cases < 50)), "by": "anna"}
        for i in range(cases)
        for arm, right in (("base", cases * 3 // 10), ("tuned", cases * 19 // 20))
    ]  # fmt: skip
    p.lines("labels.jsonl", rows)
    p.tunegate("judge", "calibrate", "labels.jsonl", "--judge", judge, "--suite", "suites/civil")


def candidate(p: Project, verdict: str, solved: int, kept: int) -> None:
    """Make the run of one of several fine-tunes of the same base, on the same suites."""
    p.suite("routing", ROUTING, questions(80))
    guard = [{"id": f"g{i:02}", "prompt": f"Keep {i}", "expected": "kept"} for i in range(60)]
    p.suite("guard", TOLERANT, guard)
    arms = {"base": (24, 60), "tuned": (solved, kept)}
    p.gate(verdict, *(
        f"--{arm}={p.script(arm, completions=yes_no(right, 80) | keeps(n))}"
        for arm, (right, n) in arms.items()
    ))  # fmt: skip


def keeps(n: int) -> dict[str, str]:
    """Return answers that are right in the first n cases of the guard."""
    return {f"g{i:02}": "kept" if i < n else "lost" for i in range(60)}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
