"""`tunegate check` on an engine: how far is it from Transformers on the same weights?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tunegate.harness.cli._output import say
from tunegate.harness.records.errors import ModelError, UsageError

if TYPE_CHECKING:
    from tunegate.harness.run.engine_look import EngineDifference

_MOST_CHANGED = 0.1
"""Share of likeliest tokens that differ, from which on an engine computes something else. Rounding
to 16 bits changes a few."""


def look_at_engines(specs: Sequence[str], dtype: str) -> list[str]:
    """Print how far each engine is from Transformers on its weights; return the alarms."""
    from tunegate.harness.contracts.model import ServedArm, ServerHosting
    from tunegate.harness.models.open_arms import open_arms
    from tunegate.harness.models.servers.identity import reference_specs
    from tunegate.harness.run.engine_look import measure_engine
    from tunegate.harness.run.quick_look import everyday_prompts

    named = {"base": _base(specs), "tuned": specs[-1]}
    shown = ("base", "tuned") if len(specs) == 2 else ("tuned",)
    hosting = ServerHosting(report=lambda line: say(f"tunegate: {line}", file=sys.stderr))
    arms: dict[str, Any] = dict(open_arms(named, dtype=dtype, hosting=hosting))
    folders = {}
    for name, arm in arms.items():
        if not isinstance(arm, ServedArm) or arm.weights_spec is None or arm.tokenizer is None:
            raise ModelError(
                f"{named[name]}: its weights or its tokenizer are not here; name them in the spec"
            )
        folders[name] = arm.weights_spec
    specs_of = reference_specs(arms, folders)
    references: dict[str, Any] = dict(open_arms(specs_of, dtype=dtype))
    alarms = []
    for name in shown:
        arm, reference = arms[name], references[name]
        prompts = everyday_prompts(template=bool(arm.tokenizer.chat_template))
        found = measure_engine(arm, reference, prompts)
        engine = arm.identity
        say(f"engine {named[name]} ({engine.get('dtype') or 'number format unknown'})")
        say(f"files  {folders[name]} by Transformers ({reference.identity['dtype']})")
        say(*_lines(found), flush=True)
        if not found.divergence < float("inf") or found.changed > _MOST_CHANGED * found.places:
            alarms.append(f"{named[name]} computes something else than its files")
    return alarms


def _base(specs: Sequence[str]) -> str:
    from tunegate.harness.models.open_arms import named_base

    if len(specs) == 2:
        return specs[0]
    try:
        return named_base(specs[0], "`tunegate check BASE TUNED`")
    except UsageError:
        return specs[0]  # no adapter


def _lines(found: EngineDifference) -> Iterator[str]:
    yield (
        f"differs {found.divergence:.2g} nats a token, at most {found.largest:.2g} "
        f"(KL, {found.places} places in answers to everyday prompts)"
    )
    yield f"the likeliest token is another one at {found.changed} of {found.places} places"
    if (first := found.first) is not None:
        yield (
            f"first    token {first.place} of the answer to {first.prompt!r}: {first.found!r} "
            f"instead of {first.expected!r}"
        )
