"""Synthetic runs for the report tests: a generation suite and a choices suite, both arms."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields as fields_of
from dataclasses import is_dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.command_line import PYTEST_QUIETLY
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Gate, Manifest, MetricRecord, SuiteRecord
from tunegate.harness.records.run_folder import Run, RunCase
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.slices import LostSlice, SliceLosses
from tunegate.harness.records.verdict import SuiteResult, Verdict, VerdictRecord

RunMaker = Callable[..., Run]
URGENCIES = ("low", "medium", "high")
TOPICS = {
    "billing": "I was charged twice for order {n} and the second payment is still pending.",
    "shipping": "Parcel {n} shows delivered but nothing arrived. The neighbour has not seen it.",
    "returns": "The jacket from order {n} is too small. How do I send it back, and who pays?",
    "account": "I cannot log in since Tuesday; the reset mail for user {n} never comes.",
}
SUBJECTS = ("anatomy", "astronomy", "logic")
ARM_FACTS: dict[str, dict[str, Any]] = {
    "base": {
        "spec": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "weights_sha256": "5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c",
        "tokenizer_sha256": "9ca9acddb6525a194ec8ac7a87f24fbba7232a9a15ffa1af0c1224fcd888e47c",
        "template_sha256": "d3f2f1a4c1d1b5a5d5ac3a4a1c8ab1b0a3a8b0f7e6f2f0d5c0c9d7b2a1e0f9c8",
        "dtype": "float32",
        "engine": {"name": "hf", "device": "cpu"},
    },
    "tuned": {
        "spec": "runs/support-lora/checkpoint-120",
        "weights_sha256": "5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c",
        "adapter_sha256": "c41b7e02d9aa11ef4e0d7c6b5a493827160594837261504938271605f4e3d2c1",
        "tokenizer_sha256": "9ca9acddb6525a194ec8ac7a87f24fbba7232a9a15ffa1af0c1224fcd888e47c",
        "template_sha256": "d3f2f1a4c1d1b5a5d5ac3a4a1c8ab1b0a3a8b0f7e6f2f0d5c0c9d7b2a1e0f9c8",
        "dtype": "float32",
        "engine": {"name": "hf", "device": "cpu"},
    },
}


def cell(
    suite: str, case: str, arm: str, kind: CellKind, completion: Completion | None, **more: Any
) -> StoredAnswer:
    """Return a stored answer; without a completion, one whose backend failed."""
    place = Cell(suite=suite, case=case, arm=arm, kind=kind, key=f"{suite}/{case}/{arm}/{kind}")
    error = None if completion else "TimeoutError: no answer within 120 s"
    status = "ok" if completion else "error"
    return StoredAnswer(cell=place, status=status, completion=completion, error=error, **more)


def gate(
    metric: str, kind: str, status: str, sentence: str, margin: float | str, **numbers: Any
) -> GateResult:
    """Return a gate's outcome with the fields that tests rarely vary filled in."""
    facts = {"confidence": 0.9, "method": "Tango score interval", "n": 59} | numbers
    return GateResult(
        metric=metric,
        kind=kind,
        status=GateStatus(status),
        sentence=sentence,
        margin=margin,
        **facts,
    )


METRICS = {
    "json_schema": ("generate", True, (0.0, 1.0), True),
    "json_fields": ("generate", True, (0.0, 1.0), False),
    "truncated": ("generate", False, (0.0, 1.0), True),
    "choice_accuracy": ("choices", True, (0.0, 1.0), True),
    "choice_probability": ("choices", True, (0.0, 1.0), False),
    "answer_logprob": ("answer", True, None, False),
    "latency": ("latency", False, None, False),
    "code_tests": ("generate", True, (0.0, 1.0), True),
}


