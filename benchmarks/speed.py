"""Speed and memory of the local engine on a real model: `python -m benchmarks.speed PART …`.

`answers`: base and tuned answer prompts greedily in float32, by `model.generate` (prompts sorted by
length, batches of 8, one suite after the other), by tunegate's runner and store, by the same where
base's answers are known from an earlier candidate, by Transformers' continuous batching
(`generate_batch`), and by vLLM with the adapter as LoRA and merged into its base. All answers must
be those of the first engine.

`overhead`: what of a whole run, plan to report, is not the model's forward. `memory`: the peak of
an adapter pair and of base alone, each in a process of its own. `packed`: what packed matrices
save.

The exit code is 1 if an answer differs or a promise is missed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks._apart import apart
from benchmarks._forwards import watched
from benchmarks._served_adapters import merge_adapter
from tunegate.harness import suite as suites
from tunegate.harness.contracts.model import Arm, PoolLimits, ServerHosting
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.plan import make_plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.runner import Runner, collect_answers
from tunegate.harness.models._model_folder import adapter_config
from tunegate.harness.models.open_arms import open_arms

BUNDLED = Path(__file__).resolve().parents[1] / "suites"
BATCH = 8
"""Rows of `model.generate`'s batches."""
LIMITS = PoolLimits(concurrency=64)
MOST_OVERHEAD = 0.03
"""Allowed share of everything but the forwards, of the forwards' time."""
MOST_MEMORY = 1.15
"""Allowed ratio of the peaks of the pair and of base alone."""
PACKED_BATCHES = ((8, 32, 1), (8, 32, 32), (8, 32, 64), (32, 128, 1), (32, 128, 32))
"""Rows, tokens of each prompt, tokens of each answer."""
PACKED_TURNS = 2
PROMPTS = """
name = "prompts"
cases = "cases.jsonl"
[generation]
max_new_tokens = {tokens}
[[metrics]]
use = "loops"
[[metrics]]
use = "length"
[[metrics]]
use = "truncated"
[[gates]]
metric = "truncated"
tolerance = 0.5
"""
_TICKS = os.sysconf("SC_CLK_TCK")

Answers = dict[tuple[str, str, str], str]
"""Arm, suite and case → text."""
Ask = Callable[[], Answers]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one part; return 1 if an answer differs or a promise is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks.speed", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    for name in PARTS:
        part = parts.add_parser(name)
        part.add_argument("--base", help="default: the base that the adapter names")
        part.add_argument("--tuned", required=True, help="folder of an adapter")
        part.add_argument("--prompts", type=int, default=96, help="of each suite")
        part.add_argument("--new-tokens", type=int, default=64)
    answers, overhead = parts.choices["answers"], parts.choices["overhead"]
    answers.add_argument("--suites", nargs="+", default=[], help="bundled; default: plain prompts")
    answers.add_argument("--engines", nargs="+", choices=list(ENGINES), default=[*ENGINES][:3])
    answers.add_argument("--base-alone", action="store_true", help="do not ask tuned")
    answers.add_argument("--folder", type=Path, default=Path("speed"), help="merged model, stores")
    overhead.add_argument("--questions", type=int, default=200)
    parts.choices["packed"].add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    options.base = options.base or adapter_config(Path(options.tuned))["base_model_name_or_path"]
    return PARTS[options.part](options)


def prompts_suite(folder: Path, cases: int, tokens: int) -> suites.Suite:
    """Write and load a suite of everyday prompts, repeated where there are too few.

    They are those of the bundled replay rows: unlike the cases of `production` they ask for no
    short answer, so that there is something to decode.
    """
    source = BUNDLED / "production" / "train.jsonl"
    lines = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    texts = {f"p{i:03}": line["prompt"][0]["content"] for i, line in enumerate(lines)}
    rows = [
        {"id": f"{name}-{i}", "prompt": f"{prompt} ({i})" if i >= len(texts) else prompt}
        for i, (name, prompt) in enumerate(islice(cycle(texts.items()), cases))
    ]
    return _write_suite(folder, rows, PROMPTS.format(tokens=tokens))


