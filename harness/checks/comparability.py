"""Comparability of the arms: the same prompts, and every kind of request answerable.

Two arms that answered different prompts under one id are not a pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.checks.answerable import check_labels, check_rankings
from tunegate.harness.checks.configurations import same_size
from tunegate.harness.checks.recorded_requests import RecordedComparison, prompt_origin
from tunegate.harness.checks.recorded_results import compare_results
from tunegate.harness.checks.recorded_scores import recorded_scores
from tunegate.harness.contracts.further_arm import further_arm
from tunegate.harness.contracts.model import (
    Arm,
    CuttingArm,
    DiscoveredArm,
    LocalArm,
    Prompt,
    RankingArm,
    RecordedArm,
    RemoteArm,
    Request,
    SeeingArm,
)
from tunegate.harness.contracts.result_set import results_of
from tunegate.harness.records.answers import GENERATED, Cell, CellKind
from tunegate.harness.records.errors import NotComparable, UsageError
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite import Suite


def check_comparability(
    prompts: Mapping[tuple[str, str, str], Prompt],
    arms: Mapping[str, Arm],
    suites: Iterable[Suite] = (),
) -> dict[str, Any]:
    """Return what was proven about the prompts of base and every other arm.

    `prompts` maps (suite, case, arm) to the prompt as the arm sees it.

    Raises:
        NotComparable: the first prompt that differs, and the likely cause.
    """
    results = {name: of for name, arm in arms.items() if (of := results_of(arm)) is not None}
    if len(results) == len(arms):
        cases = (case for _, case, arm in prompts if arm == "base")
        suites = list(suites)
        declared = {
            name for name in results if suites and all(name in s.arm_prompts for s in suites)
        }
        return compare_results(cases, results, recorded_scores(suites), declared)
    # Rendered prompts are compared only where the same side rendered them: how a server renders
    # messages is unknown, and recorded arms are compared by their records below.
    origins = {name: prompt_origin(arm) for name, arm in arms.items()}
    others = [
        name
        for name in arms
        if name != "base" and not further_arm(name).other_model
        if origins[name] == origins["base"] != "replay"
    ]
    sent = {
        arm
        for (_, _, arm), prompt in prompts.items()
        if prompt.images and prompt.token_ids is None and isinstance(arms.get(arm), RemoteArm)
    }
    templates, compared, split = _shared_templates(suites, arms), 0, 0
    for (suite, case, arm), prompt in prompts.items():
        if arm != "base":
            continue
        for other in others:
            theirs = prompts.get((suite, case, other))
            if theirs is not None and not _rendered_apart(prompt, theirs):
                compared += 1
                same_seen = prompt.text == theirs.text and prompt.images == theirs.images
                if suite in templates and same_seen:
                    split += not prompt.equals(theirs)
                elif not prompt.equals(theirs):
                    raise NotComparable(_difference(suite, case, other, prompt, theirs, arms))
    recorded = RecordedComparison.of(prompts, arms, suites)
    recorded.refuse_different()
    total = len({key[:2] for key in prompts})
    unseen = {
        "replay": recorded.trusted,
        "messages": [
            name
            for name, origin in origins.items()
            if (origin == "messages" or name in sent) and not further_arm(name).other_model
        ],
    }
    trusted = [f"{' and '.join(n)} {_ON_TRUST[s]}" for s, n in unseen.items() if n]
    if trusted:
        count = len(recorded.on_trust)
        part = f" ({count} of {total} cases)" if 0 < count < total else ""
        return {
            "status": "declared",
            "prompts": total,
            **({"on_trust": count} if count else {}),
            "note": f"{', '.join(trusted)}: prompts taken on trust{part}",
        }
    tokens = not split and all(p.token_ids is not None for p in prompts.values())
    text = any(arm.identity.get("prompts") == "text" for arm in arms.values())
    by = "token ids" if tokens and not text else "text"
    return {
        "status": "proven",
        "prompts": total,
        "compared": compared + recorded.compared,
        "by": "what was recorded" if recorded.arms else by,
        "template_sha256": arms["base"].identity.get("template_sha256"),
        **({"chat_template": templates} if templates else {}),
        **({"other_token_ids": split} if split else {}),
    }


def declared_arms(suites: Sequence[Suite], arms: Mapping[str, Arm]) -> dict[str, str]:
    """Return further arm → how it differs from base by declaration: its model and its prompt."""
    declared = {}
    for name, arm in arms.items():
        rules = further_arm(name)
        if not rules.reference:
            continue
        given = ((suite.name, suite.arm_prompts.get(name)) for suite in suites)
        prompts = {suite: prompt.record().words for suite, prompt in given if prompt is not None}
        each = [f"{words} in {suite}" for suite, words in prompts.items()]
        words = [*prompts.values()][:1] if len({*prompts.values()}) == 1 else each
        model = str(arm.identity.get("spec")) if rules.other_model else "base"
        declared[name] = f"{model} with {'; '.join(words)}" if words else model
        if not any(gate.against == name for suite in suites for gate in suite.gates):
            declared[name] += ", which no gate compares tuned with"
    return declared


def _rendered_apart(one: Prompt, other: Prompt) -> bool:
    """Return whether images were sent to a server by one arm, and prepared here by the other."""
    return bool(one.images) and (one.token_ids is None) != (other.token_ids is None)


def _shared_templates(suites: Iterable[Suite], arms: Mapping[str, Arm]) -> dict[str, str]:
    """Return suite → hash of the chat template that it sets for all arms, if it sets one.

    Tokenizers may then split a text differently: base does not know tokens added in training.
    """
    named = {suite.name: suite.generation.chat_template for suite in suites}
    return {
        suite: str(arms[name].identity.get("template_sha256")) if name in arms else sha256(name)
        for suite, name in named.items()
        if name is not None
    }


_ON_TRUST = {"replay": "recorded elsewhere", "messages": "rendered elsewhere"}
"""Origin of prompts that are not seen here → what happened to them."""


def _difference(
    suite: str, case: str, arm: str, base: Prompt, other: Prompt, arms: Mapping[str, Arm]
) -> str:
    """Return the first prompt that differs, and whether the template is to blame."""
    if base.text == other.text and base.images != other.images:
        return (
            f"{suite}, case {case!r}: base and {arm} prepare the same images differently; give "
            "both arms the same preprocessor_config.json or processor_config.json"
        )
    templates = {n: arms[n].identity.get("template_sha256") for n in ("base", arm)}
    cause = "the chat templates differ" if len(set(templates.values())) > 1 else _cause(base, other)
    return (
        f"{suite}, case {case!r}: base and {arm} get different prompts ({cause}); "
        f"{base.difference(other, ('base', arm))}; give both arms the same tokenizer and chat "
        'template, or write chat_template = "tuned" under [generation]'
    )


def _cause(base: Prompt, other: Prompt) -> str:
    if base.text == other.text:
        return "the tokenizers split the same text differently"
    return "the rendered texts differ"


def check_answerable(suites: Sequence[Suite], arms: Mapping[str, Arm]) -> None:
    """Find out what servers can answer, and refuse metrics that an arm cannot answer for.

    Raises:
        UsageError: suite, metric, arm and why.
        BackendError: a server ended over the question what it can answer.
    """
    if any(prompt.examples for suite in suites for prompt in suite.arm_prompts.values()):
        from tunegate.harness.checks.contamination.check import refuse_cases_as_examples

        refuse_cases_as_examples(suites)
    needed = {metric.needs for suite in suites for metric in suite.metrics}
    for arm in arms.values():
        if isinstance(arm, DiscoveredArm):
            arm.discover_kinds(needed)
    for suite in suites:
        for name, arm in arms.items():
            for metric in suite.metrics:
                if further_arm(name).complete and metric.needs not in arm.kinds:
                    raise UsageError(
                        f"{suite.name}: metric {metric.name!r}: {arm.cannot(metric.needs)}"
                    )
            check_rankings(suite, name, arm)
            check_labels(suite, name, arm)
            refuse_unseen_images(suite, name, arm)


def refuse_other_cuts(suites: Iterable[Suite], arms: Mapping[str, Arm]) -> None:
    """Refuse arms of which one cuts a text that the other reads further."""
    base, cases = arms["base"], [(suite.name, case) for suite in suites for case in suite.cases]
    for name, arm in arms.items():
        if not (isinstance(base, CuttingArm) and isinstance(arm, CuttingArm)):
            continue
        if further_arm(name).other_model:
            continue
        limits = base.max_length, arm.max_length
        if limits[0] == limits[1] or (isinstance(arm, RankingArm) and not same_size(base, arm)):
            continue
        shorter = min(limit for limit in limits if limit is not None)
        for suite, case in cases:
            if case.prompt is not None and max(a.count_tokens(case) for a in (base, arm)) > shorter:
                mine, their = (limit or "no limit" for limit in limits)
                raise NotComparable(
                    f"{suite}, case {case.id!r}: base and {name} read different texts: max_length "
                    f"is {mine} in base and {their} in {name}; give both the same, or compare them "
                    "anyway with --allow-prompt-difference"
                )


def refuse_other_contexts(requests: Iterable[Request], arms: Mapping[str, Arm]) -> None:
    """Refuse arms of which one has no room for a prompt and its answer, and another has."""
    limits = {
        name: arm.context_length
        for name, arm in arms.items()
        if isinstance(arm, LocalArm) and not further_arm(name).reference
    }
    if len({*limits.values()}) < 2:
        return
    name, shortest = min(
        ((n, limit) for n, limit in limits.items() if limit is not None),
        key=lambda limit_of_arm: limit_of_arm[1],
    )
    for request in requests:
        answer = request.generation.most_tokens if request.kind in GENERATED else 0
        needed = len(request.prompt.token_ids or ()) + answer
        if needed > shortest:
            shown = ", ".join(f"{limit or 'unlimited'} in {n}" for n, limit in limits.items())
            raise NotComparable(
                f"{request.suite}, case {request.case.id!r} takes up to {needed} tokens, beyond "
                f"the context of {name}: max_position_embeddings is {shown}; give all arms the "
                "same, lower max_new_tokens, or compare them anyway with --allow-prompt-difference"
            )


def refuse_long_prompts(requests: Iterable[Request], arms: Mapping[str, Arm]) -> None:
    """Refuse prompts of an arm's own for which its context has no room.

    Raises:
        UsageError: arm, case, tokens and what to shorten.
    """
    limits = {
        name: arm.context_length
        for name, arm in arms.items()
        if isinstance(arm, LocalArm) and further_arm(name).reference
    }
    for problem, name in long_prompts(requests, limits):
        raise UsageError(
            f"{problem}; lower n_examples under [{name}], shorten its system prompt, or lower "
            "max_new_tokens"
        )


def long_prompts(
    requests: Iterable[Request], limits: Mapping[str, int | None]
) -> Iterator[tuple[str, str]]:
    """Yield each prompt that an arm's context, in tokens, has no room for: (what is wrong, arm)."""
    for request in requests if limits else ():
        name, limit = request.cell.arm, limits.get(request.cell.arm)
        answer = request.generation.most_tokens if request.kind in GENERATED else 0
        needed = len(request.prompt.token_ids or ()) + answer
        if limit is not None and needed > limit:
            case = f"{request.suite}, case {request.case.id!r}"
            yield f"{case} takes up to {needed} tokens of {name}, whose context has {limit}", name