def suite_record(suite: SuiteResult) -> SuiteRecord:
    """Return the manifest's record of a suite, its metrics being those of its gates."""
    names = dict.fromkeys(gate.metric for gate in suite.gates)
    return SuiteRecord(
        name=suite.name,
        path=f"suites/{suite.name}/suite.toml",
        hash=suite.hash,
        n_cases=suite.n_planned,
        goal_rule=suite.goal_rule,
        max_unscored=0.05,
        metrics=tuple(metric_record(name) for name in names),
        gates=tuple(
            Gate(metric=g.metric, kind=g.kind, margin=g.margin, where=f"suite.toml:{at + 8}")
            for at, g in enumerate(suite.gates)
        ),
        generation={"max_new_tokens": 96},
    )


def metric_record(name: str) -> MetricRecord:
    """Return the manifest's record of one of our metrics."""
    needs, higher, reach, binary = METRICS[name]
    return MetricRecord(
        name=name,
        use=name,
        needs=CellKind(needs),
        higher_is_better=higher,
        range=reach,
        binary=binary,
    )


class Builder:
    """Collects cases, cells and scores, and makes a run of them."""

    def __init__(self) -> None:
        """Start empty."""
        self.cases: dict[tuple[str, str], RunCase] = {}
        self.cells: list[StoredAnswer] = []
        self.scores: list[ScoreRow] = []

    def case(self, suite: str, case: Case, line: int, **more: Any) -> None:
        """Add a case as line `line` of its file."""
        where = f"suites/{suite}/cases.jsonl:{line}"
        self.cases[suite, case.id] = RunCase(suite=suite, case=case, where=where, **more)

    def answer(self, suite: str, case: str, arm: str, text: str | None, **more: Any) -> None:
        """Add a written completion, or a failed cell for None."""
        completion = None
        if text is not None:
            known = {"finish_reason": "stop", "latency_s": 0.4} | more
            completion = Completion(
                text=text, input_tokens=48, output_tokens=len(text.split()), **known
            )
        self.cells.append(cell(suite, case, arm, CellKind.GENERATE, completion))

    def score(
        self, suite: str, metric: str, case: str, arm: str, value: float | None, **more: Any
    ) -> None:
        """Add one score."""
        facts = {"suite": suite, "metric": metric, "case": case, "arm": arm, "value": value}
        self.scores.append(ScoreRow(**(facts | more)))

    def run(self, verdict: Verdict, sentence: str, suites: tuple[SuiteResult, ...]) -> Run:
        """Return the run with its manifest and verdict."""
        shared: dict[str, Any] = {
            "run_id": "2026-05-04T09-12-33-7f3a",
            "arms": ARM_FACTS,
            "seed": 20260504,
            "versions": {"tunegate": "0.1.0", "torch": "2.13.1", "transformers": "5.24.0"},
            "comparability": {
                "prompts": "equal token ids on 106 of 106 cases",
                "template": {"equal": True},
            },
            "liveness": {
                "tuned": {"adapter": "logits differ on 8 of 8 probe prompts", "proven": True}
            },
            "attempts": {suite.hash: 2 for suite in suites},
        }
        arms = (f"--gate-base={ARM_FACTS['base']['spec']}", "--gate-tuned=runs/my lora")
        command = ("suites/", *PYTEST_QUIETLY, *arms)
        manifest = Manifest(
            created="2026-05-04T09:12:33Z",
            command=command,
            suites=tuple(suite_record(suite) for suite in suites),
            plan=tuple(stored.cell for stored in self.cells),
            **shared,
        )
        record = VerdictRecord(verdict=verdict, sentence=sentence, suites=suites, **shared)
        return Run(
            folder=Path(".tunegate/runs/2026-05-04T09-12-33-7f3a"),
            manifest=manifest,
            cases=self.cases,
            cells=tuple(self.cells),
            scores=tuple(self.scores),
            verdict=record,
        )

    def mean(self, suite: str, metric: str, arm: str) -> float:
        """Return an arm's mean over its scored cases."""
        found = [
            s.value
            for s in self.scores
            if (s.suite, s.metric, s.arm) == (suite, metric, arm) and s.value is not None
        ]
        return sum(found) / len(found)


