"""SGLang: `/tokenize` takes messages in versions of 2026; older ones take texts only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunegate.harness.models.servers.dialect import (
    DraftCounts,
    ServerConnection,
    TokenizingDialect,
)
from tunegate.harness.models.servers.replies import as_object

ORDER = 40


class SgLang(TokenizingDialect):
    """SGLang's OpenAI-compatible server."""

    name = "SGLang"
    owner = "sglang"
    longer_context = "start it with --context-length {tokens}"
    without_prefix_cache = "start it with --disable-radix-cache"

    def ask_counted(
        self, server: ServerConnection, ask: Callable[..., dict[str, Any]]
    ) -> tuple[dict[str, Any], DraftCounts]:
        """Ask a question with the field by which versions since August 2026 add the counts.

        Source: `SpecTokensDetails` in srt/entrypoints/openai/protocol.py.
        """
        reply = ask(return_spec_tokens_details=True)
        details = as_object(as_object(reply.get("sglext")).get("spec_tokens_details"))
        why = (
            "no sglext.spec_tokens_details in the reply: start a version of August 2026 or later "
            "with --speculative-algorithm"
        )
        counts = details.get("spec_num_proposed_drafts"), details.get("spec_num_correct_drafts")
        return reply, DraftCounts.of(*counts, otherwise=why)


DIALECT = SgLang()