def _bundled_suite(folder: Path, name: str, prompts: int, tokens: int) -> suites.Suite:
    """Write prompts of a bundled suite, with its instruction, as a suite that asks for answers."""
    bundled = suites.load_suite(BUNDLED / name)
    rows = [{"id": case.id, "prompt": case.prompt} for case in bundled.cases[:prompts]]
    lines = [f"name = {json.dumps(name)}", 'cases = "cases.jsonl"', "[generation]"]
    lines += [f"max_new_tokens = {tokens}"]
    if bundled.generation.system:
        lines += ["system = " + json.dumps(bundled.generation.system)]
    return _write_suite(folder, rows, "\n".join([*lines, '[[metrics]]\nuse = "loops"\n']))


def _write_suite(folder: Path, rows: Sequence[Mapping[str, Any]], toml: str) -> suites.Suite:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (folder / "suite.toml").write_text(toml, encoding="utf-8")
    return suites.load_suite(folder)


@dataclass(frozen=True)
class Inputs:
    """What every engine gets."""

    base: str
    adapter: str
    suites: Sequence[suites.Suite]
    arms: tuple[str, ...]
    folder: Path
    tokens: int

    def open(self) -> dict[str, Any]:
        """Open the arms that are asked, with Transformers."""
        opened = open_arms({"base": self.base, "tuned": self.adapter}, dtype="float32")
        return {name: opened[name] for name in self.arms}

    def store(self, name: str) -> AnswerCache:
        """Return an empty store."""
        path = self.folder / f"{name}.sqlite"
        path.unlink(missing_ok=True)
        return AnswerCache(path)


def time_answers(options: argparse.Namespace) -> int:
    """Let each engine answer, print the table, and compare the answers with the first engine's."""
    folder, size = options.folder, (options.prompts, options.new_tokens)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [_bundled_suite(folder / name, name, *size) for name in options.suites]
    inputs = Inputs(
        options.base,
        options.tuned,
        chosen or [prompts_suite(folder / "prompts", *size)],
        ("base",) if options.base_alone else ("base", "tuned"),
        folder,
        options.new_tokens,
    )
    print(f"{options.prompts} prompts, at most {options.new_tokens} new tokens, float32")
    print(
        f"{'':<22} {'open':>6} {'seconds':>8} {'CPU s':>7} {'ratio':>6} {'tokens read':>12}  equal"
    )
    first: tuple[float, Answers] | None = None
    wrong = 0
    for name in options.engines:
        began = time.perf_counter()
        with ENGINES[name](inputs) as (ask, model):
            opened = time.perf_counter() - began
            watching = nullcontext() if model is None else watched(model)
            clock, used = time.perf_counter(), _processor_seconds()
            with watching as watch:
                answers = ask()
            seconds, processor = time.perf_counter() - clock, _processor_seconds() - used
        peer_seconds, peer = first = first or (seconds, answers)
        same = sum(text == peer[key] for key, text in answers.items())
        wrong += len(peer) - same
        read = sum(f.rows * f.tokens for f in watch.seen if f.tokens > 1) if watch else 0
        print(
            f"{name:<22} {opened:6.1f} {seconds:8.1f} {processor:7.1f} "
            f"{peer_seconds / seconds:6.2f} {read or '-':>12}  {same} of {len(peer)}",
            flush=True,
        )
    if first is not None and not options.base_alone:
        changed = sum(
            text != first[1]["tuned", suite, case]
            for (arm, suite, case), text in first[1].items()
            if arm == "base"
        )
        print(f"answers that the fine-tune changes: {changed}")
    return int(wrong > 0)


def _processor_seconds() -> float:
    """Return the seconds of processor of this process and of all that came from it."""
    spent, parents = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
        spent[int(path.parent.name)] = sum(map(int, fields[11:13])) / _TICKS
    counted = {os.getpid()}
    while new := {pid for pid, parent in parents.items() if parent in counted} - counted:
        counted |= new
    return sum(spent.get(pid, 0.0) for pid in counted)


