"""Quiet libraries: their log messages, progress bars and defaults."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def quiet_libraries(*loggers: str, level: int = logging.ERROR) -> Iterator[None]:
    """Hide log messages and progress bars of libraries, and show them again afterwards.

    Transformers and datasets are always included if they are loaded.

    Args:
        loggers: Names of further loggers.
        level: Messages of `loggers` below this level are hidden.
    """
    with ExitStack() as undo:
        for name in loggers:
            logger = logging.getLogger(name)
            undo.callback(logger.setLevel, logger.level)
            logger.setLevel(level)
        if "transformers" in sys.modules:
            talk: Any = import_module("transformers.utils.logging")
            undo.callback(talk.set_verbosity, talk.get_verbosity())
            talk.set_verbosity_error()
            if talk.is_progress_bar_enabled():
                undo.callback(talk.enable_progress_bar)
            talk.disable_progress_bar()
        if "datasets" in sys.modules:
            datasets: Any = sys.modules["datasets"]
            if datasets.is_progress_bar_enabled():
                undo.callback(datasets.enable_progress_bars)
            datasets.disable_progress_bars()
        yield


@contextmanager
def default_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set the environment variables that the user has not set, and remove them afterwards."""
    added = [name for name in values if name not in os.environ]
    os.environ.update({name: values[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
