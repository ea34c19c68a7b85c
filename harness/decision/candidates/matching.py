"""Comparability of stored runs: candidates are ranked only where all but the fine-tune is equal.

It compares what the runs recorded: the suites' settings, gates, metrics and cases, the prompts as
the models saw them (so templates and tokenizers too), base's weights and number format, the judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.records.errors import NotComparable, UsageError
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.manifest import Gate, MetricRecord, SuiteRecord
from tunegate.harness.records.run_folder import Run

_NOT_ITSELF = {"stored", "system_fingerprint"}
"""Facts of an arm that can differ between runs of the same model: how a file is packed, and a
provider's name for its current configuration. If base answered differently, its scores show it.
"""
_CONTENT = ("weights_sha256", "file_sha256", "script_sha256")
"""Hashes that identify a model; without one, its address does."""


def refuse_unmatched(runs: Sequence[Run]) -> None:
    """Refuse runs that cannot be compared with the first one."""
    if len(runs) < 2:
        raise UsageError("one run: a comparison takes two or more; `tunegate report` shows one")
    seen: set[object] = set()
    for run in runs:
        place = run.folder.resolve()
        if place in seen:
            raise UsageError(f"{run.folder}: named twice; name each run once")
        seen.add(place)
        _refuse_empty(run)
    first, *others = runs
    for other in others:
        for difference in _differences(first, other):
            raise NotComparable(f"{first.folder} and {other.folder}: {difference}")


def _refuse_empty(run: Run) -> None:
    verdict = run.verdict
    if not verdict.suites:
        word = verdict.verdict.value.replace("_", " ")
        raise NotComparable(
            f"{run.folder}: the run ended in {word} and judged nothing: {verdict.sentence}; "
            "leave it out, or finish it with `tunegate resume`"
        )


def _differences(first: Run, second: Run) -> Iterator[str]:
    """Yield what differs, the most telling first."""
    mine, theirs = ({s.name: s for s in run.manifest.suites} for run in (first, second))
    for name in [*mine, *theirs]:
        if name not in mine or name not in theirs:
            where = first if name in mine else second
            yield f"suite {name!r} was judged in {where.folder} only; compare runs of the same ones"
    for name, suite in mine.items():
        yield from (f"suite {name!r}: {text}" for text in _suite(suite, theirs[name]))
    bases = (_itself(run.manifest.arms["base"]) for run in (first, second))
    yield from _settings("base differs", *bases)
    yield from _cases(first, second)
    for name, suite in mine.items():
        if suite.hash != theirs[name].hash:
            yield (
                f"suite {name!r}: its definition or a file that it reads differs "
                f"(hash {suite.hash[:10]} and {theirs[name].hash[:10]}); run both on the same suite"
            )
    if sha256(list(first.manifest.judges)) != sha256(list(second.manifest.judges)):
        yield "the judges differ; judge one of the runs again with `tunegate judge run`"
    if first.manifest.filtered != second.manifest.filtered:
        filtered = first.manifest.filtered or second.manifest.filtered
        yield f"judged in part only: {'; '.join(filtered)}"


def _suite(mine: SuiteRecord, theirs: SuiteRecord) -> Iterator[str]:
    yield from _settings("generation settings differ", mine.generation, theirs.generation)
    yield from _gates(mine.gates, theirs.gates)
    yield from _metrics(mine.metrics, theirs.metrics)
    if mine.goal_rule != theirs.goal_rule:
        yield f"the goal rules differ: {mine.goal_rule!r} and {theirs.goal_rule!r}"


def _settings(what: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(mine.keys() | theirs.keys()):
        if mine.get(key) != theirs.get(key):
            yield f"{what}: {key}={_short(mine.get(key))} and {_short(theirs.get(key))}"


def _gates(mine: Sequence[Gate], theirs: Sequence[Gate]) -> Iterator[str]:
    first, second = (
        {g.id: g.model_dump(exclude={"where"}) for g in gates} for gates in (mine, theirs)
    )
    yield from _tables("gate", first, second)


def _metrics(mine: Sequence[MetricRecord], theirs: Sequence[MetricRecord]) -> Iterator[str]:
    first, second = ({m.name: _facts(m) for m in metrics} for metrics in (mine, theirs))
    yield from _tables("metric", first, second)


def _tables(
    what: str, mine: Mapping[str, Mapping[str, Any]], theirs: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    for name in [*mine, *theirs]:
        if name not in mine or name not in theirs:
            yield f"{what} {name} is in one of them only"
        else:
            yield from _settings(f"the {what}s differ: {name}", mine[name], theirs[name])


def _facts(metric: MetricRecord) -> dict[str, Any]:
    """Return what makes scores of a metric the same kind of number."""
    facts = metric.model_dump(exclude={"judge"})
    prompt = None if metric.judge is None else metric.judge.prompt_sha256
    return facts | {"judge_prompt": prompt, "advisory": metric.advisory}


def _itself(arm: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that make an arm the model that it is."""
    has_hash = any(arm.get(key) for key in _CONTENT)
    left_out = _NOT_ITSELF | ({"spec"} if has_hash else set())
    return {key: value for key, value in arm.items() if key not in left_out}


def _cases(first: Run, second: Run) -> Iterator[str]:
    mine, theirs = _prompt_hashes(first), _prompt_hashes(second)
    for suite, case in [*mine, *theirs]:
        if (suite, case) not in mine or (suite, case) not in theirs:
            where = first if (suite, case) in mine else second
            yield f"suite {suite!r}: case {case!r} was asked in {where.folder} only"
    for (suite, case), (content, prompt) in mine.items():
        if content != theirs[suite, case][0]:
            yield f"suite {suite!r}: case {case!r} is not the same in both"
        if prompt != theirs[suite, case][1]:
            yield (
                f"suite {suite!r}: case {case!r} was asked with other prompts: the chat templates "
                "or tokenizers differ"
            )


def _prompt_hashes(run: Run) -> dict[tuple[str, str], tuple[str, str | None]]:
    """Return (suite, case) → hash of the case, and of the prompt as the models saw it."""
    return {
        key: (
            sha256(row.case.model_dump(mode="json")),
            row.prompt_sha256 or (row.rendered and sha256(row.rendered)),
        )
        for key, row in run.cases.items()
    }


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
