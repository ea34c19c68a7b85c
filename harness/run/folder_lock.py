"""Folder lock: a run folder belongs to one session at a time; `holder.json` names the holder.

xdist's workers are one session: each waits for its turn, and all but the first learn from
`holder.json` that the run is finished, and how it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from tunegate.harness.records.errors import (
    BackendError,
    NotComparable,
    RunInterrupted,
    TunegateError,
    UsageError,
    refuse_unwritable,
)

_WAIT_S = 0.5
"""Time between two tries."""


class FolderLock:
    """A context in which this process owns a run folder."""

    def __init__(self, folder: Path, *, shared_by: str | None = None) -> None:
        """Prepare the lock.

        `shared_by` names a pytest session, whose processes wait for each other.
        """
        self.folder = folder
        self.session = shared_by or uuid.uuid4().hex
        self.shared = shared_by is not None
        self.done = False
        """Whether this session has finished the run already."""
        self.error: TunegateError | None = None
        """How it failed, if it did."""
        self._holder = folder / "holder.json"
        self._lock = FileLock(folder / "lock")
        self._is_new = False

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            UsageError: another session holds it, or the folder cannot be written.
        """
        with refuse_unwritable(self.folder, "choose another place with --gate-run-dir DIR"):
            self._is_new = not self.folder.exists()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._take()
            self._recall()
            self._note(done=self.done)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the folder; remove it if nothing was written to it."""
        if self.shared and (error is None or isinstance(error, TunegateError)):
            self.error = self.error or (error if isinstance(error, TunegateError) else None)
            self._note(done=True)
        else:
            self.forget()
        if self._is_new and not self.shared and {p.name for p in self.folder.iterdir()} <= {"lock"}:
            (self.folder / "lock").unlink(missing_ok=True)
            self.folder.rmdir()
        self._lock.release()

    def forget(self) -> None:
        """Remove the note of who holds the folder, if it is of this session."""
        if self._read().get("session") == self.session:
            with contextlib.suppress(OSError):
                self._holder.unlink()

    def _take(self) -> None:
        foreign = 0
        while True:
            try:
                self._lock.acquire(timeout=_WAIT_S)
                return
            except Timeout:
                holder = self._read()
                foreign += not (self.shared and holder.get("session") in (self.session, None))
                if foreign > self.shared:  # a worker may read the note of the session before
                    raise UsageError(
                        f"{self.folder}: another run uses this folder (process "
                        f"{holder.get('pid', 'unknown')}); wait for it, or choose another folder "
                        "with --gate-run-dir DIR"
                    ) from None

    def _recall(self) -> None:
        """Learn how another process of this session ended the run, if one did."""
        holder = self._read()
        if not (self.shared and holder.get("session") == self.session and holder.get("done")):
            return
        self.done = True
        if holder.get("error"):
            self.error = error_from(*holder["error"])

    def _read(self) -> dict[str, Any]:
        try:
            holder = json.loads(self._holder.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return holder if isinstance(holder, dict) else {}

    def _note(self, *, done: bool) -> None:
        known = None if self.error is None else [self.error.exit_code, str(self.error)]
        note = {"pid": os.getpid(), "session": self.session, "done": done, "error": known}
        self._holder.write_text(json.dumps(note), encoding="utf-8")


def error_from(exit_code: int, text: str) -> TunegateError:
    """Return the error of another process, from its exit code and its message."""
    if exit_code > 128:
        return RunInterrupted(text, exit_code - 128)
    kinds = {2: UsageError, 12: NotComparable}
    return kinds.get(exit_code, BackendError)(text)
