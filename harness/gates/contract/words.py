"""The words of a gate kind: templates, which `sentences` fills with the numbers of a result.

A slot holds one template, or code → template. The first of these codes that has one is used: that
of `GateKind.finding`, the reason, the status, and "". Where a kind has none, `SHARED` has.

A template names what it needs in braces:

- `arm` (`tuned`), `metric`, `kind`, `method`, `cases` (`40 cases`)
- `value` (what the kind measures), `interval`, `change` (`fell 7.0 points, 71.2 → 64.2 %`),
  `movement` (`fell 71.2 → 64.2 %`)
- `margin` (`2 points`), and `bound`, which is `2% of base` where the margin is a share
- `more`: what would decide an open gate
- another slot, such as `rule`, and what the kind's `phrases` and `finding` name
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunegate.harness.records.gate_results import GateReason, GateStatus

Templates = str | Mapping[str, str]
"""One template, or code → template."""

LOOKS_BROKEN, LOSS_SHOWS = "looks_broken", "loss_shows"
"""Findings that have words for every kind: only the adjustment over the run keeps the gate from
failing, or the loss from being a regression."""
SEEN = "seen"
"""Outlook: what was hoped for is ruled out, so the cases are planned for the effect seen."""

CHANCE = "but not beyond chance among all gates of the run"
"""What follows if the adjustment over all gates takes a claim back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateWords:
    """The words of one kind; what is left out is worded by `SHARED`."""

    quantity: Templates = ""
    """The measured quantity: `largest loss`."""
    described: Templates = ""
    """The same next to an interval: `the largest loss`."""
    measured: Templates = ""
    """What was measured, with its interval and the number of cases."""
    moved: Templates = ""
    """What the metric did, in a headline after its name."""
    rule: Templates = ""
    """The rule as a subject: `the floor of 90 %`."""
    holds: Templates = ""
    """What the rule does if the gate passes: `holds`, or `is proven`."""
    label: Templates = ""
    """What the gate asks for, in a table: `tuned at least 90 %`."""
    conclusion: Templates = ""
    """What follows for the rule."""
    brief: Templates = ""
    """The same after the comma of a headline."""
    assumption: Templates = ""
    """Condition on the cases that would decide the gate, after their number; by outlook."""
    unplanned: Templates = ""
    """What would decide the gate if no number of cases is known; by outlook."""
    remedy: Templates = ""
    """What to do then."""
    against: Templates = ""
    """What the cases have in common that speak against it, after their number; `lost` where they
    also lost."""
    reference: Templates = ""
    """Label of the reference line in the picture."""

    def template(self, slot: str, codes: Sequence[str]) -> str:
        """Return the template of the first code that has one, the kind's before the shared one."""
        for code in (*codes, ""):
            for words in (self, SHARED):
                templates = getattr(words, slot)
                by_code = {"": templates} if isinstance(templates, str) else templates
                if text := by_code.get(code):
                    return str(text)
        return ""


_BROKEN: tuple[str, ...] = (
    GateReason.BELOW_FLOOR,
    GateReason.ABOVE_CEILING,
    GateReason.SEVERE_DROPS,
    GateReason.BOUND_BROKEN,
    GateStatus.FAIL,
)

SHARED = GateWords(
    quantity="value",
    described="the {quantity}",
    measured="{metric}: {described} is {value}{interval} on {cases}",
    moved="{movement}",
    rule="the {kind} of {margin}",
    holds="holds",
    label="{kind} {bound}",
    conclusion={
        GateStatus.PASS: "{rule} {holds}",
        GateReason.PASS_WITH_LOSS: "{rule} holds, though a loss is proven",
        **dict.fromkeys(_BROKEN, "{rule} is broken"),
        GateReason.REGRESSED: "a regression is proven, and {rule} is not",
        GateReason.NO_WORTHWHILE_GAIN: "{rule} is not proven, and a gain worth having is ruled out",
        GateReason.PROMPT_SUFFICES: "{rule} is not proven: a prompt alone does it",
        GateReason.WITHIN_NOISE: "the difference may be no larger than what base shows against "
        "itself, so inexact arithmetic alone may explain it, and {rule} is undecided",
        GateReason.INSENSITIVE: "{rule} means nothing here: {base} is not proven that much better "
        "than guessing or failing, so it may have nothing to lose",
        LOOKS_BROKEN: f"{{rule}} looks broken, {CHANCE}",
        LOSS_SHOWS: f"a loss shows, {CHANCE}, and {{rule}} is not proven; {{more}}",
        "": "{rule} is neither proven nor refuted; {more}",
    },
    brief={
        GateStatus.PASS: "{rule} {holds}",
        **dict.fromkeys(_BROKEN, "{rule} is broken"),
        GateReason.REGRESSED: "a proven loss",
        GateReason.NO_WORTHWHILE_GAIN: "and a gain worth having is ruled out",
        GateReason.WITHIN_NOISE: "which inexact arithmetic alone may explain",
        GateReason.PROMPT_SUFFICES: "a prompt alone does it",
        GateReason.INSENSITIVE: "but {base} may have had nothing to lose",
        GateReason.UNSCORED: "open while cases are unscored",
        GateReason.NOT_COMPUTABLE: "{rule} cannot be computed",
        GateReason.LOSS_MAY_BE_STYLE: "a proven loss, which may be only wording",
        "": "{rule} is not proven",
    },
    unplanned="more cases are not expected to decide it",
    remedy="{unplanned}; set a wider bound before the next attempt",
    against="that lost",
    reference="0",
)
"""The words of a kind that has none of its own."""
