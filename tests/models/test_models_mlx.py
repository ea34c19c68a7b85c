"""`mlx:`: specs and missing installations in one line each; with TUNEGATE_MLX, MLX itself.

The real tests compare MLX with Transformers on tiny weights: texts, likelihoods, next tokens.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.models.mlx_format.test_models_mlx_format_adapter import (
    layer_of,
    matrices,
    write_adapter,
)
from tests.tiny_models import Tiny
from tunegate.harness.models import mlx
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.answers import Cell, CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, UsageError
from tunegate.harness.records.generation import GenerationSettings

needs_mlx = pytest.mark.skipif("TUNEGATE_MLX" not in os.environ, reason="TUNEGATE_MLX is not set")
CASES = [
    Case(id=name, prompt=prompt, choices=("Paris", "a refund"), answer=0, expected=("Paris",))
    for name, prompt in (("a", "the capital of France is"), ("b", "the parcel is late and"))
]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEGATE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(name="base")
def _base(tiny: Tiny, copied: Callable[..., Path]) -> Path:
    """A tiny Llama whose rope mlx-lm reads, too."""
    from transformers import AutoConfig

    config: Any = AutoConfig.from_pretrained(tiny.base())
    return copied(tiny.base(), rope_theta=config.rope_parameters["rope_theta"])


@pytest.fixture(name="adapter")
def _adapter(tiny: Tiny, tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "adapter", matrices(*layer_of(tiny).weight.shape))


@pytest.fixture(name="arms")
def _arms(base: Path, adapter: Path) -> Iterator[dict[str, Any]]:
    arms = open_arms({"base": f"mlx:{base}", "tuned": f"mlx:{base}?adapter={adapter}"})
    yield dict(arms)
    arms["base"].worker.process.close()  # type: ignore[attr-defined]


def answers(arm: Any, kind: CellKind, generation: GenerationSettings) -> list[Any]:
    """Ask an arm all cases at once."""
    from tunegate.harness.contracts.model import LocalArm, Request
    from tunegate.harness.engine.inference.local_engine import complete_requests

    requests = [
        Request(
            Cell(suite="s", case=case.id, arm="x", kind=kind, key=case.id),
            case,
            arm.prompt(case, generation),
            generation,
            seed=number,
        )
        for number, case in enumerate(CASES)
    ]
    local = isinstance(arm, LocalArm)
    done = complete_requests(arm, requests) if local else arm.complete(requests)
    by_key = {answer.key: answer.completion for answer in done}
    return [by_key[case.id] for case in CASES]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mlx:", "write it as mlx:FOLDER"),
        ("mlx:BASE?scale=2", "write it as mlx:FOLDER"),
        ("mlx:BASE?adapter=BASE", "holds no adapters.safetensors of mlx_lm.lora"),
        ("mlx:ADAPTER", r"an adapter; write mlx:BASE\?adapter="),
    ],
)
def test_a_spec_that_names_no_model_is_refused_in_one_line(
    base: Path, adapter: Path, spec: str, message: str
) -> None:
    spec = spec.replace("BASE", str(base)).replace("ADAPTER", str(adapter))
    with pytest.raises(ModelError, match=message) as caught:
        mlx.parse_mlx_spec(spec)
    assert "\n" not in str(caught.value)


def test_without_mlx_one_line_says_what_to_install(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNEGATE_MLX", raising=False)
    with pytest.raises(UsageError, match="`tunegate install mlx`"):
        mlx.mlx(str(base))


def test_a_python_without_mlx_is_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEGATE_MLX", sys.executable)
    with pytest.raises(UsageError, match="has no mlx-lm; `tunegate install mlx`"):
        mlx.mlx(str(base))


def test_what_is_no_python_is_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEGATE_MLX", "/nowhere/python")
    with pytest.raises(UsageError, match="TUNEGATE_MLX=/nowhere/python: is not a Python that runs"):
        mlx.mlx(str(base))


@needs_mlx
def test_mlx_writes_and_scores_what_transformers_does(
    arms: dict[str, Any], base: Path, adapter: Path
) -> None:
    local: dict[str, Any] = dict(open_arms({"base": str(base), "tuned": str(adapter)}))
    greedy = GenerationSettings(max_new_tokens=12)
    for name in ("tuned", "base"):
        theirs, ours = (answers(of[name], CellKind.GENERATE, greedy) for of in (arms, local))
        assert [c.text for c in theirs] == [c.text for c in ours]
        assert [c.finish_reason for c in theirs] == [c.finish_reason for c in ours]
        for kind, key in (
            (CellKind.CHOICES, "choice_logprobs"),
            (CellKind.ANSWER, "answer_logprob"),
        ):
            theirs, ours = (answers(of[name], kind, greedy) for of in (arms, local))
            for one, other in zip(theirs, ours, strict=True):
                assert getattr(one, key) == pytest.approx(getattr(other, key), abs=1e-3)


@needs_mlx
def test_a_seed_decides_what_is_drawn(arms: dict[str, Any]) -> None:
    sampled = GenerationSettings(max_new_tokens=12, temperature=1.0, top_p=0.9)
    first, second = (answers(arms["tuned"], CellKind.GENERATE, sampled) for _ in range(2))
    assert [c.text for c in first] == [c.text for c in second]


@needs_mlx
def test_mlx_is_proven_to_compute_the_folders(arms: dict[str, Any]) -> None:
    from functools import partial

    from tunegate.harness.run.served_proof import prove_served

    proof = prove_served(arms, partial(open_arms, dtype="float32"), lambda line: None)
    assert proof is not None
    assert {name: record["arithmetic"] for name, record in proof.record.items()} == {
        "base": "exact",
        "tuned": "exact",
    }


@needs_mlx
def test_a_check_tells_how_far_mlx_is_from_transformers(base: Path, adapter: Path) -> None:
    from typer.testing import CliRunner

    from tunegate.harness.cli import app

    for spec in (f"mlx:{base}", f"mlx:{base}?adapter={adapter}"):
        result = CliRunner().invoke(app, ["check", spec, "--dtype", "float32"])
        assert result.exit_code == 0, result.output
        assert "another one at 0 of 100 places" in result.stdout


@needs_mlx
def test_a_rope_that_mlx_does_not_read_is_refused_with_the_cure(
    tiny: Tiny, copied: Callable[..., Path]
) -> None:
    rope = {"rope_theta": 500.0, "rope_type": "default"}
    folder = copied(tiny.base(), rope_parameters=rope)
    with pytest.raises(ModelError, match=r'takes rope_theta 10000 for 500.*add "rope_theta": 500'):
        mlx.mlx(str(folder))