def _run(arms: Mapping[str, Arm], chosen: Sequence[suites.Suite], store: AnswerCache) -> Answers:
    """Answer with the runner and store of a real run."""
    plan = make_plan(chosen, arms, seed=0)
    Runner(plan, arms, store, ProgressReporter(1.0, stream=io.StringIO())).run()
    return {
        (stored.cell.arm, stored.cell.suite, stored.cell.case): stored.completion.text or ""
        for stored in collect_answers(plan, store, set())
        if stored.completion is not None
    }


@contextmanager
def _generate(inputs: Inputs) -> Iterator[tuple[Ask, Any]]:
    arms = inputs.open()

    def ask() -> Answers:
        return {
            (name, suite.name, case): text
            for name, arm in arms.items()
            for suite in inputs.suites
            for case, text in _generate_suite(arm, suite, inputs.tokens).items()
        }

    yield ask, arms["base"].loaded.torch_model


def _generate_suite(arm: Any, suite: suites.Suite, tokens: int) -> dict[str, str]:
    import torch

    prompts = {c.id: arm.prompt(c, suite.generation).token_ids for c in suite.cases}
    ordered = sorted(prompts, key=lambda case: len(prompts[case]))
    pad = arm.tokenizer.pad_token_id
    answers = {}
    with arm.active() as model, torch.inference_mode():
        for at in range(0, len(ordered), BATCH):
            batch = ordered[at : at + BATCH]
            longest = max(len(prompts[case]) for case in batch)
            fill = {case: longest - len(prompts[case]) for case in batch}
            out = model.generate(
                input_ids=torch.tensor([[pad] * fill[c] + list(prompts[c]) for c in batch]),
                attention_mask=torch.tensor([[0] * fill[c] + [1] * len(prompts[c]) for c in batch]),
                do_sample=False,
                max_new_tokens=tokens,
                eos_token_id=sorted(arm.stop_ids),
                pad_token_id=pad,
            )
            for case, row in zip(batch, out[:, longest:].tolist(), strict=True):
                answers[case] = arm.tokenizer.decode(row, skip_special_tokens=True)
    return answers


@contextmanager
def _generate_batch(inputs: Inputs) -> Iterator[tuple[Ask, Any]]:
    from transformers import GenerationConfig

    arms = inputs.open()

    def answers_of(arm: Any, suite: suites.Suite) -> dict[str, str]:
        prompts = {c.id: list(arm.prompt(c, suite.generation).token_ids) for c in suite.cases}
        config = GenerationConfig(  # type: ignore[no-untyped-call]  # Transformers is untyped there
            max_new_tokens=inputs.tokens,
            do_sample=False,
            eos_token_id=sorted(arm.stop_ids),
            pad_token_id=arm.tokenizer.pad_token_id,
        )
        with arm.active() as model:
            outputs = model.generate_batch(list(prompts.values()), generation_config=config)
        ordered = sorted(outputs.values(), key=lambda out: int(out.request_id.rpartition("_")[2]))
        texts = [
            arm.tokenizer.decode(out.generated_tokens, skip_special_tokens=True) for out in ordered
        ]
        return dict(zip(prompts, texts, strict=True))

    yield (
        lambda: {
            (name, suite.name, case): text
            for name, arm in arms.items()
            for suite in inputs.suites
            for case, text in answers_of(arm, suite).items()
        },
        None,
    )


@contextmanager
def _tunegate(inputs: Inputs, *, base_is_known: bool) -> Iterator[tuple[Ask, Any]]:
    arms = inputs.open()
    store = inputs.store("second" if base_is_known else "cold")
    if base_is_known:
        _run({"base": arms["base"]}, inputs.suites, store)
    yield lambda: _run(arms, inputs.suites, store), arms["base"].loaded.torch_model


