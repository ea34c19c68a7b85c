"""Prompt shapes: a few conversations of a run that stand for all of its kinds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tunegate.harness.contracts.model import Request
from tunegate.harness.records.cases import Case
from tunegate.harness.records.generation import GenerationSettings

_MOST = 12
"""Conversations that are compared at most."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A case of a suite, with the shapes that it has."""

    suite: str
    case: Case
    generation: GenerationSettings
    shapes: tuple[str, ...]

    @property
    def place(self) -> str:
        """Return where it is, for messages."""
        return f"{self.suite}, case {self.case.id!r}"


def choose_conversations(requests: Iterable[Request]) -> tuple[Conversation, ...]:
    """Return a case for each shape that the requests have, in their order."""
    seen: set[str] = set()
    chosen = []
    for request in requests:
        if request.generation.template != "chat" or request.case.images:
            continue  # with images no server shows what it computes
        shapes = tuple(_shapes(request.case, request.generation))
        if not seen.issuperset(shapes):
            seen.update(shapes)
            chosen.append(Conversation(request.suite, request.case, request.generation, shapes))
    return tuple(chosen[:_MOST])


def _shapes(case: Case, generation: GenerationSettings) -> Iterator[str]:
    turns = case.input_messages(generation.system)
    texts = [str(turn.get("content") or "") for turn in turns]
    systems = [text for turn, text in zip(turns, texts, strict=True) if turn["role"] == "system"]
    shapes = {
        "no system prompt": not systems,
        "empty system prompt": bool(systems) and not any(systems),
        "system prompt": any(systems),
        "several turns": len(turns) - len(systems) > 1,
        "tools": bool(case.tools),
        "tool calls": any(turn.get("tool_calls") for turn in turns),
        "tool results": any(turn["role"] == "tool" for turn in turns),
        f"thinking {generation.thinking}": generation.thinking != "template",
        f"variables {generation.chat_template_kwargs}": bool(generation.chat_template_kwargs),
        "non-ASCII": not all(map(str.isascii, texts)),
        "leading white space": any(text != text.lstrip() for text in texts),
        "trailing white space": any(text != text.rstrip() for text in texts),
    }
    return (name for name, has in shapes.items() if has)