def _ticket(topic: str, urgency: str) -> str:
    return json.dumps({"topic": topic, "urgency": urgency, "needs_human": urgency == "high"})


def _support(build: Builder, rng: random.Random, breaks: float, n: int) -> None:
    """Add tickets: base often writes prose around the JSON, tuned sometimes drops a field."""
    for i in range(n):
        topic = rng.choice([*TOPICS, "billing"])
        urgency, name = rng.choice(URGENCIES), f"{topic}-{i:03d}"
        ask = TOPICS[topic].format(n=4100 + i)
        right = _ticket(topic, urgency)
        case = Case(id=name, prompt=ask, expected=right, tags=(topic,))
        rendered = f"<|im_start|>user\n{ask}<|im_end|>\n<|im_start|>assistant\n"
        build.case("support_json", case, i + 1, rendered=rendered)
        base_ok, tuned_ok = rng.random() > 0.45, rng.random() > breaks
        prose = f"Sure! Here is the ticket as JSON:\n\n{right}\n\nLet me know if you need more."
        lost = _ticket(topic, urgency).replace(', "urgency": ', ', "priority": ')
        failed = i == n - 1
        texts = {
            "base": right.replace('"needs', '\n "needs') if base_ok else prose,
            "tuned": None if failed else right if tuned_ok else lost,
        }
        for arm, ok in (("base", base_ok), ("tuned", tuned_ok)):
            text = texts[arm]
            build.answer("support_json", name, arm, text)
            if text is None:
                for metric in ("json_schema", "json_fields", "truncated"):
                    build.score("support_json", metric, name, arm, None, reason="no completion")
                continue
            missing = "'urgency' is a required property" if arm == "tuned" else "not JSON: line 1"
            reason = None if ok else missing
            build.score("support_json", "json_schema", name, arm, float(ok), reason=reason)
            build.score("support_json", "json_fields", name, arm, 1.0 if ok else 0.4)
            build.score("support_json", "truncated", name, arm, float(rng.random() < 0.05))


def _knowledge(build: Builder, rng: random.Random, forgets: float, n: int) -> None:
    """Add four-way questions whose right choice loses probability by about `forgets`."""
    choices = ("The femur", "The tibia", "The humerus", "The radius")
    for i in range(n):
        subject, answer, name = SUBJECTS[i % 8 % 3], rng.randrange(4), f"q{i:03d}"
        ask = f"Question {i + 1}: which bone is meant in case {i + 1}?"
        case = Case(id=name, prompt=ask, choices=choices, answer=answer, tags=(subject,))
        build.case("general_knowledge", case, i + 1)
        base = [rng.gauss(-3, 0.6) + (1.6 if at == answer else 0) for at in range(4)]
        tuned = [v - (forgets * rng.random() if at == answer else 0) for at, v in enumerate(base)]
        for arm, logs in (("base", base), ("tuned", tuned)):
            done = Completion(choice_logprobs=tuple(logs), input_tokens=96, latency_s=0.02)
            build.cells.append(cell("general_knowledge", name, arm, CellKind.CHOICES, done))
            share = math.exp(logs[answer]) / sum(map(math.exp, logs))
            right = float(max(range(4), key=logs.__getitem__) == answer)
            build.score("general_knowledge", "choice_accuracy", name, arm, right)
            build.score("general_knowledge", "choice_probability", name, arm, share)


WIDER = "paired t and Hall, the wider of both"
SENTENCES = {
    "SHIP": "support_json: json_schema rises from {b} to {t} (+{d}, 90 % interval clears the "
    "required gain of 0.10), and no guardrail is worse than its tolerance.",
    "BLOCK": "general_knowledge: choice_probability falls from {b} to {t} ({d}), a proven "
    "regression beyond the tolerance of 0.02.",
    "UNDECIDED": "general_knowledge: choice_probability may have fallen by more than 0.02; about "
    "340 cases would decide it.",
}


