"""Comparability of the arms: the same prompts, and every kind of request answerable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tunegate.harness.errors import NotComparable, UsageError
from tunegate.harness.further_arm import further_arm
from tunegate.harness.model import Arm, Prompt
from tunegate.harness.records.cases import Cell
from tunegate.harness.suite import Suite


def check_comparability(
    prompts: Mapping[tuple[str, str, str], Prompt], arms: Mapping[str, Arm]
) -> dict[str, Any]:
    """Return what was proven about the prompts of base and every other arm.

    Args:
        prompts: (suite, case, arm) → prompt as the arm sees it.
        arms: The opened arms, base among them.

    Raises:
        NotComparable: a prompt differs; the message names the first one and what differs.
    """
    # What a recorded arm was really sent, or how a server renders messages, is not known here:
    # prompts are compared among arms of one sort only.
    sorts = {name: _sort(arm) for name, arm in arms.items()}
    others = [n for n in arms if n != "base" and sorts[n] == sorts["base"]]
    compared = 0
    for (suite, case, arm), prompt in prompts.items():
        if arm != "base":
            continue
        for other in others:
            theirs = prompts.get((suite, case, other))
            if theirs is not None:
                compared += 1
                if not _same(prompt, theirs):
                    raise NotComparable(_difference(suite, case, other, prompt, theirs, arms))
    unseen = {s: [n for n, own in sorts.items() if own == s] for s in _ON_TRUST}
    trusted = [f"{' and '.join(n)} {_ON_TRUST[s]}" for s, n in unseen.items() if n]
    if trusted:
        return {
            "status": "declared",
            "prompts": len({key[:2] for key in prompts}),
            "note": f"{', '.join(trusted)}: the prompts are taken on trust",
        }
    tokens = all(p.token_ids is not None for p in prompts.values())
    text = any(arm.identity.get("prompts") == "text" for arm in arms.values())
    return {
        "status": "proven",
        "prompts": len({key[:2] for key in prompts}),
        "compared": compared,
        "by": "token ids" if tokens and not text else "text",
        "template_sha256": arms["base"].identity.get("template_sha256"),
    }


def _same(base: Prompt, other: Prompt) -> bool:
    """Return whether prompts are equal: as token ids where both arms know them, else as text."""
    if base.token_ids is None or other.token_ids is None:
        return base.text == other.text
    return base.token_ids == other.token_ids


_ON_TRUST = {"replay": "recorded elsewhere", "messages": "rendered elsewhere"}
"""Sort of arm whose prompts are not seen here → what happens to them."""


def _sort(arm: Arm) -> str:
    """Return who renders an arm's prompts: we, the one who recorded it, or a server."""
    if arm.identity.get("backend") == "replay":
        return "replay"
    return "messages" if arm.identity.get("prompts") == "messages" else "here"


def _difference(
    suite: str, case: str, arm: str, base: Prompt, other: Prompt, arms: Mapping[str, Arm]
) -> str:
    """Return which prompt differs first and, if the template is to blame, that it is."""
    templates = {n: arms[n].identity.get("template_sha256") for n in ("base", arm)}
    cause = "the chat templates differ" if len(set(templates.values())) > 1 else _cause(base, other)
    at = _first_difference(base.text, other.text)
    return (
        f"{suite}, case {case!r}: base and {arm} get different prompts ({cause}); base has "
        f"{_excerpt(base.text, at)} where {arm} has {_excerpt(other.text, at)}; "
        "give both arms the same tokenizer and chat template"
    )


def _cause(base: Prompt, other: Prompt) -> str:
    if base.text == other.text:
        return "the tokenizers split the same text differently"
    return "the rendered texts differ"


def _first_difference(base: str, other: str) -> int:
    pairs = enumerate(zip(base, other, strict=False))
    return next((i for i, (b, o) in pairs if b != o), min(len(base), len(other)))


def _excerpt(text: str, at: int) -> str:
    return repr(text[max(0, at - 20) : at + 40])


def check_answerable(suites: Iterable[Suite], arms: Mapping[str, Arm]) -> None:
    """Refuse metrics whose kind of question an arm cannot answer.

    Raises:
        UsageError: suite, metric and why.
    """
    for suite in suites:
        for metric in suite.metrics:
            for name, arm in arms.items():
                if further_arm(name).complete and metric.needs not in arm.kinds:
                    raise UsageError(
                        f"{suite.name}: metric {metric.name!r}: {arm.cannot(metric.needs)}"
                    )


def check_prompts(cells: Iterable[Cell], failures: Mapping[str, str]) -> None:
    """Refuse a suite of which an arm can be shown no prompt at all.

    Args:
        cells: Every cell of the plan.
        failures: Cell key → why its prompt could not be rendered.

    Raises:
        UsageError: suite, arm, and what the first case's prompt failed on.
    """
    first: dict[tuple[str, str], str] = {}
    shown: set[tuple[str, str]] = set()
    for cell in cells:
        side = cell.suite, cell.arm
        if cell.key in failures:
            first.setdefault(side, f"case {cell.case}: {failures[cell.key]}")
        else:
            shown.add(side)
    for (suite, arm), why in first.items():
        if (suite, arm) not in shown:
            raise UsageError(f"{suite}: not one case can be put to {arm}; {why}")
