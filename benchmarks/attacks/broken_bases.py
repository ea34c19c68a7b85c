"""A base that did not work: `python -m benchmarks.attacks broken_bases`.

Tuned answers nearly every case right, and base's recorded answers are broken in one way. It is
survived if the verdict is not SHIP, or if its first note tells what base's answers share. Beside
them are honest bases, which know little or never learned the form: none may be called broken. The
verdict is that of the gate, without its command line.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.attacks.attempt import AttackAttempt, Outcome
from tunegate.harness.decision.answer_facts.read_answers import read_answers
from tunegate.harness.decision.scoring import score_suite
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.manifest import Gate, Manifest
from tunegate.harness.records.verdict import Verdict, VerdictRecord
from tunegate.harness.suite import Suite, load_suite

ROOT = Path(__file__).parents[2]
ARMS = ("base", "tuned")
N = 120
"""Cases of a task at most."""
Answers = list[str]
Break = Callable[[random.Random, Sequence[Case], Answers], Answers]
"""Makes base's answers from the cases and the answers of a base that works."""


@dataclass(frozen=True)
class Task:
    """A suite with the answers of a good fine-tune and of an honest base."""

    name: str
    suite: Suite
    right: Answers
    base: Answers
    labels: tuple[str, ...] = ()
    """The right answers, where there are few."""
    free: bool = False
    """Whether answers are sentences."""


def attempts() -> Iterator[AttackAttempt]:
    """Yield each broken form on each task, and the honest bases."""
    for task in tasks():
        # An answer in markup is no right answer of another case, word for word.
        reordered = {} if task.labels or task.name == "tool_calls" else REORDERED
        for name, change in {**BROKEN, **reordered}.items():
            if task.name == "replies" and change is _other_suite:
                continue  # its right answers are such sentences
            yield AttackAttempt(f"{task.name}: {name}", partial(_broken, task, change))
        for name, change in {**HONEST, **_honest_labels(task)}.items():
            yield AttackAttempt(f"honest, {task.name}: {name}", partial(_honest, task, change))


def _broken(task: Task, change: Break) -> Outcome:
    cases = list(task.suite.cases)
    verdict = decide(task.suite, change(random.Random(1), cases, list(task.base)), task.right)
    notes = verdict.suites[0].notes
    noted = bool(notes) and ("base" in notes[0])
    return verdict.verdict is not Verdict.SHIP or noted, f"{verdict.verdict}: {(notes or ('',))[0]}"


def _honest(task: Task, change: Break) -> Outcome:
    cases = list(task.suite.cases)
    verdict = decide(task.suite, change(random.Random(1), cases, list(task.base)), task.right)
    notes = [note for note in verdict.suites[0].notes if "broken" in note or "earn nothing" in note]
    survived = not any("looks broken" in note for note in notes)
    return survived, f"{verdict.verdict}: {(notes or ('',))[0]}"


def decide(suite: Suite, base: Sequence[str], tuned: Sequence[str]) -> VerdictRecord:
    """Return the verdict on two arms' answers to a suite, with a gain on its first metric."""
    cells = [
        StoredAnswer(
            cell=Cell(
                suite=suite.name, case=case.id, arm=arm, kind=CellKind.GENERATE, key=arm + case.id
            ),
            status="ok",
            completion=Completion(text=text, finish_reason="stop"),
        )
        for case, *texts in zip(suite.cases, base, tuned, strict=True)
        for arm, text in zip(ARMS, texts, strict=True)
    ]
    cases = {suite.name: suite.cases}
    manifest = Manifest(
        run_id="0", created="", command=(), arms={arm: {} for arm in ARMS}, seed=0, versions={},
        suites=(suite.record(),), plan=tuple(cell.cell for cell in cells), comparability={},
        liveness={}, attempts={},
    )  # fmt: skip
    rows = list(score_suite(suite, cells, ARMS))
    answers = read_answers(manifest, cases, rows, cells, {})
    return decide_run(manifest, cases, rows, answers=answers)


