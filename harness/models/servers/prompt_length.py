"""Prompt length: do the prompts of a run fit a server's context?

Some servers cut a prompt that is too long without a word: the answer is bad then, and nobody
knows why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tunegate.harness.contracts.model import Arm, Request
from tunegate.harness.models._chat_template import tokenize_text
from tunegate.harness.models.server import ServerArm
from tunegate.harness.records.answers import GENERATED
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.wording import count_noun

_COUNTED = 3
"""Prompts whose tokens only the server knows: so many of the longest are asked for."""


def refuse_short_context(requests: Iterable[Request], arms: Mapping[str, Arm]) -> dict[str, str]:
    """Refuse a server whose context would cut a prompt; return where answers may be cut."""
    of_arm: dict[str, list[Request]] = {name: [] for name in arms}
    for request in requests:
        of_arm.setdefault(request.cell.arm, []).append(request)
    notes = {
        name: _check_arm(name, arm, of_arm[name], arm.settings.context)
        for name, arm in arms.items()
        if isinstance(arm, ServerArm) and arm.settings.context is not None
    }
    return {name: note for name, note in notes.items() if note}


def _check_arm(name: str, arm: ServerArm, requests: list[Request], context: int) -> str:
    lengths = [(length, r) for r in requests if (length := len(r.prompt.token_ids or ()))]
    unknown = sorted(
        (r for r in requests if not r.prompt.token_ids), key=lambda r: -len(r.prompt.text)
    )
    lengths += [(_counted(arm, request, context), request) for request in unknown[:_COUNTED]]
    long = [(length, request) for length, request in lengths if length >= context]
    if long:
        length, request = max(long, key=lambda pair: pair[0])
        needed = length + request.generation.most_tokens
        raise ModelError(
            f"{name}: a prompt of {length:,} tokens ({request.suite}, case {request.case.id!r}) "
            f"does not fit its server's context of {context:,}: it would be cut or refused; "
            f"{arm.dialect.longer_context.format(tokens=needed)}"
        )
    cut = [
        request
        for length, request in lengths
        if request.kind in GENERATED and length + request.generation.most_tokens > context
    ]
    if not cut:
        return ""
    return (
        f"{count_noun(len(cut), 'prompt')} with max_new_tokens exceed the context of {context:,} "
        "tokens: long answers are cut there"
    )


def _counted(arm: ServerArm, request: Request, context: int) -> int:
    """Return the tokens of a prompt that the server renders; 0 where they cannot be known."""
    images = request.case.images  # their tokens are not shown
    shown = None if images else arm.show_prompt(request.case, request.generation)
    if shown is not None and shown.token_ids is not None:
        return len(shown.token_ids)
    if shown is not None and shown.text is not None and arm.tokenizer is not None:
        return len(tokenize_text(arm.tokenizer, shown.text))
    counted = arm.count_prompt(request.case, request.generation) or 0
    return context if counted >= context - 1 else counted  # a full context was cut
