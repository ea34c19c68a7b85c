"""Hostile servers, suites, addresses and traces: each must end in time, in lines, with no secret.

`python -m benchmarks.attacks.hostile_inputs` prints what became of each attempt.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.attacks.project import AttackedProject

SECRET = "hunter2-9f31"
LONGEST_S = 80.0
"""Seconds that a command may take: opening a server has 60 s of its own."""
HEAD = 'name = "orders"\n[[metrics]]\nuse = "exact_match"\n'


@dataclass(frozen=True)
class HostileInput:
    """One attempt: what is prepared, and the command that meets it."""

    name: str
    words: tuple[str, ...]
    change: Callable[[AttackedProject], None] = lambda project: None


def main() -> int:
    """Try everything; return how many attempts were not survived."""
    attempts = [*_suites(), *_addresses(), *_traces(), *_servers()]
    failed = 0
    for one in attempts:
        survived, outcome = attempt(one)
        failed += not survived
        print(f"{'ok  ' if survived else 'FAIL'} {one.name}: {outcome}", flush=True)
    print(f"tried {len(attempts)}, survived {len(attempts) - failed}, failed {failed}")
    return failed


def attempt(tried: HostileInput) -> tuple[bool, str]:
    """Run the command; return whether it refused in time and in lines, and its last line."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        (top / "outside.csv").write_text(f"prompt,expected\n{SECRET},x\n", encoding="utf-8")
        project = AttackedProject(top / "project")
        project.begin()
        project.write("pyproject.toml", "")
        tried.change(project)
        began = time.monotonic()
        try:
            done = project.tunegate(*tried.words)
        except subprocess.TimeoutExpired:
            return False, "it did not end"
        took = time.monotonic() - began
        text = done.stdout + done.stderr
        files = [path for path in project.folder.rglob("*") if path.is_file()]
        kept = any(
            SECRET.encode() in path.read_bytes()
            for path in files
            if path.name != "suite.toml" and path.stat().st_size < 10**7
        )
        bad = "Traceback" in text or SECRET in text or kept or took > LONGEST_S
        refused = done.returncode in (2, 13)
        last = next((line for line in text.splitlines()[::-1] if line.strip()), "")
        return refused and not bad, f"exit {done.returncode}, {took:.1f} s: {last:.90}"


def _suite(text: str) -> Callable[[AttackedProject], None]:
    def change(project: AttackedProject) -> None:
        project.write("suites/orders/suite.toml", text)

    return change


def _sparse(project: AttackedProject) -> None:
    with (project.folder / "suites/orders/suite.toml").open("wb") as file:
        file.truncate(40 * 10**9)


def _link(project: AttackedProject) -> None:
    place = project.folder / "suites/orders/inner"
    place.symlink_to(project.folder.parent, target_is_directory=True)
    project.write("suites/orders/suite.toml", _csv("inner/outside.csv"))


def _csv(file: str) -> str:
    return f'{HEAD}[cases]\nfrom = "csv"\nfile = "{file}"\n'


def _suites() -> Iterator[HostileInput]:
    check = ("suite", "check", "suites/orders")
    changes: Mapping[str, Callable[[AttackedProject], None]] = {
        "a key of 120,000 quoted parts": _suite(HEAD + "'k'." * 120_000 + "b = 1\n"),
        "an array's name of 90,000 parts": _suite(HEAD + "[[" + "kk.\t" * 90_000 + "b]]\n"),
        "9,000 metrics": _suite('name = "o"\ncases = "cases.jsonl"\n' + HEAD[16:] * 9_000),
        "a sparse suite.toml of 40 GB": _sparse,
        "a CSV file above the project": _suite(_csv("./x/../../../../outside.csv")),
        "a CSV file by its absolute path": lambda project: _suite(
            _csv(str(project.folder.parent / "outside.csv"))
        )(project),
        "a CSV file behind a linked folder": _link,
    }
    for name, change in changes.items():
        yield HostileInput(f"suite: {name}", check, change)


def _addresses() -> Iterator[HostileInput]:
    for user in (f"me:{SECRET}", SECRET, f"me:/{SECRET}", f"a@b:{SECRET}#?"):
        for form in (
            "server:https://{}@h.invalid/v1#m",
            "server:ftp://{}@h/#m",
            "replay:http://{}@h",
        ):
            spec = form.format(user)
            words = ("gate", "suites", "--base", spec, "--tuned", spec, "--run-dir=run")
            yield HostileInput(f"address: {spec.replace(SECRET, '…')}", words)
    for command in ("report", "resume", "promote", "gate"):
        yield HostileInput(f"address: {command}", (command, f"http://me:{SECRET}@h/run"))


def _traces() -> Iterator[HostileInput]:
    def pipe(project: AttackedProject) -> None:
        os.mkfifo(project.folder / "calls.jsonl")

    words = ("replay", "calls.jsonl", "--suite", "made")
    yield HostileInput("trace: a pipe", words, pipe)
    yield HostileInput("trace: a device", ("replay", "/dev/zero", "--suite", "made"))


class _Busy(BaseHTTPRequestHandler):
    """Answers the model list, and every question with 429."""

    pause = ""

    def do_GET(self) -> None:
        self._reply(200, b'{"data": [{"id": "m"}, {"id": "n"}]}')

    def do_POST(self) -> None:
        self._reply(429, b'{"error": "busy"}')

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status == 429 and self.pause:
            self.send_header("Retry-After", self.pause)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Print nothing."""


def _servers() -> Iterator[HostileInput]:
    for pause in ("", "0", "-5", "1e9"):
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Pausing", (_Busy,), {"pause": pause}))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"server:http://127.0.0.1:{server.server_port}/v1"
        words = ("gate", "suites", f"--base={at}#m", f"--tuned={at}#n", "--deadline=2")
        yield HostileInput(f"server: 429, Retry-After {pause or 'missing'}", words)


if __name__ == "__main__":
    raise SystemExit(main())
