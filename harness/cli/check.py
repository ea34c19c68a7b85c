"""`tunegate check [BASE] TUNED`: a minute's look at a fine-tune, without a suite and no verdict.

Is it alive, how far does it move the model beside null adapters of the same shape and size, and
does it still stop, answer and write JSON where base does? Exit codes: 0 nothing alarming; 1 tuned
lost more prompts than chance would take, or computes no numbers; 12 the adapter is dead or the
arms are not comparable; 2 a mistake in the call.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.number_format import refuse_unknown
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.checks.behaviour import Tally
    from harness.checks.drift import Drift
    from harness.cli.everyday import Asked

SHOWN = 3
"""Prompts whose answers are shown, from the first one on."""
LONGEST = 160
"""Characters of an answer that are shown."""
NEAR = 3.0
"""Standard deviations of the null within which tuned is no further from base than chance."""
LAST = "this is no verdict: tunegate gate judges"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="[BASE] TUNED",
            help="Models that compute here. BASE may be left out where the adapter names it.",
        ),
    ],
    dtype: Annotated[
        str, typer.Option(help="Number format of both models; auto is float32 without a GPU.")
    ] = "auto",
) -> None:
    """Look at a fine-tune for a minute: alive, how far from base, does it still stop and answer?

    Exits 1 where something that base does is lost beyond chance, 12 where the adapter is dead.
    """
    specs = _specs(models)
    refuse_unknown(dtype)
    with warnings.catch_warnings():
        # The libraries' warnings are about each other, not about the models.
        warnings.simplefilter("ignore")
        alarms = _look(specs, dtype)
    print()
    for line in [f"ALARM: {alarm}" for alarm in alarms] or ["nothing alarming"]:
        print(line)
    print(LAST)
    raise typer.Exit(1 if alarms else 0)


def _specs(models: Sequence[str]) -> dict[str, str | None]:
    from harness.models.pair import computes_here

    if len(models) > 2:
        raise UsageError(f"{len(models)} models; give two, as in `tunegate check BASE TUNED`")
    for spec in models:
        if not computes_here(spec):
            raise UsageError(
                f"{spec}: a check needs models that compute here; give a model or adapter folder"
            )
    *base, tuned = models
    return {"base": base[0] if base else None, "tuned": tuned}


def _look(specs: Mapping[str, str | None], dtype: str) -> list[str]:
    """Print what is found, each part as soon as it is known; return what is alarming."""
    from harness.checks import liveness
    from harness.cli import everyday
    from harness.models.null_adapter import why_no_null
    from harness.models.pair import open_arms

    print(
        "tunegate: opening " + " and ".join(f"{n} {s}" for n, s in specs.items() if s),
        file=sys.stderr,
        flush=True,
    )
    by = "`tunegate check BASE TUNED`"
    arms: dict[str, Any] = dict(open_arms(specs, dtype=dtype, base_by=by))
    proof = liveness.check(arms)["tuned"]
    for name, arm in arms.items():
        print(f"{name:<6} {arm.spec} ({arm.identity['dtype']})")
    print(f"alive  {_alive(proof)}", flush=True)
    template = all(arm.tokenizer.chat_template for arm in arms.values())
    if not template:
        print("note   no chat template: the prompts are sent as they stand")
    asked = everyday.ask(everyday.prompts(template=template), arms)
    drift = everyday.distance(arms, asked)
    for number, line in enumerate(_moved(drift, why_no_null(arms["tuned"]))):
        print(f"{'' if number else 'moved':<6} {line}")
    counted = everyday.tallies(asked)
    print(*_table(counted), *_answers(asked[:SHOWN]), sep="\n")
    return [*_alarms(drift, counted)]


def _alive(proof: Mapping[str, Any]) -> str:
    change = proof.get("largest_logit_change")
    if change is None:
        return f"proven: {proof['note']}"
    restored = "; switched off, base is back exactly"
    off = restored if "switching_off_restores_base" in proof else ""
    return f"proven: logits change by up to {change:g} on {proof['probes']} probe prompts{off}"


def _moved(drift: Drift | None, why_no_null: str | None) -> Iterator[str]:
    if drift is None:
        yield "not measured: the vocabularies differ in size"
        return
    yield f"KL(base‖tuned) {drift.divergence:.3g} nats a token, where base begins its answers"
    yield f"the likeliest token is another one at {drift.changed} of {drift.places} places"
    if why_no_null:
        yield f"no null adapter: {why_no_null}"
        return
    yield (
        f"{len(drift.null)} null adapters: mean {drift.mean:.3g}, sd {drift.sd:.2g}; "
        f"z = {_z(drift.z)}"
    )
    yield "(its shape, each module's lora_B·lora_A of its trained norm, random directions)"
    if drift.z is not None and drift.z < NEAR:
        yield (
            "no further than random weights of that size would: little was learned, or they grew "
            "too large"
        )


def _z(value: float | None) -> str:
    if value is None:
        return "none, they have no spread"
    return f"{value:+,.0f}" if abs(value) >= 100 else f"{value:+.2g}"


def _table(tallies: Sequence[Tally]) -> Iterator[str]:
    width = max(len(tally.what) for tally in tallies)
    yield f"\n{'':<{width}}  base   tuned"
    for tally in tallies:
        n = len(tally.base)
        base, tuned = (f"{sum(arm)}/{n}" for arm in (tally.base, tally.tuned))
        yield f"{tally.what:<{width}}  {base:<5}  {tuned}"


def _answers(asked: Sequence[Asked]) -> Iterator[str]:
    for one in asked:
        yield f"\n{one.case.prompt}"
        for name, answer in one.answers.items():
            yield f"  {name:<5}  {_shown(answer.text or '')}"


def _shown(text: str) -> str:
    """Return an answer on one line, harmless to a terminal."""
    from harness.plugin.text import inert

    line = " ".join(text.split())
    return inert(line if len(line) <= LONGEST else line[: LONGEST - 1] + "…") or "(nothing)"


def _alarms(drift: Drift | None, tallies: Sequence[Tally]) -> Iterator[str]:
    if drift is not None and not math.isfinite(drift.divergence):
        yield "tuned's probabilities are not finite; try --dtype float32"
    for tally in tallies:
        if tally.alarming:
            yield tally.sentence
