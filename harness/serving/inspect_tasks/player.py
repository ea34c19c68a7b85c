"""Inspect player: runs a task of Inspect as a child process against one arm, and reads its log.

The child asks the arm over an endpoint of this process, so that its samples share the running
batch. Every turn is stored under what led to it and how often it was asked: a task that is played
again after an interruption calls its tools again, and no model. Answers are stored as all others
are, so that a task that was played to its end is not played again.

The child ends with this process, however that ends.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tunegate.harness.contracts.inspect_task import InspectTask
from tunegate.harness.contracts.model import Arm, Request
from tunegate.harness.engine.answer_cache import AnswerStore
from tunegate.harness.episodes.play import GIVE_UP, TRIES
from tunegate.harness.models.servers import death_watch
from tunegate.harness.records.answers import Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import BackendError, UsageError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.serving.batch_server import BatchServer, ServerStopped
from tunegate.harness.serving.endpoint import EndpointSettings, open_endpoint
from tunegate.harness.serving.inspect_tasks.task_log import PlayedSample, TaskLog

CONNECTIONS = 32
"""Requests of Inspect at a time."""
LONGEST_WORD = 100_000
"""Characters of the list of samples; Linux takes 131,072 in one word of a command."""
OUTPUT = "inspect.log"
"""File with what Inspect prints."""


@dataclass
class StoreRelay:
    """Turns on their way between threads that serve requests and the one that has the store."""

    store: AnswerStore
    _calls: queue.SimpleQueue[tuple[Sequence[str], Future[dict[str, Completion]]] | None] = field(
        default_factory=queue.SimpleQueue
    )
    _unwritten: list[StoredAnswer] = field(default_factory=list)
    _closed: bool = False

    def completions(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Return what the store has of some keys; waits for the thread that has it.

        Raises:
            ServerStopped: it is closed.
        """
        found: Future[dict[str, Completion]] = Future()
        self._calls.put((list(keys), found))
        if self._closed:
            raise ServerStopped
        return found.result()

    def put(self, answer: StoredAnswer, *, replace: bool = False) -> None:
        """Have an answer stored soon."""
        self._unwritten.append(answer)
        self._calls.put(None)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do nothing: answers are written together as they come."""
        yield

    def serve(self, wait_s: float) -> None:
        """Do what other threads ask for; wait for the first of it at most so long."""
        with suppress(queue.Empty):
            call = self._calls.get(timeout=wait_s)
            while True:
                if call is not None:
                    keys, found = call
                    self.write()
                    found.set_result(self.store.completions(keys))
                call = self._calls.get_nowait()
        self.write()

    def write(self) -> None:
        """Store what waits for it."""
        count = len(self._unwritten)
        if not count:
            return
        with self.store.together():
            for answer in self._unwritten[:count]:
                self.store.put(answer)
        del self._unwritten[:count]

    def close(self) -> None:
        """Let every thread that waits end, and keep what was written."""
        self._closed = True
        with suppress(queue.Empty):
            while True:
                call = self._calls.get_nowait()
                if call is not None:
                    call[1].set_exception(ServerStopped())
        self.write()


@dataclass(frozen=True)
class InspectPlayer:
    """Plays the Inspect tasks of a run."""

    seed: int
    logs: Path
    """Folder of the logs."""
    report: Callable[[str], None] = lambda line: None

    def play(
        self,
        name: str,
        arm: Arm,
        requests: Sequence[Request],
        store: AnswerStore,
        pause: Callable[[], None],
    ) -> Generator[StoredAnswer, None, None]:
        """Yield the answers of one suite's episodes, once Inspect has played them all.

        Args:
            name: The arm's name.
            arm: The arm.
            requests: The episodes.
            store: Where turns are kept.
            pause: Called now and then; raises where the user asked to stop.

        Raises:
            BackendError: Inspect failed, or every sample did.
            RunInterrupted: the user asked to stop.
        """
        first = requests[0]
        assert first.episode is not None
        assert isinstance(first.episode.source, InspectTask)
        task, settings = first.episode.source, first.episode.settings
        folder = self._new_folder(f"{first.suite}-{name}")
        samples = max(request.sample for request in requests) + 1
        words = _command_words(first.generation, samples, [r.case for r in requests])
        episodes = f"{len(requests)} episodes of {first.suite}"
        self.report(f"Inspect {task.version()} plays {episodes} with {name}; its logs: {folder}")
        endpoint = EndpointSettings(
            secrets.token_urlsafe(24), show_tools=settings.tools, rendering=first.generation
        )
        relay = StoreRelay(store)
        server = BatchServer({name: arm}, self.seed, relay)
        status = TaskProcess(task, name, folder, words, endpoint).run(server, relay, pause)
        yield from _read_answers(requests, folder, settings.reward, status)

    def _new_folder(self, name: str) -> Path:
        """Make a folder for one run of a task; a further run of it has its own."""
        number = 1
        while (self.logs / f"{name}-{number}").exists():
            number += 1
        folder = self.logs / f"{name}-{number}"
        folder.mkdir(parents=True)
        return folder


def _command_words(
    generation: GenerationSettings, samples: int, cases: Sequence[Case]
) -> list[str]:
    """Return the options of `inspect eval` that follow from a suite."""
    words = ["--epochs", str(samples), "--temperature", f"{generation.temperature:g}"]
    words += ["--top-p", f"{generation.top_p:g}", "--max-tokens", str(generation.max_new_tokens)]
    if generation.system is not None:
        words += ["--system-message", generation.system]
    if generation.stop:
        words += ["--stop-seqs", ",".join(generation.stop)]
    chosen = list(dict.fromkeys(str((case.row or {}).get("sample", "")) for case in cases))
    listed = ",".join(chosen)
    # Without the names of all samples, such as in a suite over recorded results, all are played.
    if all(chosen) and not any("," in one for one in chosen) and len(listed) < LONGEST_WORD:
        words += ["--sample-id", listed]
    return words


@dataclass(frozen=True)
class TaskProcess:
    """One run of a task by a child process."""

    task: InspectTask
    arm: str
    folder: Path
    """Folder of the log and of what Inspect prints."""
    words: Sequence[str]
    """Options of `inspect eval`."""
    endpoint: EndpointSettings

    def run(
        self, server: BatchServer, relay: StoreRelay, pause: Callable[[], None] = lambda: None
    ) -> int:
        """Run until the task ends; return its exit status.

        Args:
            server: Answers the requests; its turns are in `relay`.
            relay: Is served meanwhile by this thread, and closed at the end.
            pause: Called now and then; raises where the user asked to stop.
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
                _end(child)
                relay.close()
        return child.returncode

    def command(self) -> list[str]:
        """Return program and arguments, under the watch that ends them with this process."""
        words = list(self.words)
        if self.task.options:
            options = (self.folder / "options.json").resolve()
            options.write_text(json.dumps(dict(self.task.options), default=str), encoding="utf-8")
            words += ["--task-config", str(options)]
        return [
            sys.executable, "-I", str(Path(death_watch.__file__)),
            self.task.interpreter, "-m", "inspect_ai", "eval", self.task.spec,
            "--model", f"openai-api/tunegate/{self.arm}", "--log-dir", str(self.folder.resolve()),
            "--log-format", "eval", "--display", "plain", "--no-fail-on-error",
            "--retry-on-error", str(TRIES - 1), "--max-retries", "2",
            "--max-connections", str(CONNECTIONS), *words, *self.task.flags,
        ]  # fmt: skip


