"""An engine beside Transformers: equal, rounded, and with one token exchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import ModelError
from tunegate.harness.run.engine_look import EngineDifference, measure_engine
from tunegate.harness.run.quick_look import everyday_prompts


@dataclass
class Engine:
    """Computes what the model does, until it is told otherwise."""

    model: Any
    likeliest: int = 20
    shift: float = 0.0
    """Added to the logit of the likeliest token."""
    swapped: int = 0
    """Tokens of an answer before the one whose probability the second likeliest gets."""
    address: str = "engine"
    rounds: bool = False
    weights_spec: str | None = None
    asked: list[Sequence[int]] = field(default_factory=list)

    @property
    def tokenizer(self) -> Any:
        return self.model.tokenizer

    def prompt(self, case: Any, generation: Any) -> Any:
        return self.model.prompt(case, generation)

    def next_logprobs(
        self, prefixes: Sequence[Sequence[int]]
    ) -> tuple[Mapping[int, float], ...] | None:
        import torch

        if not self.likeliest:
            return None
        self.asked += prefixes
        reported = []
        for place, prefix in enumerate(prefixes):
            with self.model.active() as model, torch.inference_mode():
                row = model(input_ids=torch.tensor([list(prefix)])).logits[0, -1]
            row = row.double().clone()
            first, second = row.topk(2).indices.tolist()
            if self.swapped and place == self.swapped:
                row[[first, second]] = row[[second, first]]
            row[first] += self.shift
            top = row.log_softmax(dim=-1).topk(self.likeliest)
            reported.append(dict(zip(top.indices.tolist(), top.values.tolist(), strict=True)))
        return tuple(reported)


@pytest.fixture(name="model")
def _model(tiny: Any) -> Any:
    return open_arms({"base": str(tiny.base()), "tuned": str(tiny.adapter())}, dtype="float32")[
        "tuned"
    ]


def measure(engine: Engine) -> EngineDifference:
    template = bool(engine.tokenizer.chat_template)
    return measure_engine(engine, engine.model, everyday_prompts(template=template))


def test_an_engine_that_computes_the_weights_does_not_differ(model: Any) -> None:
    found = measure(engine := Engine(model))

    assert found.places == len(engine.asked) == 100
    assert found.divergence == pytest.approx(0, abs=1e-6)
    assert (found.changed, found.first) == (0, None)


def test_a_token_exchanged_is_found_with_its_place(model: Any) -> None:
    found = measure(Engine(model, swapped=3))

    assert found.changed >= 10
    assert found.first is not None
    assert found.first.place == 4
    assert found.first.expected != found.first.found
    assert 0 < found.divergence < found.largest


def test_other_probabilities_are_told_in_nats(model: Any) -> None:
    found = measure(Engine(model, shift=0.5))

    assert found.changed == 0
    assert 0 < found.divergence <= found.largest


def test_an_engine_without_probabilities_is_named(model: Any) -> None:
    with pytest.raises(ModelError, match="engine: reports no log-probabilities"):
        measure(Engine(model, likeliest=0))
