"""What a reading of traces found, and what it could not use: nothing is dropped in silence.

Example:
    >>> reading = Reading()
    >>> reading.leave_out("a line that is no JSON", "traces.jsonl:17")
    >>> reading.sentences()
    ['left out 1: a line that is no JSON (traces.jsonl:17)']
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Noted:
    """How often something was met, and where first."""

    count: int
    first: str


@dataclass(slots=True)
class Reading:
    """The account of a reading; who reads fills it in as the spans go by."""

    files: int = 0
    spans: int = 0
    """Spans that were read, whatever they are about."""
    calls: int = 0
    """Requests to language models that were found in them."""
    distinct: int = 0
    """Those that can be replayed, are wanted, and ask what none before them asked."""
    left_out: dict[str, Noted] = field(default_factory=dict)
    """What could not be used, by reason."""
    mended: dict[str, Noted] = field(default_factory=dict)
    """What was read otherwise than it stands there, by what was done."""

    def leave_out(self, reason: str, where: str) -> None:
        """Count something that is not used; `reason` is a noun phrase without numbers in it."""
        _note(self.left_out, reason, where)

    def mend(self, what: str, where: str) -> None:
        """Count something that was read with a change."""
        _note(self.mended, what, where)

    def found(self, cases: int) -> str:
        """Return in a line what was read, and how many cases it gave."""
        from harness.verdict.words import counted

        counts = ((self.files, "file"), (self.spans, "span"), (self.calls, "model call"))
        return f"{', '.join(map(counted, *zip(*counts, strict=True)))} → {counted(cases, 'case')}"

    def sentences(self) -> list[str]:
        """Return a line for each reason, the most frequent first."""
        return [*_lines("left out", self.left_out), *_lines("mended", self.mended)]


def _note(notes: dict[str, Noted], what: str, where: str) -> None:
    if what in notes:
        notes[what].count += 1
    else:
        notes[what] = Noted(1, where)


def _lines(verb: str, notes: dict[str, Noted]) -> list[str]:
    ordered = sorted(notes.items(), key=lambda item: -item[1].count)
    return [
        f"{verb} {noted.count}: {what} ({'first ' if noted.count > 1 else ''}{noted.first})"
        for what, noted in ordered
    ]
