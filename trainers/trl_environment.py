"""Environment for TRL: quiet libraries, precision, and failures in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from tunegate.harness.contracts.quiet import quiet_libraries
from tunegate.harness.records.errors import (
    BackendError,
    ModelError,
    RewardFailed,
    RunInterrupted,
    TunegateError,
    UsageError,
    error_reason,
)
from tunegate.trainers.arguments import TrainingConfig, quiet_warnings
from tunegate.trainers.checkpoints import resume_advice

_NOISY = (
    "torch.distributed.elastic.multiprocessing.redirects",
    "trl.trainer.grpo_trainer",  # prints whole rows that no reward could score; we count them
)
_BARS = "TQDM_DISABLE"
_OPTION = "Unknown loss type"
"""Start of TRL's message on an option that it only checks at the first step."""
_DISK = ("No space left", "(os error")
"""Errors of safetensors and Arrow."""
_NO_DRIVER = "0 active drivers"
"""Triton's message on a machine without a GPU; TRL 1.15 calls it anyway."""
_CPU_OUT_OF_MEMORY = ("DefaultCPUAllocator", "not enough memory")


@contextmanager
def quiet_training() -> Iterator[None]:
    """Hide the libraries' progress bars and chatter; errors are still shown."""
    for library in ("transformers", "datasets"):  # loaded first, so that they can be silenced
        import_module(library)
    with quiet_warnings(), quiet_libraries(*_NOISY), _hide_bars():
        yield


@contextmanager
def _hide_bars() -> Iterator[None]:
    """Hide the bars that TRL shows itself."""
    before = os.environ.get(_BARS)
    os.environ[_BARS] = "1"
    try:
        yield
    finally:
        os.environ.pop(_BARS)
        if before is not None:
            os.environ[_BARS] = before


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Set torch's precision of float32 products, and set it back: the gate needs it whole."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def logits_of_completions() -> Iterator[None]:
    """Have TRL compute logits on a CPU only where a token is learned, as it does on a GPU.

    Without Triton, TRL 1.16 computes those of prompts and padding too and discards them, so that
    accelerators that compile every shape see one shape. A CPU compiles nothing.
    """
    from trl.trainer import utils

    name = "_use_triton"  # what the loss asks to choose the positions; its kernels ask their own
    before = getattr(utils, name, None)
    if before is None:  # other versions of TRL leave those positions out
        yield
        return
    setattr(utils, name, lambda device: device.type == "cpu" or before(device))
    try:
        yield
    finally:
        setattr(utils, name, before)


@contextmanager
def explain_failures(config: TrainingConfig) -> Iterator[None]:
    """Turn out-of-memory, a full disk, a failed reward and Ctrl-C into errors with a remedy."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise RunInterrupted(f"training stopped; {resume_advice(config.training)}") from error
    except TunegateError:
        raise
    except Exception as error:
        if failure := _known_failure(error, config):
            raise failure from error
        raise


def _known_failure(error: Exception, config: TrainingConfig) -> TunegateError | None:
    """Return our error for a failure that is not a defect, None for one that is."""
    if isinstance(error, RewardFailed):
        return TunegateError(f"{error}; {resume_advice(config.training)}")
    if _is_out_of_memory(error):
        return BackendError(_too_big(config))
    first = error_reason(error)
    of_the_system = isinstance(error, OSError) and error.errno is not None
    if of_the_system or any(part in first for part in _DISK):
        return BackendError(
            f"{config.training.output_dir}: {first}; {resume_advice(config.training)}"
        )
    if isinstance(error, RuntimeError) and _NO_DRIVER in first:
        return BackendError(
            "the installed TRL computes its loss with Triton, which finds no GPU here, as TRL "
            "1.15 does; install another, such as 1.14.2 or 1.16"
        )
    if isinstance(error, ValueError) and first.startswith(_OPTION):
        return UsageError(f"TRL cannot train with these options: {first}")
    if isinstance(error, OSError):  # Transformers': a file of the model is missing or unreadable
        return ModelError(f"{config.model.model_name_or_path}: {first}")
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(part in str(error) for part in _CPU_OUT_OF_MEMORY)


def _too_big(config: TrainingConfig) -> str:
    args = config.training
    name = "max_length" if hasattr(args, "max_length") else "max_completion_length"
    length = f"{name}={getattr(args, name, None)}"
    newer = hasattr(args, "activation_checkpointing")
    checkpointing = "activation_checkpointing" if newer else "gradient_checkpointing"
    return (
        f"out of memory with per_device_train_batch_size={args.per_device_train_batch_size}, "
        f"{length}; halve the batch size and double "
        f"gradient_accumulation_steps, or set --{checkpointing}"
    )
