"""vLLM: `/tokenize` takes messages and returns the ids of the prompt that they become.

What it drafts is in the counters of `/metrics` alone, which are of all its models together: they
are read before and after an answer (vllm/v1/spec_decode/metrics.py, vllm/v1/metrics/loggers.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tunegate.harness.models.servers.dialect import (
    DraftCounts,
    ServerConnection,
    TokenizingDialect,
    untold_drafts,
)
from tunegate.harness.models.servers.replies import token_usage

ORDER = 30
_SETTLE_S = 2.0
"""Seconds in which the counters must have taken in an answer that has come."""


class Vllm(TokenizingDialect):
    """vLLM's OpenAI-compatible server."""

    name = "vLLM"
    owner = "vllm"
    longer_context = "start it with --max-model-len {tokens}"

    def ask_counted(
        self, server: ServerConnection, ask: Callable[[], dict[str, Any]]
    ) -> tuple[dict[str, Any], DraftCounts]:
        """Ask a question between two readings of the counters.

        Raises:
            PermanentError: There are no counters, or they rose by other answers than this one.
        """
        before = _Counters.read(server)
        reply = ask()
        written, end = token_usage(reply, "completion_tokens"), time.monotonic() + _SETTLE_S
        if written is None:
            raise untold_drafts("its replies have no completion_tokens in usage")
        after = _Counters.read(server)
        while after.generated - before.generated < written and time.monotonic() < end:
            time.sleep(0.05)
            after = _Counters.read(server)
        if after.generated - before.generated != written:
            raise untold_drafts(
                f"its counters rose by {after.generated - before.generated} generated tokens "
                f"during an answer of {written}; let nothing else ask it during the run"
            )
        drafted, accepted = after.drafted - before.drafted, after.accepted - before.accepted
        return reply, DraftCounts(drafted, accepted)


@dataclass(frozen=True, slots=True)
class _Counters:
    """Tokens since the server started, of all its engines."""

    generated: int
    drafted: int
    accepted: int

    @classmethod
    def read(cls, server: ServerConnection) -> _Counters:
        """Read `/metrics`, in Prometheus' text format."""
        page = server.get_text("/metrics")
        return cls(
            *(
                _total(page, name)
                for name in (
                    "generation_tokens",
                    "spec_decode_num_draft_tokens",
                    "spec_decode_num_accepted_tokens",
                )
            )
        )


def _total(page: str, name: str) -> int:
    """Return a counter, summed over its labels `engine` and `model_name`."""
    values = re.findall(rf"^vllm:{name}_total(?:\{{.*\}})?[ \t]+(\d\S*)", page, re.MULTILINE)
    if not values:
        raise untold_drafts(
            f"/metrics has no vllm:{name}_total; start it with --speculative-config and without "
            "--disable-log-stats"
        )
    return round(sum(map(float, values)))


DIALECT = Vllm()
