"""`tunegate rows FILES --model DIR`: what a training would make of rows, without a GPU or weights.

Exit codes: 0 something would be learned, whatever was found; 1 nothing would be learned; 2 a
mistake in the call, or no row that can be read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli._run_suites import suite_paths
from tunegate.harness.contracts.quiet import quiet_libraries
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.wording import count_noun

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from tunegate.trainers.row_checks.finding import Finding
    from tunegate.trainers.row_checks.tokens import RowTokens, TokenizedRows

ORDER = 138
PANEL = Panel.BEFORE_TRAINING
SHOWN = 5
"""Rows that are printed, spread evenly over all."""
_LONGEST = 240
"""Characters of a stretch of learned, or of other, tokens that are printed."""
_BAR = 48
_LEARNED, _OTHER = "green", "dim"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rows")(rows)


def rows(  # noqa: PLR0913  # one for each option
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILES", help="Training rows, as --train_files of `tunegate train sft`."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Folder with tokenizer and config.json, hub id, or embedded."),
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="YAML file of `tunegate train sft`, for its options.")
    ] = None,
    suite: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Suite to compare the rows with. May be repeated."),
    ] = None,
    write_suite: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a suite instead: does tuned recite the personal data, secrets and numbers "
            "in these rows?",
        ),
    ] = None,
    controls: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="With --write-suite: rows that are not trained on, whose values the true ones "
            "are compared with. May be repeated.",
        ),
    ] = None,
    canaries: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With --write-suite: ask for made-up codes instead, N each in 0, 1, 4 and 16 "
            "rows to train on beside FILES.",
        ),
    ] = None,
) -> None:
    """Look at training rows: what is learned, cut or wrong.

    Exits with 1 if nothing would be learned.
    """
    if write_suite is not None:
        if not files or model or config or suite or (controls and canaries is not None):
            raise UsageError("--write-suite: give it FILES, and one of --controls and --canaries")
        for line in _write_suite(files, controls or [], canaries, write_suite):
            say(line)
        return
    if controls or canaries is not None:
        raise UsageError("--controls and --canaries: only with --write-suite DIR")
    from rich.console import Console

    from tunegate.harness.suite import load_suite
    from tunegate.trainers import trl_environment
    from tunegate.trainers.arguments import prepare_environment, require_extra
    from tunegate.trainers.row_checks.look import look_at_rows

    prepare_environment()
    require_extra()
    suites = [load_suite(path) for path in suite_paths(suite)]
    with trl_environment.quiet_training(), quiet_libraries("trl.trainer.sft_trainer"):
        report = look_at_rows(files or [], model, config, suites)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False, markup=False)
    _print_findings(report.findings, console)
    for note in report.notes:
        say(f"note: {note}")
    if report.tokens is not None:
        _print_lengths(report.tokens, console)
        _print_rows(report.tokens.rows, report.tokenizer, console)
    if not report.teaches:
        say("nothing would be learned: `tunegate train sft` refuses these rows")
        raise typer.Exit(1)
    say(count_noun(len(report.findings), "finding") if report.findings else "nothing found")


def _write_suite(
    files: Sequence[str], controls: Sequence[str], canaries: int | None, folder: Path
) -> Iterator[str]:
    if canaries is not None:
        from tunegate.harness.cli._canary_suite import write_canary_suite

        return write_canary_suite(files, canaries, folder)
    from tunegate.harness.cli._memorization_suite import write_memorization_suite

    return write_memorization_suite(files, controls, folder)


def _print_findings(findings: Sequence[Finding], console: Console) -> None:
    from rich.table import Table

    if not findings:
        return
    table = Table(show_lines=True)
    table.add_column("rows", justify="right")
    for column in ("finding", "first places", "what to do"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        count = f"{len(finding.places):,}" if finding.places else "–"
        cells = (count, finding.what, _shorten_paths(finding.first_places), finding.advice)
        table.add_row(*map(_plain, cells))
    console.print(table)


def _shorten_paths(text: str) -> str:
    return text.replace(f"{Path.cwd()}/", "")


def _plain(text: str) -> Text:
    from rich.text import Text

    from tunegate.harness.records.hidden_text import escape_terminal

    return Text(escape_terminal(text))


def _print_lengths(tokens: TokenizedRows, console: Console) -> None:
    """Print a histogram of tokens a row; each bar is split as its tokens are."""
    from rich.text import Text

    total = sum(len(row.ids) for row in tokens.rows)
    learned = sum(int(row.learned.sum()) for row in tokens.rows)
    print(
        f"\n{count_noun(len(tokens.rows), 'row')}, {count_noun(total, 'token')}, "
        f"{learned / max(1, total):.0%} learned; max_length {tokens.limit or 'none'}"
    )
    print(f"{'tokens a row':>15}{'rows':>10}  █ learned ░ not learned")
    bins = list(_bins(tokens.rows))
    most = max(len(held) for *_, held in bins)
    for low, high, held in bins:
        share = sum(row.learned.sum() for row in held) / max(1, sum(len(r.ids) for r in held))
        width = max(1, round(_BAR * len(held) / most)) if held else 0
        full = round(width * share)
        bar = [("█" * full, _LEARNED), ("░" * (width - full), _OTHER)]
        console.print(Text.assemble(f"{f'{low:,}–{high:,}':>15}{len(held):>10,}  ", *bar))


def _bins(tokens: Sequence[RowTokens]) -> Iterator[tuple[int, int, list[RowTokens]]]:
    """Yield first and last length, and rows, of bins that double in width."""
    of = [len(row.ids).bit_length() for row in tokens]
    for bits in range(min(of), max(of) + 1):
        held = [row for row, bin_of_row in zip(tokens, of, strict=True) if bin_of_row == bits]
        yield 1 << (bits - 1) if bits else 0, (1 << bits) - 1, held


def _print_rows(tokens: Sequence[RowTokens], tokenizer: Any, console: Console) -> None:
    from rich.text import Text

    colored = console.color_system is not None and not console.no_color
    marks = ("", "") if colored else ("⟦", "⟧")
    print(f"\nlearned: {_LEARNED if colored else 'between ⟦ and ⟧'}")
    last = len(tokens) - 1
    for i in sorted({round(k * last / (SHOWN - 1)) for k in range(SHOWN)}):
        row = tokens[i]
        learned = int(row.learned.sum())
        cut = "" if row.kept == learned else f", {row.kept:,} after max_length"
        say(f"\n{_shorten_paths(row.where)}: {len(row.ids):,} tokens, {learned:,} learned{cut}")
        console.print(Text.assemble(*_stretches(row, tokenizer, marks)))


def _stretches(row: RowTokens, tokenizer: Any, marks: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """Yield stretches of learned and of other tokens as text, each with its style."""
    for learned, group in groupby(zip(row.learned, row.ids, strict=True), key=lambda pair: pair[0]):
        text = _shorten(tokenizer.decode([int(token) for _, token in group]))
        yield (f"{marks[0]}{text}{marks[1]}", _LEARNED) if learned else (text, _OTHER)


def _shorten(text: str) -> str:
    """Return a text on one line, harmless to a terminal, without its middle where it is long."""
    from tunegate.harness.records.hidden_text import escape_terminal

    line = escape_terminal(text.replace("\n", "↵"))
    half = _LONGEST // 2
    return line if len(line) <= _LONGEST else f"{line[:half]} … {line[-half:]}"
