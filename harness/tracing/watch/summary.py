"""A look as Markdown, for a job's summary or a chat."""

from __future__ import annotations

from collections.abc import Iterator

from harness.tracing.watch.outcome import FigureLook, Status, WatchRecord, WatchVerdict, percent

COLUMNS = ("figure", "gate", "allowed", "new traces", "so far", "evidence", "status")
WORDS = {
    Status.ALARM: "ALARM",
    Status.QUIET: "quiet",
    Status.TOO_FEW: "too few",
    Status.BLIND: "cannot tell",
}
HEADS = {
    WatchVerdict.ALARM: "ALARM",
    WatchVerdict.QUIET: "Quiet",
    WatchVerdict.TOO_LITTLE: "Too little to tell",
}


def summary(record: WatchRecord, advice: list[str]) -> str:
    """Return the Markdown of a look.

    Args:
        record: The look.
        advice: Commands that come next; none where there is nothing to do.
    """
    return "\n".join([*_lines(record, advice), ""])


def cells(figure: FigureLook) -> tuple[str, ...]:
    """Return a figure's row, as `COLUMNS` names it."""
    status = WORDS[figure.status]
    if figure.status is Status.TOO_FEW:
        status += f" ({figure.so_far_n} of {figure.needed_n})"
    return (
        figure.name,
        f"{percent(figure.gate)} of {figure.gate_n}",
        percent(figure.allowed),
        f"{percent(figure.window)} of {figure.window_n}",
        f"{percent(figure.so_far)} of {figure.so_far_n}",
        f"{figure.evidence:.3g} of {figure.needed:.0f}",
        status,
    )


def notes(record: WatchRecord) -> Iterator[str]:
    """Yield what was left out, and why, a line each."""
    for why, count in record.left_out.items():
        yield f"{count} calls left out: {why}"
    for figure in record.figures:
        if figure.unscored:
            yield f"{figure.name}: {figure.unscored} calls without a value ({figure.why_unscored})"
    for name, why in record.not_compared.items():
        yield f"{name}: not compared: {why}"
    yield from record.reading


def _lines(record: WatchRecord, advice: list[str]) -> Iterator[str]:
    yield f"### Watch: {HEADS[record.verdict]}"
    yield ""
    yield f"{_escaped(record.sentence[:1].upper() + record.sentence[1:])}."
    yield ""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|---" * len(COLUMNS) + "|"
    for figure in record.figures:
        yield "| " + " | ".join(map(_escaped, cells(figure))) + " |"
    yield ""
    beside = f"{_escaped(record.suite)} of run {_escaped(record.run_id)}"
    yield (
        f"{record.counted} calls from {record.first or '–'} to {record.last or '–'}, beside "
        f"{beside}. A false alarm of any figure, as long as the stream runs: at most "
        f"{percent(record.alpha)}."
    )
    yield ""
    yield from (f"- {_escaped(line)}" for line in notes(record))
    if advice:
        yield ""
        yield "Next:"
        yield ""
        yield from (f"    {line}" for line in advice)


def _escaped(text: str) -> str:
    """Return a text that stays in its cell and makes no markup of its own."""
    plain = " ".join(text.split())
    for sign in "\\`*_{}[]<>|#":
        plain = plain.replace(sign, "\\" + sign)
    return plain