@pytest.fixture(scope="session")
def make_run() -> RunMaker:
    """Return a function that makes a run with a wished verdict."""
    return build_run


def build_run(wish: str = "BLOCK", *, tickets: int = 60, questions: int = 46) -> Run:
    """Return a run that ends in SHIP, BLOCK or UNDECIDED."""
    build, rng = Builder(), random.Random(7)
    _support(build, rng, breaks=0.03 if wish == "SHIP" else 0.12, n=tickets)
    _knowledge(build, rng, {"SHIP": 0.02, "BLOCK": 1.6, "UNDECIDED": 0.3}[wish], n=questions)
    support, knowledge = _support_result(build, tickets), _knowledge_result(build, wish, questions)
    deciding = (support if wish == "SHIP" else knowledge).gates[-1 if wish != "SHIP" else 1]
    sentence = SENTENCES[wish].format(
        b=f"{deciding.base:.3f}", t=f"{deciding.tuned:.3f}", d=f"{deciding.delta:.3f}"
    )
    return build.run(Verdict(wish), sentence, (support, knowledge))


def _levels(build: Builder, suite: str, metric: str, half: float) -> dict[str, Any]:
    base, tuned = (build.mean(suite, metric, arm) for arm in ("base", "tuned"))
    delta = tuned - base
    return {
        "base": base,
        "tuned": tuned,
        "delta": delta,
        "low": delta - half,
        "high": delta + half,
    }


def _support_result(build: Builder, n: int) -> SuiteResult:
    levels = partial(_levels, build, "support_json")
    schema, fields = levels("json_schema", 0.11), levels("json_fields", 0.07)
    tuned, delta = schema["tuned"], schema["delta"]
    level = schema | {"low": tuned - 0.08, "high": min(1.0, tuned + 0.05)}
    few = {"higher_is_better": False, "needed_n": 180, "reason": GateReason.UNDERPOWERED}
    cuts = levels("truncated", 0.045) | few | {"advisory": True}
    floor = f"Tuned reaches {tuned:.3f}, at least the floor of 0.80."
    gain = f"Tuned beats base by {delta:.3f}; the interval clears 0.10."
    kept = "Tuned is proven no worse than base by more than 2% of base."
    open_ = "Too few cases to exclude 3 more truncated answers in a hundred."
    return SuiteResult(
        name="support_json",
        hash="1f0c6b1d0b7b6d1e5c41a7c0b0e5d2a94c8f1c5a55b9f0f3f1c2d3e4a5b6c7d8",
        verdict=Verdict.SHIP,
        goal_rule="primary",
        has_goal=True,
        n_planned=n,
        n_scored=n - 1,
        n_unscored={"base": 0, "tuned": 1},
        unscored_reasons={"no completion": 1},
        worst_case=Verdict.SHIP,
        gates=(
            gate("json_schema", "floor", "pass", floor, 0.8, **level),
            gate("json_schema", "gain", "pass", gain, 0.1, **schema, p_value=0.0004),
            gate("json_fields", "tolerance", "pass", kept, "2%", **fields, method=WIDER),
            gate("truncated", "tolerance", "undecided", open_, 0.03, **cuts),
        ),
    )


