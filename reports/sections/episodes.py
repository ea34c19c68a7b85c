"""Episodes: rewards of every task and sample on both arms, how they ended, and where they part."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunegate.harness.records.answers import Completion, StoredAnswer
from tunegate.harness.records.episodes import EpisodeRecord, EpisodeTurn
from tunegate.reports.case_detail import ARMS
from tunegate.reports.data import ReportData
from tunegate.reports.templating import fill_page_template
from tunegate.reports.text_diff import cut_text

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Episodes"
ORDER = 35
TASKS = 200
"""Rows of the grid at most."""
SHOWN = 20
"""Pairs of transcripts at most."""

Place = tuple[str, str, int]
"""Task, arm, sample."""


@dataclass(frozen=True, slots=True)
class EpisodeTotals:
    """How the episodes of one arm went."""

    arm: str
    ends: Mapping[str, int]
    """How they ended → how many; those that failed are `unscored`."""
    means: Mapping[str, float]
    """Turns, calls, failed calls and tokens of an episode."""


@dataclass(frozen=True, slots=True)
class TranscriptPair:
    """One sample of a task on both arms."""

    task: str
    sample: int
    rewards: tuple[str, str]
    common: str
    """The turns that are the same in both."""
    parts: tuple[str, str]
    """The rest of each."""
    at: int
    """The turn at which they part, from 1."""


@dataclass(slots=True)
class SuiteEpisodes:
    """The episodes of one suite."""

    suite: str
    samples: int
    rewards: dict[Place, float | None] = field(default_factory=dict)
    """None if unscored."""
    totals: tuple[EpisodeTotals, ...] = ()
    pairs: tuple[TranscriptPair, ...] = ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in plan order."""
        return tuple(dict.fromkeys(task for task, _, _ in self.rewards))

    def cells(self, task: str) -> Iterator[tuple[str, float | None]]:
        """Yield arm and reward of every sample of a task: base's samples, then tuned's."""
        for arm in ARMS:
            for sample in range(self.samples):
                yield arm, self.rewards.get((task, arm, sample))


def render(data: ReportData) -> Markup:
    """Return a block for each suite of episodes; nothing without one."""
    from markupsafe import Markup

    suites = suite_episodes(data)
    if not suites:
        return Markup()
    return fill_page_template("episodes.html", suites=suites, tasks=TASKS)


def suite_episodes(data: ReportData) -> list[SuiteEpisodes]:
    """Return what happened in the suites whose completions are episodes."""
    records = {suite.name: suite for suite in data.run.manifest.suites if suite.episode}
    if not records:
        return []
    suites = {
        name: SuiteEpisodes(name, int(record.generation.get("samples", 1)))
        for name, record in records.items()
    }
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for stored in _episode_cells(data, suites):
        cell, done = stored.cell, stored.completion
        record = done.episode if done is not None else None
        reward = None if record is None else record.reward
        suites[cell.suite].rewards[cell.case, cell.arm, cell.sample] = reward
        _count(counts[cell.suite, cell.arm], done)
    for name, episodes in suites.items():
        episodes.totals = tuple(_totals(arm, counts[name, arm]) for arm in ARMS)
    _add_transcripts(data, suites)
    return list(suites.values())


def _episode_cells(data: ReportData, suites: Mapping[str, SuiteEpisodes]) -> Iterator[StoredAnswer]:
    for stored in data.run.cells:
        if stored.cell.suite in suites and stored.cell.arm in ARMS and stored.status != "skipped":
            yield stored


def _count(counts: Counter[str], done: Completion | None) -> None:
    record = None if done is None else done.episode
    counts["end unscored" if record is None else f"end {record.end}"] += 1
    if record is not None and done is not None:
        counts["episodes"] += 1
        counts["turns"] += len(record.turns)
        counts["calls"] += len(record.calls)
        counts["failed calls"] += sum(call.error for call in record.calls)
        counts["tokens"] += done.output_tokens or 0


def _totals(arm: str, counts: Counter[str]) -> EpisodeTotals:
    ends = {k.removeprefix("end "): n for k, n in sorted(counts.items()) if k.startswith("end ")}
    n = counts["episodes"] or 1
    names = ("turns", "calls", "failed calls", "tokens")
    return EpisodeTotals(arm, ends, {name: counts[name] / n for name in names})


def _add_transcripts(data: ReportData, suites: Mapping[str, SuiteEpisodes]) -> None:
    """Add the transcripts of samples whose rewards differ: the largest losses, then gains."""
    wanted: dict[str, list[tuple[str, int]]] = {}
    for name, episodes in suites.items():
        gaps = {}
        for task, arm, sample in episodes.rewards:
            pair = [episodes.rewards.get((task, each, sample)) for each in ARMS]
            if arm == ARMS[0] and pair[0] is not None and pair[1] is not None:
                gaps[task, sample] = pair[1] - pair[0]
        losses = sorted((place for place, gap in gaps.items() if gap < 0), key=gaps.__getitem__)
        gains = sorted((place for place, gap in gaps.items() if gap > 0), key=lambda p: -gaps[p])
        shown = losses[: max(SHOWN // 2, SHOWN - len(gains))]
        wanted[name] = [*shown, *gains[: SHOWN - len(shown)]]
    records: dict[tuple[str, str, int, str], EpisodeRecord] = {}
    for stored in _episode_cells(data, suites):
        cell, done = stored.cell, stored.completion
        if (cell.case, cell.sample) in wanted[cell.suite] and done and done.episode:
            records[cell.suite, cell.case, cell.sample, cell.arm] = done.episode
    for name, episodes in suites.items():
        episodes.pairs = tuple(
            _pair(task, sample, *(records[name, task, sample, arm] for arm in ARMS))
            for task, sample in wanted[name]
        )


def _pair(task: str, sample: int, base: EpisodeRecord, tuned: EpisodeRecord) -> TranscriptPair:
    turns = list(zip(base.turns, tuned.turns, strict=False))
    same = next((i for i, (b, t) in enumerate(turns) if _turn_text(b) != _turn_text(t)), len(turns))
    return TranscriptPair(
        task,
        sample,
        (f"{base.reward:g}", f"{tuned.reward:g}"),
        transcript_text(base.turns[:same]),
        (
            f"{transcript_text(base.turns[same:])}\n[{base.end}]",
            f"{transcript_text(tuned.turns[same:])}\n[{tuned.end}]",
        ),
        same + 1,
    )


def _turn_text(turn: EpisodeTurn) -> str:
    return transcript_text([turn])


def transcript_text(turns: Sequence[EpisodeTurn]) -> str:
    """Return turns as lines: what the model wrote, each call's result, and the user's messages."""
    lines: list[str] = []
    for turn in turns:
        lines.append(turn.text or "(nothing)")
        for call in turn.calls:
            mark = "failed" if call.error else "result"
            arguments = json.dumps(call.arguments, ensure_ascii=False)
            lines.append(f"  {mark} of {call.name}({arguments}): {call.result}")
        if turn.problem is not None:
            lines.append(f"  unreadable: {turn.problem}")
        if turn.message is not None:
            lines.append(f"  user: {turn.message}")
    return cut_text("\n".join(lines))[0]
