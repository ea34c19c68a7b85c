"""compare.md: several candidates beside each other, in GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.verdict.comparison_record import Candidate, Comparison, Duel
from reports.inert import code, prose
from reports.numbers import number, signed
from reports.pareto import share
from reports.wording import FACES

ROWS = 100
"""Rows of the table of pairs at most; the page has all of them."""


def render(found: Comparison) -> str:
    """Return the text of a comparison; the same comparison gives the same text."""
    face = FACES[found.verdict]
    return "\n".join(
        [
            f"### {face.sign} tunegate compare: {face.word}",
            "",
            prose(found.sentence),
            "",
            f"{len(found.candidates)} candidates, each gate at 1/{found.of} of its error.",
            "",
            *_table(
                ("", "tuned", "run", "verdict", "alone", "gain", "interval", "tolerance used"),
                map(_candidate, found.candidates),
            ),
            "",
            *(f"- {prose(note)}" for note in _notes(found)),
            "",
            "### One against the other",
            "",
            *_table(
                ("", "suite", "metric", "difference", "interval", "p (Holm)", "proven", "n"),
                map(_duel, found.duels[:ROWS]),
            ),
            *_more(len(found.duels) - ROWS),
            "",
        ]
    )


def _notes(found: Comparison) -> Iterator[str]:
    yield from found.notes
    yield from (f"{one.letter}: {note}" for one in found.candidates for note in one.notes)


def _candidate(one: Candidate) -> list[str]:
    gain = one.gain
    return [
        one.letter,
        code(one.spec),
        code(one.folder),
        _face(one.verdict),
        _face(one.alone),
        signed(gain.estimate) if gain else number(None),
        f"{signed(gain.low)} to {signed(gain.high)}" if gain else number(None),
        share(one.forgetting),
    ]


def _face(verdict: object) -> str:
    face = next(face for key, face in FACES.items() if key is verdict)
    return f"{face.sign} {face.word}"


def _duel(duel: Duel) -> list[str]:
    proven = f"{duel.better} is better" if duel.better else "nothing"
    return [
        f"{duel.first} → {duel.second}",
        code(duel.suite),
        code(duel.metric),
        signed(duel.delta),
        f"{signed(duel.low)} to {signed(duel.high)}",
        number(duel.p_value),
        proven + (" (advisory)" if duel.advisory else ""),
        str(duel.n),
    ]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    titles = list(head)
    for cells in [titles, ["---"] * len(titles), *map(list, rows)]:
        yield "| " + " | ".join(cells) + " |"


def _more(n: int) -> list[str]:
    return [f"\n{n} more pairs on the page."] if n > 0 else []