def _knowledge_result(build: Builder, wish: str, n: int) -> SuiteResult:
    half, status, reason, needed = {
        "SHIP": (0.012, "pass", None, None),
        "BLOCK": (0.03, "fail", GateReason.REGRESSED, None),
        "UNDECIDED": (0.05, "undecided", GateReason.UNDERPOWERED, 340),
    }[wish]
    right = _levels(build, "general_knowledge", "choice_accuracy", 0.03) | {"n": n}
    right |= {"low": -0.04, "delta": -0.01, "high": 0.02}
    share = _levels(build, "general_knowledge", "choice_probability", half) | {"n": n}
    share |= {"reason": reason, "needed_n": needed, "method": WIDER}
    held = "Tuned answers no fewer questions right, within the tolerance."
    moved = (
        f"The right choice holds {share['tuned']:.3f} of the probability, base "
        f"{share['base']:.3f}; the tolerance is 0.02."
    )
    return SuiteResult(
        name="general_knowledge",
        hash="ab12cd34ef56" * 5 + "ab12",
        verdict=Verdict(wish),
        goal_rule="primary",
        has_goal=False,
        n_planned=n,
        n_scored=n,
        n_unscored={"base": 0, "tuned": 0},
        n_skipped_decided=14,
        notes=(
            "general_knowledge: 8 of 46 cases share one passage: the interval counts passages, "
            "not cases.",
        ),
        gates=(
            gate("choice_accuracy", "tolerance", "pass", held, 0.05, **right),
            gate("choice_probability", "tolerance", status, moved, 0.02, **share),
        ),
    )


_STEPS = "".join(f"    step_{n} = {n}\n" for n in range(20))
_RIGHT = f"```python\ndef f(n):\n{_STEPS}    return n * n\n```"
CODE = (
    (
        Case(
            id="square",
            prompt="Write `f(n)`, the square of n.",
            tests=("assert f(2) == 4", "assert f(5) == 25"),
            expected="def f(n):\n    return n ** 2",
        ),
        _RIGHT,
        _RIGHT.replace("n * n", "n + n").replace("```python", "Sure:\n```python"),
        "assert f(5) == 25: got 10, not 25",
    ),
    (
        Case(
            id="sum",
            prompt="Print the sum.",
            prefix="import sys\n",
            tests=({"input": "3 4", "output": "7"},),
        ),
        "for n in xs:\n\ttotal += n\nprint(total)",
        "for n in xs:\n\ttotal += n\n\tprint(total)",
        "input 3 4: got 3 7",
    ),
    (
        Case(
            id="paid",
            prompt="Who earns more than 2?",
            database="shop",
            expected="SELECT name FROM staff WHERE pay > 2",
        ),
        "SELECT name FROM staff WHERE pay > 2",
        "SELECT name FROM staff",
        "wrong result: 3 rows instead of 2",
    ),
)
"""Cases whose answers are run: base's answer, tuned's, and why tuned's is wrong."""


@pytest.fixture(scope="session")
def code_run() -> Run:
    """Return a run in which tuned forgot how to code."""
    build = Builder()
    for line, (case, base, tuned, why) in enumerate(CODE, 1):
        build.case("snippets", case, line)
        for arm, text, value, reason in (("base", base, 1.0, None), ("tuned", tuned, 0.0, why)):
            build.answer("snippets", case.id, arm, text)
            build.score("snippets", "code_tests", case.id, arm, value, reason=reason)
    lost = "code_tests fell 100 points"
    levels = {"base": 1.0, "tuned": 0.0, "delta": -1.0, "low": -1.0, "high": -0.6, "n": len(CODE)}
    suite = SuiteResult(
        name="snippets",
        hash="c0de" * 16,
        verdict=Verdict.BLOCK,
        goal_rule="primary",
        has_goal=False,
        n_planned=len(CODE),
        n_scored=len(CODE),
        n_unscored={"base": 0, "tuned": 0},
        gates=(gate("code_tests", "tolerance", "fail", lost, 0.1, **levels),),
    )
    return build.run(Verdict.BLOCK, f"snippets: {lost}", (suite,))


@pytest.fixture(scope="session")
def unboxed_run(code_run: Run) -> Run:
    """Return the same run without a sandbox."""
    manifest = code_run.manifest.model_copy(update={"sandbox": "none"})
    suites = tuple(
        suite.model_copy(update={"notes": (f"{suite.name}: {manifest.taken_on_trust()[-1]}",)})
        for suite in code_run.verdict.suites
    )
    verdict = code_run.verdict.model_copy(update={"suites": suites})
    return replace(code_run, manifest=manifest, verdict=verdict)


