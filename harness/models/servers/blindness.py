"""Blindness: does a server drop the images of a conversation without a word?

An image always takes tokens. A server that computes as many without it never saw it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tunegate.harness.contracts.model import Arm, Request
from tunegate.harness.models.server import ServerArm
from tunegate.harness.records.cases import Case
from tunegate.harness.records.images import is_image


def find_blind(requests: Iterable[Request], arms: Mapping[str, Arm]) -> str:
    """Return which server computes as many tokens without the images of a case as with them.

    Empty if none does. One that reports no tokens, or refuses images, is not told here: its
    answers will say.

    Raises:
        BackendError: a server does not answer.
    """
    first: dict[str, Request] = {}
    for request in requests:
        if request.case.images:
            first.setdefault(request.cell.arm, request)
    for name, request in first.items():
        arm = arms.get(name)
        if not isinstance(arm, ServerArm):
            continue
        with_images = arm.count_prompt(request.case, request.generation)
        without = arm.count_prompt(_without_images(request.case), request.generation)
        if with_images is not None and without is not None and with_images <= without:
            return (
                f"{name}: {arm.spec} drops images: it computes {with_images} tokens for "
                f"{request.suite}, case {request.case.id!r}, and {without} for its text alone; "
                "serve a model that sees, or compare all the same with --allow-prompt-difference"
            )
    return ""


def _without_images(case: Case) -> Case:
    def turn_text(turn: dict[str, Any]) -> dict[str, Any]:
        content = turn.get("content")
        if not isinstance(content, list):
            return turn
        return {**turn, "content": [part for part in content if not is_image(part)]}

    return case.with_images([*map(turn_text, case.messages or ())], ())
