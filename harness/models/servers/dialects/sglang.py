"""SGLang: `/tokenize` takes messages in versions of 2026; older ones take texts only."""

from __future__ import annotations

from tunegate.harness.models.servers.dialect import TokenizingDialect

ORDER = 40


class SgLang(TokenizingDialect):
    """SGLang's OpenAI-compatible server."""

    name = "SGLang"
    owner = "sglang"
    longer_context = "start it with --context-length {tokens}"


DIALECT = SgLang()