@contextmanager
def _vllm(inputs: Inputs, *, merged: bool) -> Iterator[tuple[Ask, Any]]:
    tuned = Path(inputs.adapter)
    if merged:
        tuned = merge_adapter(Path(inputs.base), tuned, inputs.folder / "merged", dtype="float32")
    specs = {"base": f"vllm:{inputs.base}?max_len=2048", "tuned": f"vllm:{tuned}"}
    hosting = ServerHosting(inputs.folder, print)
    opened = open_arms(specs, dtype="float32", limits=LIMITS, hosting=hosting)
    try:
        arms = {name: opened[name] for name in inputs.arms}
        yield lambda: _run(arms, inputs.suites, inputs.store(f"vllm-{tuned.name}")), None
    finally:
        for arm in opened.values():
            arm.process.stop()  # type: ignore[attr-defined]  # a VllmArm's


ENGINES: Mapping[str, Any] = {
    "model.generate": _generate,
    "tunegate": partial(_tunegate, base_is_known=False),
    "second-candidate": partial(_tunegate, base_is_known=True),
    "generate_batch": _generate_batch,
    "vllm-lora": partial(_vllm, merged=False),
    "vllm-merged": partial(_vllm, merged=True),
}


def time_overhead(options: argparse.Namespace) -> int:
    """Print where the time of a whole run goes; loading and imports are done before."""
    arms: dict[str, Any] = dict(
        open_arms({"base": options.base, "tuned": options.tuned}, dtype="float32")
    )

    def judge(folder: Path, prompts: int, questions: int) -> tuple[int, float, float, float]:
        """Judge with an empty store; return forwards, and seconds of them, run and report."""
        from tunegate.harness.records.run_folder import Run
        from tunegate.harness.run.evaluate import evaluate
        from tunegate.harness.run.options import RunOptions
        from tunegate.reports import page

        source = BUNDLED / "general_knowledge"
        lines = (source / "cases.jsonl").read_text(encoding="utf-8").splitlines()[:questions]
        toml = (source / "suite.toml").read_text(encoding="utf-8")
        chosen = [
            prompts_suite(folder / "prompts", prompts, options.new_tokens),
            _write_suite(folder / "questions", [json.loads(line) for line in lines], toml),
        ]
        with watched(arms["base"].loaded.torch_model) as watch:
            start = time.perf_counter()
            verdict = evaluate(
                RunOptions(
                    suites=chosen,
                    specs={name: arm.spec for name, arm in arms.items()},
                    folder=folder / "run",
                    store=folder / "store.sqlite",
                    stream=io.StringIO(),
                    early_stop=False,
                ),
                dict(arms),
            )
            in_run = time.perf_counter() - start
        if verdict.verdict in ("ERROR", "NOT_COMPARABLE"):
            raise SystemExit(verdict.sentence)
        start = time.perf_counter()
        page.write_all(Run.load(folder / "run"), folder / "run")
        return len(watch.seen), watch.seconds, in_run, time.perf_counter() - start

    with tempfile.TemporaryDirectory() as place:
        judge(Path(place) / "warm", 4, 4)
        forwards, inside, in_run, in_report = judge(
            Path(place) / "sized", options.prompts, options.questions
        )
    share = (in_run - inside + in_report) / inside
    print(f"{forwards} forwards {inside:.2f} s")
    print(f"everything else of the run {in_run - inside:.2f} s, report {in_report:.2f} s")
    print(f"{share:.1%} of the forwards' time; promised: at most {MOST_OVERHEAD:.0%}")
    return int(share > MOST_OVERHEAD)


def measure_memory(options: argparse.Namespace) -> int:
    """Print the peaks of base alone, and of base and its adapter on one load."""
    size = (options.prompts, options.new_tokens)
    alone = apart(answer_apart, options.base, None, *size)
    pair = apart(answer_apart, options.base, options.tuned, *size)
    for name, measured in (("base alone", alone), ("base and adapter, one load", pair)):
        print(f"{name:<28} {measured.peak / 1e6:7.0f} MB {measured.seconds:8.1f} s")
    ratio = pair.peak / alone.peak
    print(f"ratio {ratio:.3f}; promised: at most {MOST_MEMORY}")
    return int(ratio > MOST_MEMORY)