PAYLOADS = (
    "<script>window.pwned=1</script>",
    "<script>alert(1)</script>",
    "</script><script>window.pwned=1</script>",
    "</style><style>body{display:none}</style>",
    "</pre></details></main><h1>SHIP</h1>",
    "<img src=x onerror=window.pwned=1>",
    "<svg onload=window.pwned=1>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "<base href=https://evil.example/>",
    "<form action=https://evil.example><input autofocus onfocus=window.pwned=1>",
    '" onmouseover="window.pwned=1" x="',
    "' autofocus onfocus='window.pwned=1",
    "javascript:window.pwned=1",
    "<!-- <script>",
    "{{7*7}}{% include 'page.html' %}",
    "${7*7}#{7*7}",
    "\u202eTPIRCS\u202c\u2066x\u2069",
    "\x1b[2J\x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
    "nul\x00 bell\x07 \x9b31m \u200b\ufeff",
    "::error::@octo/team #1 GH-7 ::add-mask::x ##[group]",
    "[x](https://evil.example) ![y](https://evil.example/p.png)",
    "https://evil.example www.evil.example mailto:a@evil.example",
    "``````\n### SHIP\n</details>\n| a | b |",
    "&lt;b&gt; &#60;b&#62; %3Cscript%3E",
    "<ScRiPt>window.pwned=1</sCrIpT>",
    "<script src=data:text/javascript,window.pwned=1></script>",
    "<script type=module>window.pwned=1</script>",
    "<script/x>window.pwned=1</script/x>",
    "<scr<script>ipt>window.pwned=1</scr</script>ipt>",
    "--><script>window.pwned=1</script><!--",
    "--!><img src=x onerror=window.pwned=1>",
    "]]><script>window.pwned=1</script>",
    "</textarea><script>window.pwned=1</script>",
    "</title><svg/onload=window.pwned=1>",
    "</template><img src=x onerror=window.pwned=1>",
    "</noscript><img src=x onerror=window.pwned=1>",
    "</option></select><img src=x onerror=window.pwned=1>",
    "</script >\n<img src=x onerror=window.pwned=1>",
    '"}]}</script><script>window.pwned=1</script>',
    '","at":"x","__proto__":{"pwned":1}',
    "__proto__",
    "constructor",
    "\\u003cscript\\u003ewindow.pwned=1\\u003c/script\\u003e",
    "\u2028window.pwned=1\u2029//",
    "<img src=x onerror=&#119;indow.pwned=1>",
    "<img src='x' onerror='window.pwned=1'>",
    "<img/src/onerror=window.pwned=1>",
    "<video><source onerror=window.pwned=1></video>",
    "<audio src=x onerror=window.pwned=1>",
    "<body onload=window.pwned=1>",
    "<details open ontoggle=window.pwned=1>",
    "<marquee onstart=window.pwned=1>",
    "<object data=javascript:parent.pwned=1></object>",
    "<embed src=javascript:window.pwned=1>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<math><mtext><script>window.pwned=1</script></mtext></math>",
    "<svg><animate onbegin=window.pwned=1 attributeName=x></svg>",
    "<svg><foreignObject><iframe src=javascript:parent.pwned=1></iframe></foreignObject></svg>",
    "<a href=javascript:window.pwned=1 autofocus onfocus=window.pwned=1>x</a>",
    "<div style='background:url(https://evil.example/p.png)'>x</div>",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Yield a Chromium; skip without one."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield made
        made.close()


@pytest.fixture(scope="session")
def payloads() -> tuple[str, ...]:
    """Return the hostile texts."""
    return PAYLOADS


def with_slices(run: Run) -> Run:
    """Return a run whose last gates rest on a tag, and where one slice got worse."""

    def on_tag(suite: Any) -> Any:
        gates = (*suite.gates[:-1], suite.gates[-1].model_copy(update={"tag": "logic"}))
        return suite.model_copy(update={"gates": gates})

    gate = run.verdict.suites[-1].gates[-1]
    lost = LostSlice(
        suite=run.verdict.suites[-1].name,
        metric=gate.metric,
        tag="logic",
        higher_is_better=True,
        base=0.9,
        tuned=0.5,
        delta=-0.4,
        low=-0.6,
        high=-0.2,
        confidence=0.9,
        n=40,
        q_value=0.01,
        stands_out=True,
    )
    slices = SliceLosses(tested=2, sentence="1 of 2 slices lost: logic", lost=(lost,))
    judged = {"suites": tuple(map(on_tag, run.verdict.suites)), "slices": slices}
    asked = {"suites": tuple(map(on_tag, run.manifest.suites))}
    return replace(
        run,
        verdict=run.verdict.model_copy(update=judged),
        manifest=run.manifest.model_copy(update=asked),
    )


@pytest.fixture(name="sliced_run")
def _sliced_run() -> Run:
    """Return a run whose last gates rest on the tag `logic`."""
    return with_slices(build_run("BLOCK"))


@pytest.fixture(scope="session")
def poisoned_run() -> Run:
    """Return a run that holds hostile texts in every text field there is."""
    return poison_run(with_slices(build_run("BLOCK", tickets=30, questions=20)))


def poison_run(run: Run) -> Run:
    """Return a run with a payload in every text."""
    seen = dict[str, str]()
    hostile: dict[str, Any] = {
        name: poison(getattr(run, name), seen)
        for name in ("cases", "cells", "scores", "verdict", "manifest")
    }
    return replace(run, **hostile)


@pytest.fixture(scope="session")
def poisoned_code_run(code_run: Run) -> Run:
    """Return a run whose code, tests and errors are hostile texts."""
    return poison_run(code_run)


@pytest.fixture(scope="session")
def poison_with() -> Callable[[str], Run]:
    """Return a function that makes a small run with one payload in every text field there is."""
    clean = with_slices(build_run("BLOCK", tickets=3, questions=2))

    def make(payload: str) -> Run:
        names = ("cases", "cells", "scores", "verdict", "manifest")
        return replace(clean, **{n: poison(getattr(clean, n), {}, payload) for n in names})

    return make


def poison(value: Any, seen: dict[str, str], only: str | None = None) -> Any:
    """Return a record with a payload in every text: the same one for the same text.

    Without `only`, the payloads take turns, and a text of several words has them all.

    Enumerations, the names of the two arms, of the kinds of gates, and the status of a cell keep
    their values: they are ours, and what the report looks things up by. The record of a gate
    accepts no kind that is not the name of a module.
    """
    if isinstance(value, BaseModel):
        fields = {
            name: poison(getattr(value, name), seen, only) for name in type(value).model_fields
        }
        return value.model_copy(update=fields)
    if is_dataclass(value) and not isinstance(value, type):
        found = {f.name: poison(getattr(value, f.name), seen, only) for f in fields_of(value)}
        return replace(value, **found)
    if isinstance(value, tuple):
        return tuple(poison(inner, seen, only) for inner in value)
    if isinstance(value, dict):
        return {poison(k, seen, only): poison(inner, seen, only) for k, inner in value.items()}
    if not isinstance(value, str) or isinstance(value, StrEnum) or value in KEPT:
        return value
    bad = "\n".join(PAYLOADS) if " " in value else PAYLOADS[len(seen) % len(PAYLOADS)]
    bad = only or bad
    return seen.setdefault(value, f"{bad} {value}")


KEPT = ("base", "tuned", "ok", "error", "floor", "ceiling", "gain", "tolerance", "severe_drop")
