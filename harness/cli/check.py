"""`tunegate check [BASE] TUNED`: a one-minute look at a fine-tune, without a suite or a verdict.

Is it alive? Does it move the model further than null adapters of its shape and size? Does it still
stop, answer and write JSON where base does? Exit codes: 0 nothing alarming; 1 tuned lost more
prompts than chance explains, or computes NaN; 12 the adapter is dead or the arms are not
comparable; 2 a mistake in the call.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunegate.harness.cli._engine_check import look_at_engines
from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli.gate import refuse_unknown
from tunegate.harness.records.errors import UsageError

if TYPE_CHECKING:
    from tunegate.harness.checks.drift import ModelDrift
    from tunegate.harness.checks.sanity import BehaviourCount
    from tunegate.harness.run.quick_look import CaseAnswers

ORDER = 40
PANEL = Panel.AFTER_TRAINING
SHOWN = 3
"""Prompts whose answers are shown, from the first one on."""
LONGEST = 160
"""Characters of an answer that are shown."""
NEAR = 3.0
"""Standard deviations of the null adapters' distance within which tuned has not moved."""
LAST = "this is not a verdict: tunegate gate judges"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="[BASE] TUNED",
            help="Models that compute here; leave BASE out if the adapter names it. Or engines, "
            "such as mlx:FOLDER, to compare with Transformers.",
        ),
    ],
    dtype: Annotated[
        str, typer.Option(help="Number format of both models; auto is float32 without a GPU.")
    ] = "auto",
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code in the folders of both models.")
    ] = False,
    allow_config_difference: Annotated[
        str,
        typer.Option(
            help="Keys of config.json that TUNED changes on purpose, such as rope_parameters, "
            "comma-separated."
        ),
    ] = "",
) -> None:
    """Check in a minute that a fine-tune is alive and stops.

    Exits with 1 if it lost something that base does beyond chance, with 12 if the adapter is dead.
    """
    engines = _are_engines(models)
    refuse_unknown(dtype)
    with warnings.catch_warnings():
        # The libraries' warnings are about each other, not about the models.
        warnings.simplefilter("ignore")
        if engines:
            alarms = look_at_engines(models, dtype)
        else:
            specs = {"base": models[0] if len(models) == 2 else None, "tuned": models[-1]}
            alarms = _look(specs, dtype, trusted=trust_remote_code, allowed=allow_config_difference)
    print()
    for line in [f"ALARM: {alarm}" for alarm in alarms] or ["nothing alarming"]:
        say(line)
    say(LAST)
    raise typer.Exit(1 if alarms else 0)


def _are_engines(models: Sequence[str]) -> bool:
    """Return whether the models are engines beside their weights, and not models of this process.

    Raises:
        UsageError: there are too many, or of both kinds, or the weights are elsewhere.
    """
    from tunegate.harness.models.open_arms import computes_here, model_file

    if len(models) > 2:
        raise UsageError(f"{len(models)} models; give two, as in `tunegate check BASE TUNED`")
    for spec in models:
        if not computes_here(spec) and model_file(spec) is None:
            raise UsageError(
                f"{spec}: a check needs models that compute here; give a model or adapter folder"
            )
    engines = {not computes_here(spec) for spec in models}
    if len(engines) == 2:
        raise UsageError(f"{' and '.join(models)}: give two engines, or two model folders")
    return engines == {True}


def _look(specs: Mapping[str, str | None], dtype: str, *, trusted: bool, allowed: str) -> list[str]:
    """Print each finding as soon as it is known; return the alarms."""
    from tunegate.harness.checks import export_losses, liveness
    from tunegate.harness.models.adapters.null_adapter import null_adapter_problem
    from tunegate.harness.models.open_arms import open_arms
    from tunegate.harness.run.quick_look import (
        ask_arms,
        count_behaviour,
        everyday_prompts,
        measure_drift,
    )

    say(
        "tunegate: opening " + " and ".join(f"{n} {s}" for n, s in specs.items() if s),
        file=sys.stderr,
        flush=True,
    )
    losses = export_losses.find_export_losses(specs, allowed=allowed)
    export_losses.refuse_broken_exports(losses, (), allowed=allowed)
    by = "`tunegate check BASE TUNED`"
    arms: dict[str, Any] = dict(open_arms(specs, dtype=dtype, base_by=by, trusted=trusted))
    proof = liveness.check_liveness(arms, allowed=allowed)["tuned"]
    for name, arm in arms.items():
        say(f"{name:<6} {arm.spec} ({arm.identity['dtype']})")
    say(f"alive  {_alive(proof)}", flush=True)
    if warning := proof.get("warning"):
        say(f"but    {warning}")
    say(*(f"lost   {loss.sentence}" for loss in losses.get("tuned", ())))
    template = all(arm.tokenizer.chat_template for arm in arms.values())
    if not template:
        print("note   no chat template: the prompts are sent as written")
    answers = ask_arms(everyday_prompts(template=template), arms)
    drift = measure_drift(arms, answers)
    for number, line in enumerate(_drift_lines(drift, null_adapter_problem(arms["tuned"]))):
        say(f"{'' if number else 'moved':<6} {line}")
    counted = count_behaviour(answers)
    say(*_table(counted), *_answers(answers[:SHOWN]))
    return [*_alarms(drift, counted)]


def _alive(proof: Mapping[str, Any]) -> str:
    change = proof.get("largest_logit_change")
    if change is None:
        return f"proven: {proof['note']}"
    restored = "; switched off, base is back exactly"
    off = restored if "switching_off_restores_base" in proof else ""
    return f"proven: logits change by up to {change:g} on {proof['probes']} probe prompts{off}"


def _drift_lines(drift: ModelDrift | None, why_no_null: str | None) -> Iterator[str]:
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


def _table(tallies: Sequence[BehaviourCount]) -> Iterator[str]:
    width = max(len(tally.what) for tally in tallies)
    yield f"\n{'':<{width}}  base   tuned"
    for tally in tallies:
        n = len(tally.base)
        base, tuned = (f"{sum(arm)}/{n}" for arm in (tally.base, tally.tuned))
        yield f"{tally.what:<{width}}  {base:<5}  {tuned}"


def _answers(asked: Sequence[CaseAnswers]) -> Iterator[str]:
    for one in asked:
        yield f"\n{one.case.prompt}"
        for name, answer in one.answers.items():
            yield f"  {name:<5}  {_format_answer(answer.text or '')}"


def _format_answer(text: str) -> str:
    """Return an answer on one line, harmless to a terminal."""
    from tunegate.harness.plugin.exit_status import escape_control

    line = " ".join(text.split())
    return (
        escape_control(line if len(line) <= LONGEST else line[: LONGEST - 1] + "…") or "(nothing)"
    )


def _alarms(drift: ModelDrift | None, tallies: Sequence[BehaviourCount]) -> Iterator[str]:
    if drift is not None and not math.isfinite(drift.divergence):
        yield "tuned's probabilities are not finite; try --dtype float32"
    for tally in tallies:
        if tally.alarming:
            yield tally.sentence
