"""The engine's benchmarks: their arithmetic on small numbers, their hooks on a tiny model."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import growth, kept_answers, machine_limit, memory, overhead, packed_weights
from benchmarks._apart import Measured, apart, peak_memory
from benchmarks._forwards import Forward, watched
from benchmarks._prompts import prompts_suite
from tests.tiny_models import Tiny, muted
from tunegate.harness.models import open_arms
from tunegate.harness.pipeline.run import EvaluationRun
from tunegate.harness.records.files import write_atomic


@pytest.fixture(name="models", scope="module")
def _models(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(tmp_path_factory.mktemp("tiny"))


def points(*found: tuple[int, float, int]) -> list[tuple[int, Measured]]:
    """Sizes with their seconds and peaks."""
    return [(size, Measured(seconds, peak)) for size, seconds, peak in found]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(10.0, 1.0), (100.0, 2.0), (1.0, 0.0), (math.sqrt(10), 0.5)],
)
def test_the_power_of_growth(seconds: float, expected: float) -> None:
    """10 times the seconds for 10 times the work is power 1, 100 times 2; small ones are out."""
    found = points((1, 77.0, 1), (100, 1.0, 1), (1000, seconds, 1))

    assert growth.exponent(found) == pytest.approx(expected)


def test_memory_is_told_for_ten_times_the_work() -> None:
    """Doubled over a hundredfold is the square root of 2 over tenfold; equal is 1."""
    assert growth.widening(points((1, 1, 100), (100, 1, 200))) == pytest.approx(math.sqrt(2))
    assert growth.widening(points((1, 1, 100), (10, 1, 100))) == 1


def test_growth_can_fail(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Quadratic seconds are said to be too steep, and the exit code is 1."""
    spent = {100: 1.0, 1000: 100.0}
    monkeypatch.setattr(growth, "apart", lambda function, n: Measured(spent[n], 1))
    monkeypatch.setattr(sys, "argv", ["growth", "--scripted", "100", "1000"])

    assert growth.main() == 1
    assert "TOO STEEP" in capsys.readouterr().out
    spent[1000] = 10.0
    assert growth.main() == 0


def test_memory_can_fail(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A pair of 1.2 times base is a miss, one of 1.1 times is not."""
    monkeypatch.setattr(sys, "argv", ["memory", "--tuned", "t", "--base", "b"])
    for pair, code in ((120, 1), (110, 0)):
        peaks = iter((100, pair))
        monkeypatch.setattr(memory, "apart", lambda *_, p=peaks: Measured(1.0, next(p)))
        assert memory.main() == code
    assert "1.200" in capsys.readouterr().out


def test_the_rest_is_everything_outside_the_forwards() -> None:
    """10 s of a run, 8 of them forwards, and 1 s of report: 3 s are 3/8 of the forwards."""
    spent = overhead.Spent(forwards=5, in_forwards=8.0, in_run=10.0, in_report=1.0)

    assert (spent.rest, spent.share) == (3.0, 0.375)


def test_a_refused_run_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Two of 16 answers: one line says so and why, and there are no numbers to misread."""
    import torch

    model = SimpleNamespace(torch_model=torch.nn.Linear(1, 1))
    arm = SimpleNamespace(loaded=model, spec="m")
    refused = SimpleNamespace(sentence="the rows hold\nthe prompts")

    def run(self: EvaluationRun) -> Any:
        cell = {"suite": "s", "case": "c", "arm": "base", "kind": "generate", "key": "k"}
        line = json.dumps({"cell": cell, "status": "ok", "completion": {"text": "a"}})
        write_atomic(self.folder / "cells.jsonl", f"{line}\n{line}\n")
        return refused

    monkeypatch.setattr(EvaluationRun, "run", run)
    monkeypatch.setattr(open_arms, "open_arms", lambda *_, **__: {"base": arm, "tuned": arm})
    monkeypatch.setattr(sys, "argv", ["overhead", "--tuned", "t", "--base", "b"])

    assert overhead.main() == 2
    told = capsys.readouterr()
    assert told.err == "error: 2 of 16 answers were given: the rows hold the prompts\n"
    assert "forwards" not in told.out


def test_a_process_of_its_own() -> None:
    """What a function holds is in its own peak, not in ours; its own seconds are believed."""
    small, large = (apart(_holding, size) for size in (1_000, 200_000_000))

    assert large.peak - small.peak > 150_000_000
    assert small.seconds == 12.5


def _holding(size: int) -> float:
    block = bytearray(b"x") * size
    return 12.5 if block else 0.0


def test_peak_memory_is_read_from_linux(tmp_path: Path) -> None:
    """VmHWM is in KiB; without the file the operating system's own count is taken."""
    status = tmp_path / "status"
    status.write_text("Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t    2048 kB\n", encoding="ascii")

    assert peak_memory(status) == 2048 * 1024
    assert peak_memory(tmp_path / "none") > 1_000_000


def test_prompts_are_as_many_as_asked_and_share_a_prefix(tmp_path: Path) -> None:
    suite = prompts_suite(tmp_path, 300, 7, prefix=30)
    prompts = [case.prompt for case in suite.cases]

    assert len(set(prompts)) == len(prompts) == 300
    assert suite.generation.max_new_tokens == 7
    assert suite.generation.system is not None
    assert len(suite.generation.system.split()) == 30
    assert prompts_suite(tmp_path / "bare", 3, 7).generation.system is None


def test_each_forward_is_seen_once(models: Tiny) -> None:
    """A forward of a model is one, whatever it calls inside; so is one of its backbone alone."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(models.base())
    with watched(model) as watch, torch.inference_mode():
        model(input_ids=torch.zeros((2, 3), dtype=torch.long))
        model.model(input_ids=torch.zeros((4, 1), dtype=torch.long))
    model(input_ids=torch.zeros((1, 1), dtype=torch.long))

    assert [(f.rows, f.tokens) for f in watch.seen] == [(2, 3), (4, 1)]
    assert watch.steps == 1
    assert watch.seconds == pytest.approx(sum(f.seconds for f in watch.seen))
    assert all(isinstance(f, Forward) and f.seconds > 0 for f in watch.seen)


def test_an_adapters_forwards_are_seen(models: Tiny) -> None:
    import torch

    from tunegate.harness.models.open_arms import open_arms

    with muted():
        arms: Any = open_arms({"base": None, "tuned": str(models.adapter())})
    ids = torch.zeros((1, 2), dtype=torch.long)
    with watched(arms["base"].loaded.torch_model) as watch, torch.inference_mode():
        for arm in arms.values():
            with arm.active() as model:
                model(input_ids=ids)

    assert [(f.rows, f.tokens) for f in watch.seen] == [(1, 2)] * 2


def test_the_weights_that_a_token_meets(models: Tiny) -> None:
    """Two layers of llama: attention 32 × (32 + 16 + 16 + 32), three of 32 × 48; the head apart.

    2 × (32 × 96 + 3 × 32 × 48) = 2 × (3,072 + 4,608) = 15,360; the head is 320 × 32 = 10,240.
    """
    from transformers import AutoModelForCausalLM

    for architecture in ("llama", "phi3"):  # phi3 fuses the same matrices
        model = AutoModelForCausalLM.from_pretrained(models.base(architecture))
        layers, head = machine_limit.matrices(model)
        assert machine_limit.size(layers) == 15_360
        assert head == (320, 32)


def test_prefill_and_decode_of_a_tiny_model(models: Tiny, monkeypatch: Any, capsys: Any) -> None:
    """The table has a line for each; no token ends an answer, so the counts are those asked for."""
    options = ["--rows", "2", "--prompt", "6", "--new-tokens", "5"]
    monkeypatch.setattr(sys, "argv", ["machine_limit", "--model", str(models.base()), *options])
    monkeypatch.setattr(machine_limit, "STREAM", 4_000_000)
    monkeypatch.setattr(machine_limit, "IMPOSSIBLE", 0.0)

    assert machine_limit.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:22].strip() for line in lines if "×  " in line] == [
        "prefill, 2 × 6",
        "decode, 2 wide",
    ]


def test_packed_and_usual_matrices_in_turns(models: Tiny, monkeypatch: Any, capsys: Any) -> None:
    """A line for each arm and batch; the engine's bound of memory is what it was afterwards."""
    from tunegate.harness.engine.inference import packed_weights as engine

    monkeypatch.setattr(engine, "SMALLEST", 200)
    monkeypatch.setattr(packed_weights, "BATCHES", ((2, 6, 3), (3, 4, 2)))
    before = engine.PACKED_BYTES

    given = ["--base", str(models.base()), "--tuned", str(models.adapter())]
    assert packed_weights.main(given) == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:4] for line in lines if line[0] in ("base", "tuned")] == [
        [arm, *batch] for arm in ("base", "tuned") for batch in (["2", "6", "3"], ["3", "4", "2"])
    ]
    assert engine.PACKED_BYTES == before


