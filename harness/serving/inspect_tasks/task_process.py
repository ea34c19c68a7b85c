"""Task process: `inspect eval` as a child process that asks an endpoint of this one.

The child ends with this process, however that ends.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tunegate.harness.contracts.inspect_task import InspectTask
from tunegate.harness.episodes.play import TRIES
from tunegate.harness.models.servers.kill_with_parent import end_watched, watched_command
from tunegate.harness.serving.batch_server import BatchServer
from tunegate.harness.serving.endpoint import EndpointSettings, open_endpoint
from tunegate.harness.serving.inspect_tasks.store_relay import StoreRelay

CONNECTIONS = 32
"""Concurrent requests of Inspect."""
OUTPUT = "inspect.log"
"""File with Inspect's output."""


@dataclass(frozen=True)
class TaskProcess:
    """One run of a task in a child process."""

    task: InspectTask
    arm: str
    folder: Path
    """Folder of the log and of Inspect's output."""
    words: Sequence[str]
    """Options of `inspect eval`."""
    endpoint: EndpointSettings

    def run(
        self, server: BatchServer, relay: StoreRelay, pause: Callable[[], None] = lambda: None
    ) -> int:
        """Run until the task ends; return its exit status.

        Meanwhile this thread serves `relay`, the store of `server`, and closes it at the end. It
        calls `pause` now and then, which raises if the user asked to stop.
        """
        output = (self.folder / OUTPUT).open("wb")
        with output, open_endpoint(server, self.endpoint) as address:
            child = subprocess.Popen(
                self.command(),
                cwd=self.task.folder,
                env=_environment(os.environ, address, self.endpoint.token),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                while child.poll() is None:
                    relay.serve(0.2)
                    pause()
            finally:
                end_watched(child)
                relay.close()
        return child.returncode

    def command(self) -> list[str]:
        """Return program and arguments, under a watchdog that ends them with this process."""
        words = list(self.words)
        if self.task.options:
            options = (self.folder / "options.json").resolve()
            options.write_text(json.dumps(dict(self.task.options), default=str), encoding="utf-8")
            words += ["--task-config", str(options)]
        command = [
            self.task.interpreter, "-m", "inspect_ai", "eval", self.task.spec,
            "--model", f"openai-api/tunegate/{self.arm}", "--log-dir", str(self.folder.resolve()),
            "--log-format", "eval", "--display", "plain", "--no-fail-on-error",
            "--retry-on-error", str(TRIES - 1), "--max-retries", "2",
            "--max-connections", str(CONNECTIONS), *words, *self.task.flags,
        ]  # fmt: skip
        return watched_command(command)


def _environment(environ: Mapping[str, str], address: str, token: str) -> dict[str, str]:
    """Return the child's environment: with the endpoint, without Inspect's options."""
    kept = {name: value for name, value in environ.items() if not name.startswith("INSPECT_EVAL_")}
    no_proxy = ",".join(filter(None, ["127.0.0.1", environ.get("NO_PROXY", "")]))
    return {
        **kept,
        "TUNEGATE_BASE_URL": address,
        "TUNEGATE_API_KEY": token,
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        # Its control socket is for people at a terminal; older versions know no such option.
        "INSPECT_EVAL_CTL_SERVER": "false",
    }


def newest_log(folder: Path) -> Path | None:
    """Return the newest log in a folder."""
    return max(folder.glob("*.eval"), default=None)


def last_line(file: Path) -> str:
    """Return the last line of a program's output."""
    with suppress(OSError):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        printable = ("".join(c for c in line if c.isprintable()).strip() for line in lines[::-1])
        return next((line[:300] for line in printable if line), "it printed nothing")
    return "it printed nothing"
