"""vLLM: `/tokenize` takes messages and returns the ids of the prompt that they become."""

from __future__ import annotations

from tunegate.harness.models.servers.dialect import ServerConnection, TokenizingDialect
from tunegate.harness.models.servers.discovery import ServerModelCard

ORDER = 30


class Vllm(TokenizingDialect):
    """vLLM's OpenAI-compatible server."""

    name = "vLLM"
    longer_context = "start it with --max-model-len {tokens}"

    def recognises(self, server: ServerConnection, card: ServerModelCard) -> bool:
        """Return whether the model, or the base that it is an adapter of, is listed as vLLM's."""
        return card.fields.get("owned_by") == "vllm"


DIALECT = Vllm()