def refuse_unseen_images(suite: Suite, name: str, arm: Arm) -> None:
    """Refuse cases with images for an arm that cannot see them."""
    count = sum(bool(case.images) for case in suite.cases)
    if not count or isinstance(arm, RecordedArm) or not further_arm(name).complete:
        return
    seen = arm.image_kinds if isinstance(arm, SeeingArm) else frozenset()
    for metric in suite.metrics:
        if metric.needs not in {*seen, CellKind.RECORDED}:
            what = f"{suite.name} has images in {count_noun(count, 'case')}"
            who = f"{name} ({arm.identity.get('spec')})"
            if not seen:
                raise UsageError(
                    f"{what}, and {who} reads text only; use a vision model, or ask it "
                    "through its server (server:URL#MODEL)"
                )
            raise UsageError(
                f"{what}: metric {metric.name!r} asks for {metric.needs.value!r}, which {who} does "
                "not offer for images; use a metric of the written answer (exact_match, …)"
            )


def check_prompts(cells: Iterable[Cell], failures: Mapping[str, str]) -> None:
    """Refuse a suite if not one of its prompts can be rendered for an arm.

    `failures` maps a cell's key to the reason why its prompt could not be rendered.
    """
    first: dict[tuple[str, str], str] = {}
    rendered: set[tuple[str, str]] = set()
    for cell in cells:
        side = cell.suite, cell.arm
        if cell.key in failures:
            first.setdefault(side, f"case {cell.case}: {failures[cell.key]}")
        else:
            rendered.add(side)
    for (suite, arm), why in first.items():
        if (suite, arm) not in rendered:
            raise UsageError(f"{suite}: {arm} can answer none of the cases; {why}")
