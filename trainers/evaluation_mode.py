"""A model in training, put into evaluation mode and back without a trace.

Afterwards the random numbers, the modes of all modules, which weights have gradients, the wrapper
of mixed precision and torch's precision are what they were: the next step is the same, bit for bit.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tunegate.harness.contracts.quiet import quiet_libraries
from tunegate.harness.engine.inference.packed_weights import release_copies
from tunegate.trainers import trl_environment


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Put the model into evaluation mode and full precision; put everything back afterwards."""
    with ExitStack() as undo:
        for put_back in (*_random_numbers(), *_modes(model), *_gradients(model)):
            undo.callback(put_back)
        # Answers are stored for other runs, which compute in full precision as well.
        undo.enter_context(trl_environment.matmul_precision("highest"))
        undo.enter_context(_disable_autocast(model))
        undo.enter_context(quiet_libraries())
        undo.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        undo.callback(release_copies, model)  # the weights change, unseen by torch's count
        model.eval()
        yield


def _random_numbers() -> Iterator[Callable[[], Any]]:
    """Yield what sets each generator back: Python's, numpy's, torch's on every device."""
    import numpy
    import torch

    cuda: Any = torch.cuda
    yield _defer_call(random.setstate, random.getstate())
    yield _defer_call(numpy.random.set_state, numpy.random.get_state())  # noqa: NPY002  # the libraries'
    yield _defer_call(torch.set_rng_state, torch.get_rng_state())
    if cuda.is_available() and cuda.is_initialized():
        yield _defer_call(cuda.set_rng_state_all, cuda.get_rng_state_all())
    if torch.backends.mps.is_available():
        yield _defer_call(torch.mps.set_rng_state, torch.mps.get_rng_state())


def _modes(model: Any) -> Iterator[Callable[[], Any]]:
    """Yield what sets each module's mode back; some may be frozen in evaluation mode."""
    for module in model.modules():
        yield _defer_call(setattr, module, "training", module.training)


def _gradients(model: Any) -> Iterator[Callable[[], Any]]:
    """Yield what sets `requires_grad` back, which PEFT changes as it switches adapters."""
    for parameter in model.parameters():
        yield _defer_call(parameter.requires_grad_, parameter.requires_grad)


@contextmanager
def _disable_autocast(model: Any) -> Iterator[None]:
    """Take off the forward that accelerate put around the model's own for mixed precision."""
    around = vars(model).get("forward")
    original = vars(model).get("_original_forward")
    if around is None or original is None:
        yield
        return
    model.forward = original
    try:
        yield
    finally:
        model.forward = around


def _defer_call(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: function(*arguments)
