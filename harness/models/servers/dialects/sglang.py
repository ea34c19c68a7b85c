"""SGLang: `/tokenize` takes messages in versions of 2026; older ones take texts only."""

from __future__ import annotations

from tunegate.harness.models.servers.dialect import ServerConnection, TokenizingDialect
from tunegate.harness.models.servers.discovery import ServerModelCard

ORDER = 40


class SgLang(TokenizingDialect):
    """SGLang's OpenAI-compatible server."""

    name = "SGLang"
    longer_context = "start it with --context-length {tokens}"

    def recognises(self, server: ServerConnection, card: ServerModelCard) -> bool:
        """Return whether the model is listed as SGLang's."""
        return card.fields.get("owned_by") == "sglang"


DIALECT = SgLang()
