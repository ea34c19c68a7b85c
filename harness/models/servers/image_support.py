"""Image support: does a server drop the images of a conversation without a word?

An image always takes tokens. A server that computes as many without it never saw it. A server that
inserts placeholder text is not detected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tunegate.harness.contracts.model import Arm, RemoteArm, Request
from tunegate.harness.models.server import ServerArm
from tunegate.harness.records.cases import Case
from tunegate.harness.records.images import is_image

UNKNOWN = "whether the model is shown the images is taken on trust: no tokens are counted for them"


def find_dropped_images(
    requests: Iterable[Request], arms: Mapping[str, Arm]
) -> tuple[str, list[str]]:
    """Return (error, arms that report no token count).

    The error names a server that computes as many tokens without the images of a case as with
    them; it is empty if none does.
    """
    first: dict[str, Request] = {}
    for request in requests:
        if request.case.images and isinstance(arms.get(request.cell.arm), RemoteArm):
            first.setdefault(request.cell.arm, request)
    unknown = []
    for name, request in first.items():
        arm, with_images, without = arms[name], None, None
        if isinstance(arm, ServerArm):
            with_images = arm.count_prompt(request.case, request.generation)
            without = arm.count_prompt(_without_images(request.case), request.generation)
        if with_images is None or without is None:
            unknown.append(name)
        elif with_images <= without:
            return (
                f"{name}: {arm.identity['spec']} drops images: it computes {with_images} tokens "
                f"for {request.suite}, case {request.case.id!r}, and {without} for its text alone; "
                "serve a vision model, or compare anyway with --allow-prompt-difference"
            ), unknown
    return "", unknown


def _without_images(case: Case) -> Case:
    def turn_text(turn: dict[str, Any]) -> dict[str, Any]:
        content = turn.get("content")
        if not isinstance(content, list):
            return turn
        return {**turn, "content": [part for part in content if not is_image(part)]}

    return case.with_images([*map(turn_text, case.messages or ())], ())
