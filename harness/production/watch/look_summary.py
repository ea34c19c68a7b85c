"""Markdown summary of a look."""

from __future__ import annotations

from collections.abc import Iterator

from tunegate.harness.production.watch.look_record import (
    FigureLook,
    FigureStatus,
    WatchRecord,
    WatchVerdict,
    format_percent,
)
from tunegate.harness.records.wording import count_noun

COLUMNS = ("figure", "gate", "allowed", "new units", "so far", "evidence", "status")
WORDS = {
    FigureStatus.ALARM: "ALARM",
    FigureStatus.QUIET: "quiet",
    FigureStatus.TOO_FEW: "too few",
    FigureStatus.BLIND: "cannot tell",
}
HEADS = {
    WatchVerdict.ALARM: "ALARM",
    WatchVerdict.QUIET: "Quiet",
    WatchVerdict.TOO_LITTLE: "Too little to tell",
}


def watch_summary(record: WatchRecord, advice: list[str]) -> str:
    """Return the Markdown of a look, with the commands that come next."""
    return "\n".join([*_lines(record, advice), ""])


def figure_cells(figure: FigureLook) -> tuple[str, ...]:
    """Return a figure's row under `COLUMNS`."""
    status = WORDS[figure.status]
    if figure.status is FigureStatus.TOO_FEW:
        status += f" ({figure.so_far_n} of {figure.needed_n})"
    return (
        figure.name,
        f"{format_percent(figure.gate)} of {figure.gate_n}" if figure.gate_n else "–",
        format_percent(figure.allowed),
        f"{format_percent(figure.window)} of {figure.window_n}",
        f"{format_percent(figure.so_far)} of {figure.so_far_n}",
        f"{figure.evidence:.3g} of {figure.needed:.0f}",
        status,
    )


def watch_notes(record: WatchRecord) -> Iterator[str]:
    """Yield what was left out, and why, one line each."""
    for why, count in record.left_out.items():
        yield f"{count_noun(count, 'call')} left out: {why}"
    for figure in record.figures:
        if figure.unscored:
            calls = count_noun(figure.unscored, "call")
            yield f"{figure.name}: {calls} without a value ({figure.why_unscored})"
    for name, why in record.not_compared.items():
        yield f"{name}: not compared: {why}"
    yield from (f"not seen: {line}" for line in record.not_seen)
    yield from record.reading


def _lines(record: WatchRecord, advice: list[str]) -> Iterator[str]:
    yield f"### Watch: {HEADS[record.verdict]}"
    yield ""
    yield f"{_escape_cell(record.sentence[:1].upper() + record.sentence[1:])}."
    yield ""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|---" * len(COLUMNS) + "|"
    for figure in record.figures:
        yield "| " + " | ".join(map(_escape_cell, figure_cells(figure))) + " |"
    yield ""
    gated = f"{_escape_cell(record.suite)} of run {_escape_cell(record.run_id)}"
    yield (
        f"{count_noun(record.counted, 'call')} from {record.first or '–'} to {record.last or '–'}, "
        f"compared with {gated}. The probability of any false alarm, as long as the stream runs, "
        f"is at most {format_percent(record.alpha)}."
    )
    yield ""
    yield from (f"- {_escape_cell(line)}" for line in watch_notes(record))
    if advice:
        yield ""
        yield "Next:"
        yield ""
        yield from (f"    {line}" for line in advice)


def _escape_cell(text: str) -> str:
    """Return a text that stays in its cell, without markup."""
    plain = " ".join(text.split())
    for sign in "\\`*_{}[]<>|#":
        plain = plain.replace(sign, "\\" + sign)
    return plain
