"""Parquet files, read as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunegate.harness.errors import MissingExtra, SuiteError


def read(path: Path) -> Any:
    """Return a parquet file's rows as a `pyarrow.Table`.

    Raises:
        SuiteError: the file is missing or broken.
        MissingExtra: pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException  # type: ignore[import-untyped]  # ships no types
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("a parquet file", "sources") from error
    if not path.is_file():
        raise SuiteError([f"{path}: no such file; paths start at the suite's folder"])
    try:
        with ParquetFile(path) as file:
            return file.read()
    except (ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise SuiteError([f"{path}: cannot be read ({reason}); download it again"]) from error
