"""How far llama.cpp is from the same file unpacked: `python -m benchmarks.gguf_engines FILE`.

Both engines write greedily after the production prompts, and both score what the unpacked file
wrote. What differs is llama.cpp's arithmetic, since weights, prompts and tokens are the same.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._prompts import prompts_suite
from tunegate.harness.model import Request
from tunegate.harness.records.cases import Case, Cell, CellKind, Completion, GenerationSettings


@dataclass(frozen=True, slots=True)
class Apart:
    """How far two engines are apart on the same questions."""

    texts: int
    same: int
    """Texts that are equal to the last character."""
    mean: float
    largest: float
    """Nats a token by which the likelihood of a text differs."""


def main() -> None:
    """Print how far the engines are apart."""
    options = _options()
    from tunegate.harness.models.gguf import gguf

    started = time.process_time()
    unpacked: Any = gguf(options.file)
    seconds = time.process_time() - started
    native: Any = gguf(f"{options.file}?engine=llama.cpp")
    with tempfile.TemporaryDirectory() as place:
        suite = prompts_suite(Path(place), options.prompts, options.new_tokens)
    cases = list(suite.cases)
    texts = [_asked(arm, CellKind.GENERATE, cases, suite.generation) for arm in (unpacked, native)]
    scored = [
        case.model_copy(update={"expected": (text.text,)})
        for case, text in zip(cases, texts[0], strict=True)
        if text.text
    ]
    sums = [_asked(arm, CellKind.ANSWER, scored, suite.generation) for arm in (unpacked, native)]
    found = apart(texts, sums)
    print(f"{native.identity['engine']}, {unpacked.identity['stored']}")
    print(f"unpacked in {seconds:.0f} s of a processor, libraries among them")
    print(f"{found.same} of {found.texts} greedy texts of {options.new_tokens} tokens are equal")
    print(f"likelihood of a text: {found.mean:.4f} nats a token apart, at most {found.largest:.4f}")


def apart(texts: Sequence[Sequence[Completion]], scores: Sequence[Sequence[Completion]]) -> Apart:
    """Return how far two engines' texts and scores are apart."""
    same = sum(a.text == b.text for a, b in zip(*texts, strict=True))
    moved = [
        abs((a.answer_logprob or 0.0) - (b.answer_logprob or 0.0))
        for a, b in zip(*scores, strict=True)
    ]
    return Apart(len(texts[0]), same, sum(moved) / len(moved), max(moved))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="a GGUF file")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=32)
    return parser.parse_args()


def _asked(
    arm: Any, kind: CellKind, cases: Sequence[Case], settings: GenerationSettings
) -> list[Completion]:
    """Return an arm's completions in the order of the cases."""
    from tunegate.harness.engine.inference import local_engine
    from tunegate.harness.model import LocalArm

    requests = [
        Request(
            Cell(suite="", case=case.id, arm="", kind=kind, key=case.id),
            case,
            arm.prompt(case, settings),
            settings,
            seed=0,
        )
        for case in cases
    ]
    here = isinstance(arm, LocalArm)
    answers = local_engine.complete_requests(arm, requests) if here else arm.complete(requests)
    found = {answer.key: answer.completion for answer in answers}
    return [found[case.id] or Completion() for case in cases]


if __name__ == "__main__":
    main()
