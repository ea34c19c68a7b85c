"""What packed matrices save on a CPU: `python -m benchmarks.packed_weights --tuned ADAPTER`.

The same batches are answered by the engine with the model's matrices in their usual order, and
packed, in turns; answers have exactly the tokens asked for. Printed are the processor's seconds,
the fewest of some turns, and those that packing took. The exit code is 1 if a text differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

TURNS = 2
BATCHES = ((8, 32, 1), (8, 32, 32), (8, 32, 64), (32, 128, 1), (32, 128, 32))
"""Rows, tokens of each prompt, tokens of each answer."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print a row for each arm and batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="default: the base that the adapter names")
    parser.add_argument("--tuned", required=True, help="folder of an adapter")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    import torch

    from tunegate.harness.models.open_arms import open_arms

    torch.set_num_threads(options.threads)
    given = {"base": options.base, "tuned": options.tuned}
    arms: dict[str, Any] = open_arms(given, dtype="float32")
    print(f"packing: {_packing(arms['base'].loaded.torch_model):.2f} s of a processor, once")
    print(f"{'arm':<6} {'rows':>4} {'prompt':>6} {'answer':>6} {'usual':>7} {'packed':>7}  less")
    equal = True
    for name, arm in arms.items():
        for rows, prompt, tokens in BATCHES:
            (usual, packed), same = _compared(Endless(arm), rows, prompt, tokens)
            equal = equal and same
            print(
                f"{name:<6} {rows:>4} {prompt:>6} {tokens:>6} {usual:7.2f} {packed:7.2f}"
                f"  {1 - packed / usual:4.0%}",
                flush=True,
            )
    print("answers equal: " + ("all" if equal else "NOT ALL"))
    return int(not equal)


def _packing(model: Any) -> float:
    from tunegate.harness.engine.inference.packed_weights import packed_weights

    start = time.process_time()
    with packed_weights(model):
        return time.process_time() - start


def _compared(arm: Any, rows: int, prompt: int, tokens: int) -> tuple[tuple[float, float], bool]:
    """Return the fewest seconds without packed matrices and with, and whether the texts agree."""
    from tunegate.harness.engine.inference import packed_weights

    room, model = packed_weights.PACKED_BYTES, arm.loaded.torch_model
    usual: list[float] = []
    packed: list[float] = []
    texts: list[Any] = []
    for _ in range(TURNS):
        packed_weights.release_copies(model)
        packed_weights.PACKED_BYTES = 0
        try:
            usual.append(_timed(arm, rows, prompt, tokens, texts))
        finally:
            packed_weights.PACKED_BYTES = room
        _packing(model)
        packed.append(_timed(arm, rows, prompt, tokens, texts))
    return (min(usual), min(packed)), all(text == texts[0] for text in texts)


def _timed(arm: Any, rows: int, prompt: int, tokens: int, texts: list[Any]) -> float:
    """Return the processor's seconds of one batch, and add its answers to the texts."""
    from tunegate.harness.engine.inference import local_engine

    asked = endless_requests(arm, rows, prompt, tokens)
    start = time.process_time()
    answers = list(local_engine.complete_requests(arm, asked))
    spent = time.process_time() - start
    texts.append(sorted((a.key, a.completion and a.completion.text) for a in answers))
    return spent


class Endless:
    """An arm whose answers no token ends, so that each has the length asked for."""

    stop_ids: frozenset[int] = frozenset()

    def __init__(self, arm: Any) -> None:
        self._arm = arm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._arm, name)


def endless_requests(arm: Any, rows: int, prompt: int, tokens: int) -> list[Any]:
    """Return requests whose prompts share no beginning, so that each token must be computed."""
    from tunegate.harness.contracts.model import Prompt, Request
    from tunegate.harness.records.answers import Cell, CellKind
    from tunegate.harness.records.cases import Case
    from tunegate.harness.records.generation import GenerationSettings

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
