"""Engines on a CPU, the same answers from each: `python -m benchmarks.engine_throughput`.

Both arms answer everyday prompts greedily in float32: by `model.generate` in batches of 8, by
Transformers' continuous batching (`generate_batch`), by tunegate's own engine, and by vLLM with the
adapter as LoRA and merged into its base. Loading and starting are apart.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._served_adapters import merge_adapter, train_adapter
from benchmarks.generation import Answers, _plain, _run, _suite
from tunegate.harness.contracts.model import PoolLimits, ServerHosting
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.models.demo_model import existing_demo_model
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.suite import Suite

_TICKS = os.sysconf("SC_CLK_TCK")
LIMITS = PoolLimits(concurrency=64)


@dataclass(frozen=True)
class Inputs:
    """What every engine gets."""

    base: Path
    adapter: Path
    merged: Path
    suite: Suite
    folder: Path
    tokens: int


def main() -> int:
    """Run the engines and print the table; return 1 if an answer differs."""
    options = _options()
    found_base = existing_demo_model() if options.base is None else options.base
    if found_base is None:
        raise SystemExit("the demo's model is not in the cache: tunegate demo")
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    adapter = options.tuned or train_adapter(found_base, folder / "own")
    merged = merge_adapter(found_base, adapter, folder / "merged", dtype="float32")
    suite = _suite(folder, options.prompts, options.new_tokens)
    inputs = Inputs(found_base, adapter, merged, suite, folder, options.new_tokens)
    rows = [_measured(name, ENGINES[name], inputs) for name in options.engines.split(",")]
    return _print(rows, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="default: the demo's model")
    parser.add_argument("--tuned", type=Path, help="an adapter; default: one of a few steps")
    parser.add_argument("--folder", type=Path, default=Path("engine_throughput"))
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--engines", default=",".join(ENGINES), help="with commas")
    return parser.parse_args()


Asking = Callable[[], Mapping[str, Answers]]


def _measured(name: str, engine: Callable[..., Any], inputs: Inputs) -> dict[str, Any]:
    """Open an engine, let it answer, and return how long both took."""
    began = time.perf_counter()
    with engine(inputs) as ask:
        opened = time.perf_counter() - began
        clock, used = time.perf_counter(), _processor_seconds()
        answers = ask()
        seconds, processor = time.perf_counter() - clock, _processor_seconds() - used
    row = {
        "engine": name,
        "open_s": round(opened, 1),
        "seconds": round(seconds, 1),
        "processor_s": round(processor, 1),
        "load": round(os.getloadavg()[0], 1),
        "answers": answers,
    }
    print(json.dumps({key: value for key, value in row.items() if key != "answers"}), flush=True)
    return row


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
    known = {os.getpid()}
    while new := {pid for pid, parent in parents.items() if parent in known} - known:
        known |= new
    return sum(spent.get(pid, 0.0) for pid in known)


@contextmanager
def _generate(inputs: Inputs) -> Iterator[Asking]:
    arms = _local(inputs)
    yield lambda: _plain(arms, inputs.suite, inputs.tokens)[0]


@contextmanager
def _continuous(inputs: Inputs) -> Iterator[Asking]:
    arms = _local(inputs)
    yield lambda: {name: _generate_batch(arm, inputs) for name, arm in arms.items()}


def _generate_batch(arm: Any, inputs: Inputs) -> Answers:
    from transformers import GenerationConfig

    prompts = {
        c.id: list(arm.prompt(c, inputs.suite.generation).token_ids) for c in inputs.suite.cases
    }
    config = GenerationConfig(  # type: ignore[no-untyped-call]  # Transformers is untyped there
        max_new_tokens=inputs.tokens,
        do_sample=False,
        eos_token_id=sorted(arm.stop_ids),
        pad_token_id=arm.tokenizer.pad_token_id,
    )
    with arm.active() as model:
        found = model.generate_batch(list(prompts.values()), generation_config=config)
    ordered = sorted(found.values(), key=lambda one: int(one.request_id.rpartition("_")[2]))
    texts = [
        arm.tokenizer.decode(one.generated_tokens, skip_special_tokens=True) for one in ordered
    ]
    return dict(zip(prompts, texts, strict=True))


@contextmanager
def _own(inputs: Inputs) -> Iterator[Asking]:
    arms = _local(inputs)
    yield lambda: _run(arms, inputs.suite, AnswerCache(_store(inputs, "own")))


@contextmanager
def _vllm(inputs: Inputs, name: str) -> Iterator[Asking]:
    with _served(inputs, getattr(inputs, name)) as arms:
        yield lambda: _run(arms, inputs.suite, AnswerCache(_store(inputs, f"vllm-{name}")))


ENGINES: Mapping[str, Any] = {
    "model.generate": _generate,
    "generate_batch": _continuous,
    "tunegate": _own,
    "vLLM with LoRA": partial(_vllm, name="adapter"),
    "vLLM merged": partial(_vllm, name="merged"),
}


def _local(inputs: Inputs) -> Mapping[str, Any]:
    return open_arms({"base": str(inputs.base), "tuned": str(inputs.adapter)}, dtype="float32")


def _store(inputs: Inputs, name: str) -> Path:
    path = inputs.folder / f"{name}.sqlite"
    path.unlink(missing_ok=True)
    return path


@contextmanager
def _served(inputs: Inputs, tuned: Path) -> Iterator[Mapping[str, Any]]:
    """Serve base and tuned by vLLM."""
    specs = {"base": f"vllm:{inputs.base}?max_len=2048", "tuned": f"vllm:{tuned}"}
    hosting = ServerHosting(inputs.folder, print)
    arms = open_arms(specs, dtype="float32", limits=LIMITS, hosting=hosting)
    try:
        yield arms
    finally:
        for arm in arms.values():
            arm.process.stop()  # type: ignore[attr-defined]  # a VllmArm's


def _print(rows: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> int:
    """Print the table; return 1 if an answer is not that of the first engine."""
    peer = rows[0]
    changed = sum(
        text != peer["answers"]["tuned"][case] for case, text in peer["answers"]["base"].items()
    )
    print(f"{options.prompts} prompts, at most {options.new_tokens} new tokens, float32, both arms")
    print(f"answers that the fine-tune changes: {changed} of {options.prompts}")
    print(f"{'':<30} {'opening':>8} {'seconds':>8} {'processor':>9} {'load':>5}  equal answers")
    wrong = 0
    for row in rows:
        same = sum(
            text == peer["answers"][arm][case]
            for arm, answers in row["answers"].items()
            for case, text in answers.items()
        )
        total = sum(map(len, row["answers"].values()))
        wrong += total - same
        print(
            f"{row['engine']:<30} {row['open_s']:8.1f} {row['seconds']:8.1f} "
            f"{row['processor_s']:9.1f} {row['load']:5.1f}  {same} of {total}"
        )
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