def test_what_a_run_costs_in_decoded_answers() -> None:
    """100 answers took 6,400 rows and 9,000 tokens: 640 rows are 10 answers, 4,500 tokens 50."""
    plain = kept_answers.Cost(forwards=64, rows=6_400, tokens=9_000, seconds=8.0)
    cost = kept_answers.Cost(forwards=32, rows=640, tokens=4_500, seconds=2.0)

    assert cost.decoded_answers(plain, 100) == {
        "forwards": 50.0,
        "rows": 10.0,
        "tokens": 50.0,
        "seconds": 25.0,
    }


def test_an_answer_that_stays_costs_one_row(monkeypatch: Any, capsys: Any) -> None:
    """With base for tuned each of 12 answers is one row of a prefill, not 17 of a decode.

    An answer of 17 tokens takes 17 forwards, the prompt's among them; the last token is not fed.
    """
    monkeypatch.setattr(kept_answers, "PROBED", 4)
    options = ["--cases", "12", "--new-tokens", "17", "--kept", "1"]
    monkeypatch.setattr(sys, "argv", ["kept_answers", *options])
    with muted():
        assert kept_answers.main() == 0

    lines = capsys.readouterr().out.splitlines()
    assert next(line.split() for line in lines if line.startswith("rows"))[1:] == ["204", "12", "1"]


@pytest.mark.parametrize(
    ("rows", "text", "code"), [(600, "same", 0), (601, "same", 1), (600, "other", 1)]
)
def test_kept_answers_can_fail(monkeypatch: Any, rows: int, text: str, code: int) -> None:
    """More rows than 600 of 3,100 answers have is a miss, and so is an answer that differs."""
    found = {
        False: ({"base": {}, "tuned": {"a": "same"}}, kept_answers.Cost(1, 3_100, 1, 1.0)),
        True: ({"base": {}, "tuned": {"a": text}}, kept_answers.Cost(1, rows, 1, 1.0)),
    }
    monkeypatch.setattr(kept_answers, "opened_arms", lambda folder: {})
    monkeypatch.setattr(kept_answers, "set_strength", lambda *_: None)
    monkeypatch.setattr(kept_answers, "second_candidate", lambda *_, drafts: found[drafts])
    monkeypatch.setattr(sys, "argv", ["kept_answers"])

    assert kept_answers.main() == code
