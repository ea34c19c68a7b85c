"""Inspect player: plays the tasks of a run against one arm, and reads their logs.

The task asks the arm over an endpoint of this process, so that its samples share the running batch.
Every turn is stored under its conversation and how often it was asked: a task that is played again
after an interruption calls its tools again, but no model. A task that was played to its end is not
played again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunegate.harness.contracts.inspect_task import InspectTask
from tunegate.harness.contracts.model import Arm, Request
from tunegate.harness.engine.answer_cache import AnswerStore
from tunegate.harness.episodes.play import GIVE_UP
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import BackendError, UsageError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.serving.batch_server import BatchServer
from tunegate.harness.serving.endpoint import EndpointSettings
from tunegate.harness.serving.inspect_tasks.store_relay import StoreRelay
from tunegate.harness.serving.inspect_tasks.task_log import PlayedSample, TaskLog
from tunegate.harness.serving.inspect_tasks.task_process import (
    OUTPUT,
    TaskProcess,
    last_line,
    newest_log,
)

LONGEST_WORD = 100_000
"""Characters of the list of samples; Linux allows 131,072 in one argument."""


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
        """Yield the answers of one suite's episodes, after Inspect has played them all.

        Turns are kept in `store`; `pause` is called now and then, and raises if the user asked to
        stop.
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
        """Create a folder for one run of a task."""
        number = 1
        while (self.logs / f"{name}-{number}").exists():
            number += 1
        folder = self.logs / f"{name}-{number}"
        folder.mkdir(parents=True)
        return folder


def _command_words(
    generation: GenerationSettings, samples: int, cases: Sequence[Case]
) -> list[str]:
    """Return a suite's settings as options of `inspect eval`."""
    words = ["--epochs", str(samples), "--temperature", f"{generation.temperature:g}"]
    words += ["--top-p", f"{generation.top_p:g}", "--max-tokens", str(generation.max_new_tokens)]
    if generation.system is not None:
        words += ["--system-message", generation.system]
    if generation.stop:
        words += ["--stop-seqs", ",".join(generation.stop)]
    chosen = list(dict.fromkeys(str((case.row or {}).get("sample", "")) for case in cases))
    listed = ",".join(chosen)
    # If a case names no sample, as in suites over recorded results, all samples are played.
    if (
        all(chosen)
        and not any("," in sample_id for sample_id in chosen)
        and len(listed) < LONGEST_WORD
    ):
        words += ["--sample-id", listed]
    return words


def _read_answers(
    requests: Sequence[Request], folder: Path, reward: str, status: int
) -> Iterator[StoredAnswer]:
    """Yield the answers in a task's log."""
    log = _open_log(folder, reward, status)
    samples_played = (
        {} if log is None else {(sample.name, sample.epoch): sample for sample in log.samples()}
    )
    whole = status == 0 and log is not None and not log.notes
    answers = [_answer(request, samples_played) for request in requests]
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
            f"{requests[0].suite}: Inspect ended with exit code {status}: {why}; its output: "
            f"{folder / OUTPUT}"
        )


def _open_log(folder: Path, reward: str, status: int) -> TaskLog | None:
    """Return the log in a folder; None without one, or if an aborted run left half of it."""
    file = newest_log(folder)
    try:
        return None if file is None else TaskLog.open(file, reward)
    except UsageError:
        if status == 0:
            raise
        return None


def _answer(request: Request, samples: Mapping[tuple[str, int], PlayedSample]) -> StoredAnswer:
    played = samples.get((request.case.id, request.sample + 1))
    if played is None:
        error = "Inspect played no sample of this case: its data set has changed"
        return StoredAnswer.of(request.cell, None, error, 0.0)
    if (other := _other_question(request.case, played)) is not None:
        return StoredAnswer.of(request.cell, None, other, 0.0)
    return StoredAnswer.of(request.cell, played.completion, played.error, 0.0)


def _other_question(case: Case, played: PlayedSample) -> str | None:
    """Return an error if a sample's question is not that of its case.

    Solvers may add to the question, such as a system prompt with the date.
    """
    question = "\n".join(str(turn.get("content") or "") for turn in case.input_messages())
    if played.asked in question:
        return None
    return (
        f"Inspect asked {played.asked!r:.60}, which is not in the case; write the suite again if "
        "the task's data changed"
    )