def tasks() -> Iterator[Task]:
    """Yield the tasks: bundled suites, and labels, numbers and short answers."""
    rng = random.Random(7)
    for name in (
        "support_json",
        "tool_calls",
        "instruction_following",
    ):
        yield _bundled(name, rng)
    for name, labels in (
        ("yes or no", ("yes", "no")),
        ("three labels", ("refund", "delivery", "invoice")),
        ("77 intents", tuple(f"{verb}_{noun}" for verb in VERBS for noun in NOUNS)),
    ):
        cases = [
            Case(id=f"c{i:03}", prompt=_ticket(rng, i), expected=rng.choice(labels))
            for i in range(N)
        ]
        right = [str(case.expected) for case in cases]
        base = [label if rng.random() < 0.55 else rng.choice(labels) for label in right]
        yield Task(name, _suite("exact_match", cases), _most(rng, right, "?"), base, labels)
    sums = [(rng.randrange(100, 999), rng.randrange(100, 999)) for _ in range(N)]
    cases = [
        Case(id=f"c{i:03}", prompt=f"What is {a} + {b}?", expected=str(a + b))
        for i, (a, b) in enumerate(sums)
    ]
    right = [str(case.expected) for case in cases]
    base = [x if rng.random() < 0.3 else str(int(x) + rng.randrange(1, 99)) for x in right]
    yield Task("sums", _suite("exact_match", cases), _most(rng, right, "0"), base)
    cases = [
        Case(id=f"c{i:03}", prompt=f"Which shelf holds article {1000 + 7 * i}?",
             expected=f"shelf {i}") for i in range(60)
    ]  # fmt: skip
    right = [str(case.expected) for case in cases]
    base = [label if rng.random() < 0.3 else f"maybe shelf {rng.randrange(60)}" for label in right]
    yield Task("shelves", _suite("exact_match", cases), right, base)
    cases = [Case(id=f"c{i:03}", prompt=_ticket(rng, i), expected=_reply(rng, i)) for i in range(N)]
    right = [str(case.expected) for case in cases]
    base = [f"Hello. I read that {str(case.prompt).lower()} Let me look." for case in cases]
    yield Task("replies", _suite("token_f1", cases), right, base, free=True)


VERBS = ("cancel", "change", "find", "open", "close", "report", "renew")
NOUNS = ("card", "order", "account", "address", "payment", "parcel", "plan", "limit", "invoice",
         "subscription", "pin")  # fmt: skip
GOODS = ("a lamp", "two chairs", "the blue kettle", "a winter coat", "my headphones", "a bicycle")
PLACES = ("Leeds", "Bristol", "Cork", "Dundee", "Cardiff", "York", "Bath", "Truro")


def _ticket(rng: random.Random, number: int) -> str:
    return (
        f"I ordered {rng.choice(GOODS)} for {rng.choice(PLACES)} on day {number} and want to "
        f"{rng.choice(VERBS)} the {rng.choice(NOUNS)}."
    )


def _reply(rng: random.Random, number: int) -> str:
    return (
        f"We will {rng.choice(VERBS)} the {rng.choice(NOUNS)} and send it to "
        f"{rng.choice(PLACES)} within {2 + number % 9} days, with {rng.choice(GOODS)}."
    )


def _most(rng: random.Random, texts: Sequence[str], wrong: str) -> Answers:
    return [text if rng.random() < 0.96 else wrong for text in texts]