def answer_apart(base: str, tuned: str | None, prompts: int, tokens: int) -> None:
    """Answer the prompts with base, and with the adapter where one is named."""
    opened = open_arms({"base": base, "tuned": tuned or base}, dtype="float32")
    arms = {name: arm for name, arm in opened.items() if name == "base" or tuned}
    with tempfile.TemporaryDirectory() as place:
        suite = prompts_suite(Path(place) / "suite", prompts, tokens)
        _run(arms, [suite], AnswerCache(Path(place) / "store.sqlite"))


def time_packed(options: argparse.Namespace) -> int:
    """Answer the same batches with matrices in their usual order and packed, in turns."""
    import torch

    from tunegate.harness.engine.inference import packed_weights

    torch.set_num_threads(options.threads)
    arms: dict[str, Any] = dict(
        open_arms({"base": options.base, "tuned": options.tuned}, dtype="float32")
    )
    model = arms["base"].loaded.torch_model

    def pack() -> float:
        start = time.process_time()
        with packed_weights.packed_weights(model):
            return time.process_time() - start

    print(f"packing: {pack():.2f} s of a processor, once")
    print(f"{'arm':<6} {'rows':>4} {'prompt':>6} {'answer':>6} {'usual':>7} {'packed':>7}  less")
    equal, room = True, packed_weights.PACKED_BYTES
    for name, arm in arms.items():
        for rows, prompt, tokens in PACKED_BATCHES:
            seconds: dict[str, list[float]] = {"usual": [], "packed": []}
            texts: list[Any] = []
            for order in ("usual", "packed") * PACKED_TURNS:
                packed_weights.release_copies(model)
                packed_weights.PACKED_BYTES = room if order == "packed" else 0
                pack()
                spent, answers = _answer_endlessly(arm, rows, prompt, tokens)
                seconds[order].append(spent)
                texts.append(answers)
            packed_weights.PACKED_BYTES = room
            equal &= all(text == texts[0] for text in texts)
            usual, packed = min(seconds["usual"]), min(seconds["packed"])
            print(
                f"{name:<6} {rows:>4} {prompt:>6} {tokens:>6} {usual:7.2f} {packed:7.2f}"
                f"  {1 - packed / usual:4.0%}",
                flush=True,
            )
    print("answers equal: " + ("all" if equal else "NOT ALL"))
    return int(not equal)


class _Endless:
    """An arm whose answers no token ends, so that each has the length asked for."""

    stop_ids: frozenset[int] = frozenset()

    def __init__(self, arm: Any) -> None:
        self._arm = arm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._arm, name)


def _answer_endlessly(arm: Any, rows: int, prompt: int, tokens: int) -> tuple[float, list[Any]]:
    """Answer prompts that share no beginning; return the processor's seconds and the texts."""
    from tunegate.harness.contracts.model import Prompt, Request
    from tunegate.harness.engine.inference import local_engine
    from tunegate.harness.records.answers import Cell, CellKind
    from tunegate.harness.records.cases import Case
    from tunegate.harness.records.generation import GenerationSettings

    words = len(arm.tokenizer)
    requests = [
        Request(
            cell=Cell(suite="", case=str(row), arm="", kind=CellKind.GENERATE, key=str(row)),
            case=Case(id=str(row), prompt="p"),
            prompt=Prompt("p", tuple((997 * row + 31 * i + 100) % words for i in range(prompt))),
            generation=GenerationSettings(template="none", max_new_tokens=tokens),
            seed=0,
        )
        for row in range(rows)
    ]
    start = time.process_time()
    endless: Any = _Endless(arm)
    answers = list(local_engine.complete_requests(endless, requests))
    spent = time.process_time() - start
    return spent, sorted((a.key, a.completion and a.completion.text) for a in answers)


PARTS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "answers": time_answers,
    "overhead": time_overhead,
    "memory": measure_memory,
    "packed": time_packed,
}


if __name__ == "__main__":
    sys.exit(main())