def _environment(given: Mapping[str, str], address: str, token: str) -> dict[str, str]:
    """Return the child's environment: with the endpoint, without options for other runs."""
    kept = {name: value for name, value in given.items() if not name.startswith("INSPECT_EVAL_")}
    nowhere = ",".join(filter(None, ["127.0.0.1", given.get("NO_PROXY", "")]))
    return {
        **kept,
        "TUNEGATE_BASE_URL": address,
        "TUNEGATE_API_KEY": token,
        "NO_PROXY": nowhere,
        "no_proxy": nowhere,
        # Its control socket is for people at a terminal; older versions know no such option.
        "INSPECT_EVAL_CTL_SERVER": "false",
    }


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child, if it runs: the watch over it sees that its standard input closes."""
    assert child.stdin is not None
    with suppress(OSError):
        child.stdin.close()
    try:
        child.wait(2 * death_watch.GRACE_S + 5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _read_answers(
    requests: Sequence[Request], folder: Path, reward: str, status: int
) -> Iterator[StoredAnswer]:
    """Yield the answers that a task's log has.

    Raises:
        BackendError: the task did not end, or every sample failed.
    """
    log = _open_log(folder, reward, status)
    found = {} if log is None else {(one.name, one.epoch): one for one in log.samples()}
    whole = status == 0 and log is not None and not log.notes
    answers = [_answer(request, found) for request in requests]
    failed = [answer.error for answer in answers if answer.completion is None]
    if whole and len(failed) >= GIVE_UP and len(failed) == len(answers):
        raise BackendError(
            f"all {len(failed)} episodes of {requests[0].suite} failed; the last one: "
            f"{failed[-1]}; fix the task, then `tunegate resume`"
        )
    for answer in answers:
        if whole or answer.completion is not None:
            yield answer
    if not whole:
        why = " ".join(log.notes) if log is not None and log.notes else last_line(folder / OUTPUT)
        raise BackendError(
            f"{requests[0].suite}: Inspect ended with exit code {status}: {why}; what it printed: "
            f"{folder / OUTPUT}"
        )


def _open_log(folder: Path, reward: str, status: int) -> TaskLog | None:
    """Return the log in a folder; None where there is none, or a run that was ended left half."""
    file = newest_log(folder)
    try:
        return None if file is None else TaskLog.open(file, reward)
    except UsageError:
        if status == 0:
            raise
        return None


def _answer(request: Request, found: Mapping[tuple[str, int], PlayedSample]) -> StoredAnswer:
    played = found.get((request.case.id, request.sample + 1))
    if played is None:
        error = "Inspect played no sample of this case: its data set is another one now"
        return StoredAnswer.of(request.cell, None, error, 0.0)
    if (other := _other_question(request.case, played)) is not None:
        return StoredAnswer.of(request.cell, None, other, 0.0)
    return StoredAnswer.of(request.cell, played.completion, played.error, 0.0)


def _other_question(case: Case, played: PlayedSample) -> str | None:
    """Return that a sample asks something else than its case; None if it does not.

    What solvers put around a question is theirs, such as a system prompt with the date.
    """
    said = "\n".join(str(turn.get("content") or "") for turn in case.input_messages())
    if played.asked in said:
        return None
    return (
        f"Inspect asked {played.asked!r:.60}, which is not in the case; write the suite anew after "
        "a change of the task's data"
    )


def newest_log(folder: Path) -> Path | None:
    """Return the log in a folder."""
    return max(folder.glob("*.eval"), default=None)


def last_line(file: Path) -> str:
    """Return the last line that a program printed."""
    with suppress(OSError):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        printable = ("".join(c for c in line if c.isprintable()).strip() for line in lines[::-1])
        return next((line[:300] for line in printable if line), "it printed nothing")
    return "it printed nothing"
