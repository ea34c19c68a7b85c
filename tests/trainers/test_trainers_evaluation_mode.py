"""A pause in a training that the training does not notice."""

from __future__ import annotations

import random

import numpy
import pytest

from tunegate.harness.engine.inference import packed_weights
from tunegate.trainers.evaluation_mode import evaluation_mode


def _draw() -> tuple[float, float, float]:
    import torch

    return random.random(), float(numpy.random.random()), float(torch.rand(()))  # noqa: NPY002


def test_random_numbers_go_on_where_they_were() -> None:
    """Python's, numpy's and torch's next numbers are those they would have been."""
    import torch

    _draw()
    with evaluation_mode(torch.nn.Linear(1, 1)):
        inside = _draw()

    assert inside == _draw()


def test_modes_and_gradients_come_back_even_after_a_failure() -> None:
    import torch

    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(1, 1))
    model.train()
    model[0].eval()
    model[1].bias.requires_grad_(False)

    def fail() -> None:
        with evaluation_mode(model):
            assert not any(module.training for module in model.modules())
            model.requires_grad_(True)
            model[1].weight.requires_grad_(False)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert [True, False, True] == [module.training for module in model.modules()]
    assert [True, False] == [p.requires_grad for p in model[1].parameters()]


def test_the_forward_of_mixed_precision_is_taken_off_and_put_on_again() -> None:
    import torch

    model = torch.nn.Linear(1, 1)
    own = model._original_forward = model.forward  # type: ignore[assignment]  # as accelerate does
    around = model.forward = lambda x: own(x) + 1000  # type: ignore[method-assign]

    with evaluation_mode(model):
        assert abs(float(model(torch.zeros(1)))) < 100

    assert model.forward is around


def test_precision_is_whole_inside_and_as_before_outside() -> None:
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with evaluation_mode(torch.nn.Linear(1, 1)):
            assert "highest" == torch.get_float32_matmul_precision()
        assert "medium" == torch.get_float32_matmul_precision()
    finally:
        torch.set_float32_matmul_precision(before)


def test_packed_matrices_are_gone_when_the_training_goes_on() -> None:
    """A fused optimizer changes weights without torch's count; no copy of before is left."""
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(512, 512))
    model.device = torch.device("cpu")  # type: ignore[assignment]  # as Transformers' models have it
    with evaluation_mode(model):
        with packed_weights.packed_weights(model):
            pass
        assert model[0] in packed_weights._copies

    assert model[0] not in packed_weights._copies