def _suite(metric: str, cases: Sequence[Case]) -> Suite:
    """Return a suite with one metric, from a file in a temporary folder."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        toml = f'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "{metric}"\n'
        gate = f'[[gates]]\nmetric = "{metric}"\ngain = 0.0\n'
        (Path(folder) / "suite.toml").write_text(toml + gate, encoding="utf-8")
        rows = (json.dumps({"id": c.id, "prompt": c.prompt, "expected": c.expected}) for c in cases)
        (Path(folder) / "cases.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
        return load_suite(Path(folder))


def _bundled(name: str, rng: random.Random) -> Task:
    """Return a bundled suite with the answers that its author wrote, and those of a weak base."""
    suite = load_suite(ROOT / "suites" / name)
    gate = Gate(metric=suite.gates[0].metric, kind="gain", margin=0.0)
    suite = replace(suite, gates=(gate,), cases=suite.cases[:N])
    ideal = ROOT / "suites" / name / "ideal.jsonl"
    wrong = ROOT / "suites" / name / "wrong.jsonl"
    if ideal.exists():
        right, base = ({r["id"]: r["completion"] for r in _rows(f)} for f in (ideal, wrong))
        return Task(
            name, suite, [right[c.id] for c in suite.cases], [base[c.id] for c in suite.cases],
            free=True,
        )  # fmt: skip
    texts = [_right_text(case) for case in suite.cases]
    weak = [
        text if rng.random() < 0.3 else f"Sure! Here is what you asked for: {text} Anything else?"
        for text in texts
    ]
    return Task(name, suite, texts, weak)


def _right_text(case: Case) -> str:
    if case.expected_texts():
        return case.expected_texts()[0]
    calls = [
        {"name": call["name"], "arguments": {k: v[0] for k, v in call["arguments"].items() if v[0]}}
        for call in case.expected_calls or ()
    ]
    return "\n".join(f"<tool_call>{json.dumps(call)}</tool_call>" for call in calls) or "I can't."


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _id(rng: random.Random, digits: int = 12) -> str:
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


def _each(make: Callable[[random.Random], str], share: float = 1.0) -> Break:
    """Return a form in which a share of the answers is what `make` returns."""

    def change(rng: random.Random, cases: Sequence[Case], base: Answers) -> Answers:
        return [make(rng) if rng.random() < share else text for text in base]

    return change


def _map(make: Callable[[str, Case], str], share: float = 1.0) -> Break:
    """Return a form in which a share of the answers is made of the answer and its case."""

    def change(rng: random.Random, cases: Sequence[Case], base: Answers) -> Answers:
        return [
            make(text, case) if rng.random() < share else text
            for text, case in zip(base, cases, strict=True)
        ]

    return change


def _shift(step: int, start: float = 0.0) -> Break:
    """Return the right answers, shifted by some lines from some line on."""

    def change(rng: random.Random, cases: Sequence[Case], base: Answers) -> Answers:
        right = [_right_text(case) if not _is_free(case) else "" for case in cases]
        texts = right if all(right) else base
        first = int(start * len(texts))
        moved = texts[first:]
        return [*texts[:first], *moved[step:], *moved[:step]]

    return change


def _is_free(case: Case) -> bool:
    return not case.expected_texts() and case.expected_calls is None


def _order(key: Callable[[str], object], *, reverse: bool = False) -> Break:
    return lambda rng, cases, base: sorted(base, key=key, reverse=reverse)  # type: ignore[arg-type]


def _doubled(rng: random.Random, cases: Sequence[Case], base: Answers) -> Answers:
    return [text for text in base for _ in (0, 1)][: len(base)]


def _other_suite(rng: random.Random, cases: Sequence[Case], base: Answers) -> Answers:
    return [_reply(rng, i) for i in range(len(base))]


def _renamed(rng: random.Random, cases: Sequence[Case], base: Answers) -> Answers:
    labels = sorted({str(case.expected) for case in cases})
    if len(labels) > 20:
        return _shift(1)(rng, cases, base)
    names = dict(zip(labels, [*labels[1:], labels[0]], strict=True))
    return [names.get(str(case.expected), "") for case in cases]


TRACEBACK = (
    'Traceback (most recent call last):\n  File "/app/serve.py", line {}, in answer\n    '
    "raise CudaError(code)\nCudaError: device-side assert {}"
)
BROKEN: dict[str, Break] = {
    "429 texts with ids": _each(
        lambda r: f"Error 429: too many requests (request {_id(r)}), retry after {r.randrange(60)}s"
    ),
    "429 texts on 40 %": _each(lambda r: f"429 Too Many Requests: req_{_id(r)}", 0.4),
    "rate limits in JSON": _each(
        lambda r: json.dumps({"error": {"message": "Rate limit reached", "id": _id(r)}})
    ),
    "tracebacks on 60 %": _each(lambda r: TRACEBACK.format(r.randrange(999), _id(r)), 0.6),
    "tracebacks on 15 %": _each(lambda r: TRACEBACK.format(r.randrange(999), _id(r)), 0.15),
    "an error page with an id": _each(
        lambda r: f"<html><head><title>502</title></head><body>ray {_id(r)}</body></html>"
    ),
    "timeouts on half": _each(lambda r: f"Request timed out after {r.randrange(30, 90)} s", 0.5),
    "retries that say so": _each(
        lambda r: f"Retrying in {r.randrange(9)} seconds, attempt {r.randrange(5)} of 5 …"
    ),
    "a safety filter with ids": _each(
        lambda r: "The response was filtered by the content management policy. "
        f"Reference: {_id(r)}"
    ),
    "refusals with ids": _each(lambda r: f"Sorry, this cannot be answered here (ref. {_id(r)})."),
    "an unnamed message with ids": _each(lambda r: f"Please try again later, ticket {_id(r)}."),
    "one refusal on 70 %": _each(lambda r: "I'm sorry, but I can't assist with that request.", 0.7),
    "mojibake": _map(lambda t, c: f"{t} – „{t}“".encode().decode("cp1252", "replace")),
    "replacement characters": _map(lambda t, c: t.replace("e", "\ufffd").replace("a", "\ufffd")
                                   + "\ufffd"),
    "UTF-16 read as bytes": _map(lambda t, c: "\0".join(t) + "\0"),
    "a zipped CSV": _each(lambda r: f"PK\x03\x04\x14\x00{r.randbytes(40).decode('latin-1')}"),
    "marks of a chat template": _map(lambda t, c: f"<|im_start|>assistant\n{t}<|im_end|>"),
    "marks of Llama 2": _map(lambda t, c: f"[INST] {c.prompt} [/INST] {t} </s>"),
    "a template that was not filled": _map(lambda t, c: "{{ prompt }}\n{% if answer %}" + t),
    "an echo of the prompt": _map(lambda t, c: _prompt(c)),
    "an echo with roles": _map(lambda t, c: f"User: {_prompt(c)}\nAssistant:"),
    "an echo on 60 %": _map(lambda t, c: _prompt(c), 0.6),
    "empty": _each(lambda r: ""),
    "empty on 40 %": _each(lambda r: "", 0.4),
    **{f"shifted by {step}": _shift(step) for step in (1, 2, 3, -1, -2, -3)},
    "shifted by 1 from the middle on": _shift(1, 0.5),
    "reversed": lambda rng, cases, base: _shift(0)(rng, cases, base)[::-1],
    "sorted": lambda rng, cases, base: sorted(_shift(0)(rng, cases, base)),
    "sorted backwards": lambda rng, cases, base: sorted(_shift(0)(rng, cases, base))[::-1],
    "each answer twice": _doubled,
    "another suite's answers": _other_suite,
    "another language": lambda rng, cases, base: [
        f"Ich habe die Anfrage {i} gelesen und die Antwort ist nicht für Sie, sondern das Lager."
        for i in range(len(base))
    ],
    "cut after 24 characters": _map(lambda t, c: f"The answer is: {t}, as {_prompt(c)}"[:24]),
    "the next label of the list": _renamed,
}  # fmt: skip


def _prompt(case: Case) -> str:
    from tunegate.harness.decision.answer_facts.arm_answers import prompt_of

    return prompt_of(case)


REORDERED: dict[str, Break] = {
    "shifted by 7": _shift(7),
    "shuffled": lambda rng, cases, base: rng.sample(_shift(0)(rng, cases, base), len(base)),
    "in the order of completion": lambda rng, cases, base: [
        text
        for _, text in sorted(
            enumerate(_shift(0)(rng, cases, base)), key=lambda item: item[0] + rng.uniform(0, 32)
        )
    ],
    "each pair swapped": lambda rng, cases, base: [
        (right := _shift(0)(rng, cases, base))[min(i ^ 1, len(right) - 1)] for i in range(len(base))
    ],
}
"""Where right answers are few labels, these are labels at random, and a base may answer so."""


def _most_similar(rng: random.Random, cases: Sequence[Case], base: Answers) -> Answers:
    """Return the right answer of the case with the most similar prompt, as a poor search would."""
    from rapidfuzz import fuzz, process

    prompts = [_prompt(case) for case in cases]
    right = _shift(0)(rng, cases, base)
    return [
        right[process.extract(prompt, prompts, scorer=fuzz.token_set_ratio, limit=2)[1][2]]
        for prompt in prompts
    ]


HONEST: dict[str, Break] = {
    "a weak base": lambda rng, cases, base: base,
    "the answer to the most similar prompt": _most_similar,
    "in a sentence": _map(lambda t, c: f"The answer is {t}."),
    "in a code fence": _map(lambda t, c: f"```\n{t}\n```"),
    "with a preamble": _map(lambda t, c: f"Sure! Here is the answer:\n\n{t}\n\nLet me know."),
    "in quotes": _map(lambda t, c: f'I would say that it is "{t}".'),
    "other keys": _map(lambda t, c: json.dumps({"result": t, "score": len(t), "note": ""})),
    "talks about the prompt": _map(
        lambda t, c: f"You wrote about {' '.join(_prompt(c).split()[2:9])}. It depends on more."
    ),
    "runs on into another question": _map(lambda t, c: f"{t}\n\nQ: {_prompt(c)[:40]}\nA: {t} too"),
    "I do not know on 60 %": _each(lambda r: "I do not know.", 0.6),
    "a number in a sentence": _each(lambda r: f"I would rate this {r.randrange(1, 11)} out of 10."),
    "in Markdown": _map(lambda t, c: f"**Answer**: {t}\n\n- it is {t}\n- see above"),
    "asks back": _map(lambda t, c: f"Could you say more of {' '.join(_prompt(c).split()[2:8])}?"),
    "speaks of errors": _map(
        lambda t, c: f"An error with {' '.join(_prompt(c).split()[3:6])} is likely; I think {t}."
    ),
}  # fmt: skip


def _honest_labels(task: Task) -> dict[str, Break]:
    if not task.labels:
        return {}
    labels = tuple(sorted(set(task.right) & set(task.labels)))
    return {
        "always the first label": _each(lambda r: labels[0]),
        "labels at random": _each(lambda r: r.choice(labels)),
        "two of the labels": _each(lambda r: r.choice(labels[:2])),
        "the last label in nine of ten": _each(
            lambda r: labels[-1] if r.random() < 0.9 else labels[0]
        ),
        "labels in capitals": _map(lambda t, c: t.upper()),
        "labels with a word before them": _map(lambda t, c: f"Intent: {t}"),
    }
