"""`tunegate serve`: `/tokenize` renders messages with the chat template of the arm."""

from __future__ import annotations

from tunegate.harness.models.servers.dialect import ServerConnection, TokenizingDialect
from tunegate.harness.models.servers.discovery import ServerModelCard

ORDER = 50


class TunegateServe(TokenizingDialect):
    """The endpoint of `tunegate serve`, which answers chats only."""

    name = "tunegate serve"
    takes_raw_prompts = False

    def recognises(self, server: ServerConnection, card: ServerModelCard) -> bool:
        """Return whether the model is listed as ours."""
        return card.fields.get("owned_by") == "tunegate"


DIALECT = TunegateServe()
