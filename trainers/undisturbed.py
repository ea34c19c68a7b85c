"""A pause in a training that the training does not notice.

Within the block the model may be asked anything that does not write to its weights. Afterwards the
random numbers, the modes of all modules, which weights have gradients, the wrapper of mixed
precision and torch's precision are what they were: the next step is, bit for bit, the one that it
would have been.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from trainers import libraries


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Put the model into evaluation mode and full precision; put everything back afterwards.

    Args:
        model: The model that is trained, without the wrapper of several processes.
    """
    with ExitStack() as undo:
        for put_back in (*_random_numbers(), *_modes(model), *_gradients(model)):
            undo.callback(put_back)
        # Answers are stored for other runs, which compute in full precision as well.
        undo.enter_context(libraries.precision("highest"))
        undo.enter_context(_without_autocast(model))
        undo.enter_context(_quiet())
        model.eval()
        yield


def _random_numbers() -> Iterator[Callable[[], Any]]:
    """Yield what sets each generator back: Python's, numpy's, torch's on every device."""
    import numpy
    import torch

    cuda: Any = torch.cuda
    yield _later(random.setstate, random.getstate())
    yield _later(numpy.random.set_state, numpy.random.get_state())  # noqa: NPY002  # the libraries'
    yield _later(torch.set_rng_state, torch.get_rng_state())
    if cuda.is_available() and cuda.is_initialized():
        yield _later(cuda.set_rng_state_all, cuda.get_rng_state_all())
    if torch.backends.mps.is_available():
        yield _later(torch.mps.set_rng_state, torch.mps.get_rng_state())


def _modes(model: Any) -> Iterator[Callable[[], Any]]:
    """Yield what sets each module's mode back; some may be frozen in evaluation mode."""
    for module in model.modules():
        yield _later(setattr, module, "training", module.training)


def _gradients(model: Any) -> Iterator[Callable[[], Any]]:
    """Yield what sets `requires_grad` back, which PEFT changes as it switches adapters."""
    for parameter in model.parameters():
        yield _later(parameter.requires_grad_, parameter.requires_grad)


@contextmanager
def _without_autocast(model: Any) -> Iterator[None]:
    """Take off the forward that accelerate put around the model's own for mixed precision."""
    around = vars(model).get("forward")
    own = vars(model).get("_original_forward")
    if around is None or own is None:
        yield
        return
    model.forward = own
    try:
        yield
    finally:
        model.forward = around


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the libraries, and let them talk as before afterwards."""
    from transformers.utils import logging

    talk: Any = logging
    verbosity, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        talk.set_verbosity(verbosity)
        (talk.enable_progress_bar if bars else talk.disable_progress_bar)()


def _later(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: function(*arguments)
