"""How much work a question is, so that the time that is left can be told."""

from __future__ import annotations

from harness.model import Request
from harness.records import CellKind

_READING = 0.25
"""What reading a token costs beside writing one in a wide batch, on a processor; a GPU reads for
less, and the time left is then told too long at first."""


def effort(request: Request) -> float:
    """Return how much work a request is, in tokens that have to be written.

    Texts whose likelihood is asked are only read, like the prompt.
    """
    prompt = request.prompt
    size = len(prompt.text) / 4 if prompt.token_ids is None else len(prompt.token_ids)
    if request.kind in (CellKind.GENERATE, CellKind.LATENCY):
        return request.generation.max_new_tokens + _READING * size
    texts = request.case.choices if request.kind is CellKind.CHOICES else ()
    return 1 + _READING * (size + sum(len(text) / 4 for text in texts or ()))
