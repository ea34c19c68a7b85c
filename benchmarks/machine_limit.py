"""How far prefill and decode are from what this machine can do.

    python -m benchmarks.machine_limit --model DIR

Measured are the rate of float32 matrix products of the model's own shapes, for as many rows as a
forward has tokens, and the bandwidth at which memory is read. The floor of a prefill is
2 × weights × tokens operations at that rate; of a decode, the bytes of the weights × steps at that
bandwidth, or its operations where they take longer. Attention, norms, sampling and Python are
beyond the floor.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks._forwards import Watch, watched

TRIES = 5
"""Measurements, of which the fastest counts."""
RUNS = 2
"""Generations of each shape, of which the faster one counts."""
STREAM = 512_000_000
"""Bytes that are read to measure the bandwidth: far more than any cache holds."""
COLUMNS = 4_000
"""Columns of the block that is read."""
IMPOSSIBLE = 0.9
"""Time under this share of the floor says that the floor is measured wrongly."""
Shape = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the machine was measured to do."""

    rates: Mapping[int, float]
    """Rows of a product → floating-point operations a second, over the model's shapes."""
    bandwidth: float
    """Bytes read a second."""


@dataclass(frozen=True, slots=True)
class Work:
    """A part of a generation, as the engine did it."""

    name: str
    tokens: int
    steps: int
    seconds: float
    floor: float
    bound: str
    """What the floor is made of."""


def main() -> int:
    """Print the measured limits, and the distance of prefill and decode to them."""
    options = _options()
    import torch

    from tunegate.harness.models.open_arms import open_arms

    arm: Any = open_arms({"base": options.model, "tuned": options.model}, dtype="float32")["base"]
    model = arm.loaded.torch_model
    layers, head = matrices(model)
    widths = sorted({1, *options.rows, *(r * options.prompt for r in options.rows)})
    with torch.inference_mode():
        rates = {n: _rate(n, layers) for n in widths}
        limits = Limits(rates, _bandwidth())
    for n, rate in limits.rates.items():
        print(f"products of {n:>5} rows by the model's matrices: {rate / 1e9:8.1f} GFLOP/s")
    print(f"memory is read at {limits.bandwidth / 1e9:.1f} GB/s\n")
    weights = (2 * size(layers), 2 * size([head]))
    found = [
        work for rows in options.rows for work in _measured(arm, rows, options, limits, weights)
    ]
    print(f"{'':<22} {'seconds':>8} {'tokens/s':>9} {'floor, s':>9} {'distance':>9}  bound by")
    for work in found:
        print(
            f"{work.name:<22} {work.seconds:8.2f} {work.tokens / work.seconds:9.0f} "
            f"{work.floor:9.2f} {work.seconds / work.floor:8.2f}×  {work.bound}"
        )
    broken = [work.name for work in found if work.seconds < IMPOSSIBLE * work.floor]
    verdict = f"FASTER THAN IT: {', '.join(broken)}" if broken else "none is under it"
    print(f"no target but the floor itself; {verdict}")
    return int(bool(broken))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder of a base model")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--prompt", type=int, default=128, help="tokens of each prompt")
    parser.add_argument("--new-tokens", type=int, default=32)
    return parser.parse_args()


def matrices(model: Any) -> tuple[list[Shape], Shape]:
    """Return the shapes of the matrices that every token passes, and that of the head.

    Embeddings are looked up, not multiplied: they count only where the head is tied to them.
    """
    head = model.get_output_embeddings()
    found = [
        tuple(module.weight.shape)
        for module in model.modules()
        if module is not head and _multiplies(module)
    ]
    return found, tuple(head.weight.shape)


def _multiplies(module: Any) -> bool:
    return type(module).__name__ in ("Linear", "Conv1D")  # GPT-2 calls its products Conv1D


def size(shapes: Sequence[Shape]) -> int:
    """Return how many weights matrices have."""
    return sum(rows * columns for rows, columns in shapes)


def _rate(rows: int, shapes: Sequence[Shape]) -> float:
    """Return operations a second of products of `rows` rows by the matrices, the fastest way."""
    import torch

    seconds = 0.0
    for (out, into), times in Counter(shapes).items():
        x, weight = torch.randn(rows, into), torch.randn(out, into)
        packed = _packed(weight, rows)
        ways = [lambda x=x, w=weight: torch.nn.functional.linear(x, w)]
        if packed is not None:
            ways.append(lambda x=x, p=packed: _product(x, p))
        seconds += times * min(fastest(way) for way in ways)
    return 2 * rows * size(shapes) / seconds


