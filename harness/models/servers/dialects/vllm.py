"""vLLM: `/tokenize` takes messages and returns the ids of the prompt that they become."""

from __future__ import annotations

from tunegate.harness.models.servers.dialect import TokenizingDialect

ORDER = 30


class Vllm(TokenizingDialect):
    """vLLM's OpenAI-compatible server."""

    name = "vLLM"
    owner = "vllm"
    longer_context = "start it with --max-model-len {tokens}"


DIALECT = Vllm()
