"""Judging whole answers in this process, each only once: its score is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tunegate.harness.contracts.judge import JudgeAnswer
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.asking.judge_model import JudgementOutcome, JudgementTask
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.scores import Score


def judge_in_process(
    tasks: Sequence[JudgementTask],
    judge: Callable[[JudgementTask], JudgementOutcome],
    *,
    fingerprint: str,
    store: AnswerCache | None,
) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
    """Yield every task with its outcome, each as soon as it is known; failures are not kept."""
    keys = {sha256([fingerprint, task.key]): task for task in tasks}
    completions = {} if store is None else store.completions(keys)
    for key, task in keys.items():
        stored = completions.get(key)
        if stored is not None:
            yield task, JudgementOutcome(Score.model_validate_json(stored.text or ""))
            continue
        started = time.time()
        outcome = judge(task)
        if outcome.score is not None and store is not None:
            text = outcome.score.model_dump_json()
            store.put(JudgeAnswer(key, Completion(text=text), None, started), replace=True)
        yield task, replace(outcome, attempts=1, latency_s=time.time() - started)