def _packed(weight: Any, rows: int) -> Any:
    """Return the matrix in oneDNN's own order, in which products are faster; None without it."""
    import torch

    try:
        return torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    except (AttributeError, RuntimeError):
        return None


def _product(x: Any, packed: Any) -> Any:
    import torch

    return torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")


def _bandwidth() -> float:
    """Return the bytes a second at which memory is read, by a sum or a matrix times a vector."""
    import torch

    block = torch.ones(STREAM // 4 // COLUMNS, COLUMNS)
    vector = torch.ones(COLUMNS)
    return STREAM / min(fastest(block.sum), fastest(lambda: torch.mv(block, vector)))


def fastest(work: Callable[[], Any], tries: int = TRIES) -> float:
    """Return the least seconds of some calls; the first one only warms up."""
    work()
    spent = []
    for _ in range(tries):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return min(spent)


def _measured(
    arm: Any, rows: int, options: argparse.Namespace, limits: Limits, weights: tuple[int, int]
) -> list[Work]:
    """Return what prefill and decode of `rows` prompts took in the engine, and their floors."""
    prefill, _ = _quickest(arm, rows, options.prompt, 1)
    whole, watch = _quickest(arm, rows, options.prompt, options.new_tokens)
    inner, head = weights
    tokens, steps = rows * options.prompt, watch.steps
    written = sum(forward.rows for forward in watch.seen if forward.tokens == 1)
    arithmetic = (inner + head) * written / limits.rates[rows]
    reading = 2 * (inner + head) * steps / limits.bandwidth  # 4 bytes a weight, 2 operations
    return [
        Work(
            f"prefill, {rows} × {options.prompt}",
            tokens,
            1,
            prefill,
            (inner * tokens + head * rows) / limits.rates[tokens],
            "arithmetic",
        ),
        Work(
            f"decode, {rows} wide",
            written,
            steps,
            whole - prefill,
            max(arithmetic, reading),
            "memory" if reading >= arithmetic else "arithmetic",
        ),
    ]


def _quickest(arm: Any, rows: int, prompt: int, new_tokens: int) -> tuple[float, Watch]:
    """Return the faster of some runs: what else the machine does must not count."""
    runs = [_answered(arm, rows, prompt, new_tokens) for _ in range(RUNS)]
    return min(runs, key=lambda run: run[0])


def _answered(arm: Any, rows: int, prompt: int, tokens: int) -> tuple[float, Watch]:
    """Return the seconds of the engine for answers of exactly so many tokens, and its forwards."""
    from tunegate.harness.engine.inference import local_engine

    asked = endless_requests(arm, rows, prompt, tokens)
    endless = Endless(arm)
    list(local_engine.complete_requests(endless, asked))
    with watched(arm.loaded.torch_model) as watch:
        start = time.perf_counter()
        list(local_engine.complete_requests(endless, asked))
        spent = time.perf_counter() - start
    return spent, watch


class Endless:
    """An arm of which no token ends an answer, so that each has the length asked for."""

    stop_ids: frozenset[int] = frozenset()

    def __init__(self, arm: Any) -> None:
        self._arm = arm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._arm, name)


def endless_requests(arm: Any, rows: int, prompt: int, tokens: int) -> list[Any]:
    """Return requests whose prompts share no beginning, so that each token must be computed."""
    from tunegate.harness.model import Prompt, Request
    from tunegate.harness.records.cases import Case, Cell, CellKind, GenerationSettings

    settings = GenerationSettings(template="none", max_new_tokens=tokens)
    vocabulary = len(arm.tokenizer)
    return [
        Request(
            cell=Cell(suite="", case=str(row), arm="", kind=CellKind.GENERATE, key=str(row)),
            case=Case(id=str(row), prompt="p"),
            prompt=Prompt(
                "p", tuple((997 * row + 31 * i + 100) % vocabulary for i in range(prompt))
            ),
            generation=settings,
            seed=0,
        )
        for row in range(rows)
    ]


if __name__ == "__main__":
    sys.exit(main())
