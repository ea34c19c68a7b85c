"""The judge of `tunegate watch`: the gate's own, on a sample of production's answers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import UsageError
from harness.records import Score
from harness.run import Run
from harness.suite import Suite
from harness.tracing.watch.answered import Answered
from harness.tracing.watch.figures import Figure, judged
from harness.tracing.watch.looking import Judging, Sample


def judge_sample(run: Run, suite: Suite, spec: str, size: int, store: Path) -> Sample:
    """Return what a judge is to see of production's answers.

    Args:
        run: The run that shipped.
        suite: Its suite.
        spec: The judge, or several with commas.
        size: Answers a look.
        store: Cell cache, which keeps the replies.

    Raises:
        UsageError: no metric of the suite takes one answer alone to a judge, or the run was
            judged by another one.
    """
    figures = judged(suite)
    _refuse_other_judge(run, suite, figures, spec)
    return Sample(_judging(figures, spec, store), tuple(figures), size)


def _refuse_other_judge(run: Run, suite: Suite, figures: Sequence[Figure], spec: str) -> None:
    """Refuse a judge whose scores cannot be compared with those of the run.

    Raises:
        UsageError: the suite asks no judge, or the run was judged by another one.
    """
    if not figures:
        raise UsageError(
            f"{suite.path}: no judge of its metrics scores an answer by itself, so --judge has "
            "nothing to do"
        )
    told = ",".join(str(identity["spec"]) for identity in run.manifest.judges)
    if told and told != ",".join(part.strip() for part in spec.split(",")):
        raise UsageError(f"{run.folder}: was judged by {told}; give that one with --judge")
    record = next(s for s in run.manifest.suites if s.name == suite.name)
    prompts = {m.name: m.judge.prompt_sha256 for m in record.metrics if m.judge is not None}
    for figure in figures:
        judge = figure.metric and figure.metric.judge
        if judge and prompts.get(figure.name) not in (None, judge.prompt_sha256):
            raise UsageError(
                f"{suite.path}: the questions of {figure.name!r} have changed since "
                f"{run.folder}; `tunegate judge run {run.folder}` asks them anew"
            )


def _judging(figures: Sequence[Figure], spec: str, store: Path) -> Judging:
    """Return what judges answers: every figure's judge by every juror, each answer once."""

    def judge(answers: Sequence[Answered]) -> list[Mapping[str, Score]]:
        from harness.engine.store import Store
        from harness.judging import opening
        from harness.judging.juror import Outcome, Place, Task
        from harness.judging.jury import combined

        tasks: dict[tuple[str, str], Task] = {}
        for one in answers:
            for figure in figures:
                assert figure.metric is not None
                assert figure.metric.judge is not None
                assert one.completion is not None
                place = Place("watch", figure.name, one.case.id, "production")
                tasks[figure.name, one.case.id] = Task(
                    figure.name, figure.metric.judge, one.case, (one.completion,), place=place
                )
        print(f"tunegate: judging {len(answers)} answers of production", file=sys.stderr)
        outcomes: dict[str, list[Outcome]] = {}
        opened = Store(store)
        try:
            for juror in opening.open_jurors(opening.specs_of(spec), opened):
                for task, outcome in juror.judge(list({t.key: t for t in tasks.values()}.values())):
                    outcomes.setdefault(task.key, []).append(outcome)
        finally:
            opened.close()
        return [
            {f.name: combined(outcomes[tasks[f.name, one.case.id].key]) for f in figures}
            for one in answers
        ]

    return judge
