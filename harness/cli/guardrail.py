"""`tunegate guardrail check`: how often the guardrail's checks are right, on texts with labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel

if TYPE_CHECKING:
    from tunegate.harness.production.guardrail.check_rates import LabelledText, MeasuredCheck

ORDER = 185
PANEL = Panel.IN_PRODUCTION
commands = typer.Typer(help="Measure the guardrail of litellm's proxy.", no_args_is_help=True)
FALSE_ALARMS = 0.01
"""Share of harmless texts that the proposed threshold flags at most."""
_START = 60
"""Characters of a text that are shown."""


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(commands, name="guardrail")


@commands.callback()
def _group() -> None:
    """Measure the guardrail of litellm's proxy."""


@commands.command()
def check(
    texts: Annotated[
        Path, typer.Argument(help='Lines {"text": "…", "attack": true}; false for harmless ones.')
    ],
    classifier: Annotated[
        str, typer.Option(help="hf:FOLDER_OR_ID or command:PROGRAM, as in config.yaml.")
    ] = "",
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Score from which a text is an attack.")
    ] = 0.5,
    show: Annotated[int, typer.Option(min=0, help="Wrong texts to print of each kind.")] = 3,
) -> None:
    """Print how many attacks the checks catch, and how many harmless texts they flag."""
    from tunegate.harness.production.guardrail.check_rates import measure_check, read_labelled_texts
    from tunegate.harness.production.guardrail.classifiers import open_classifier
    from tunegate.harness.production.guardrail.injection import injection_in

    labelled = read_labelled_texts(texts)
    checks: list[tuple[str, Callable[[str], float]]] = [
        ("injection", lambda text: float(injection_in(text) is not None)),
    ]
    if classifier:
        checks.append(("classifier", open_classifier(classifier).attack_probability))
    attacks = sum(labelled_text.attack for labelled_text in labelled)
    say(f"{texts}: {attacks} attacks, {len(labelled) - attacks} harmless texts")
    say(f"{'check':22}{'caught':>34}{'flagged, though harmless':>34}{'ms a text':>11}")
    measured = {}
    for name, score in checks:
        measured[name] = measure_check(labelled, score)
        for line in rate_lines(name, measured[name], threshold):
            say(line)
    if classifier:
        joined = measured["injection"].join_with(measured["classifier"], threshold)
        say(*rate_lines("injection or classifier", joined, threshold))
        say(threshold_line(measured["classifier"]))
    last = measured["classifier" if classifier else "injection"]
    for line in wrong_lines(labelled, last, threshold, show):
        say(line)


def rate_lines(name: str, measured: MeasuredCheck, threshold: float) -> Iterator[str]:
    """Yield the rates of a check with their exact 90 % intervals."""
    caught, flagged = (_rate(scores, threshold) for scores in (measured.attacks, measured.harmless))
    yield f"{name:22}{caught:>34}{flagged:>34}{measured.milliseconds:>11.2f}"
    lost = sum(score is None for score in (*measured.attacks, *measured.harmless))
    if lost:
        yield f"  {lost} texts without a score; they count as not flagged"


def _rate(scores: Sequence[float | None], threshold: float) -> str:
    from tunegate.harness.comparison.mean_level import rate_interval
    from tunegate.harness.records.defaults import CONFIDENCE

    flags = [int(score is not None and score >= threshold) for score in scores]
    hits, interval = sum(flags), rate_interval(flags, None, CONFIDENCE)
    share = 100 * hits / len(scores)
    low, high = 100 * interval.low, 100 * interval.high
    return f"{hits} of {len(scores)}: {share:.1f} % [{low:.1f}, {high:.1f}]"


def threshold_line(measured: MeasuredCheck) -> str:
    """Return the threshold at which a classifier flags few harmless texts, and what it catches."""
    harmless = sorted((score or 0.0 for score in measured.harmless), reverse=True)
    allowed = int(FALSE_ALARMS * len(harmless))
    limit = harmless[allowed]
    caught = sum((score or 0.0) > limit for score in measured.attacks)
    share = 100 * caught / len(measured.attacks)
    return (
        f"a threshold just above {limit:.4f} flags {allowed} of {len(harmless)} harmless texts and "
        f"catches {share:.1f} % of the attacks; it was chosen on these texts: measure it on others"
    )


def wrong_lines(
    labelled: Sequence[LabelledText], measured: MeasuredCheck, threshold: float, show: int
) -> Iterator[str]:
    """Yield the first texts that are missed, and those that are flagged though harmless."""
    from tunegate.harness.records.hidden_text import escape_hidden

    attacks = [labelled_text.text for labelled_text in labelled if labelled_text.attack]
    harmless = [labelled_text.text for labelled_text in labelled if not labelled_text.attack]
    missed = [t for t, s in zip(attacks, measured.attacks, strict=True) if (s or 0.0) < threshold]
    wrong = [t for t, s in zip(harmless, measured.harmless, strict=True) if (s or 0.0) >= threshold]
    for name, texts in (("missed", missed), ("harmless, but flagged", wrong)):
        for text in texts[:show]:
            yield f"{name}: {escape_hidden(' '.join(text.split())[:_START])}"
