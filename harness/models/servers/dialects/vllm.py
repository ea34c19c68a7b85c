"""vLLM: `/tokenize` takes messages and returns the ids of the prompt that they become.

What it drafts is in the counters of `/metrics` alone, which are of all its models together: they
are read before and after an answer (vllm/v1/spec_decode/metrics.py, vllm/v1/metrics/loggers.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from tunegate.harness.models.remote.failures import PermanentError
from tunegate.harness.models.servers.dialect import (
    DraftCounts,
    ServerConnection,
    TokenizingDialect,
)
from tunegate.harness.models.servers.replies import token_usage

ORDER = 30
_COUNTERS = (
    "vllm:generation_tokens_total",
    "vllm:spec_decode_num_draft_tokens_total",
    "vllm:spec_decode_num_accepted_tokens_total",
)
"""Tokens since the server started: generated, drafted, and accepted of those."""
_SETTLE_S = 2.0
"""Seconds in which the counters must have taken in an answer that has come."""


class Vllm(TokenizingDialect):
    """vLLM's OpenAI-compatible server."""

    name = "vLLM"
    owner = "vllm"
    longer_context = "start it with --max-model-len {tokens}"
    without_prefix_cache = (
        "start it with --no-enable-prefix-caching, and without a KV connector (LMCache) in "
        "--kv-transfer-config"
    )

    def ask_counted(
        self, server: ServerConnection, ask: Callable[..., dict[str, Any]]
    ) -> tuple[dict[str, Any], DraftCounts]:
        """Ask a question between two readings of the counters.

        Raises:
            PermanentError: There are no counters, or they rose by other answers than this one.
        """
        before = _read_counters(server)
        reply = ask()
        written, end = token_usage(reply, "completion_tokens"), time.monotonic() + _SETTLE_S
        while True:
            now = _read_counters(server)
            generated, drafted, accepted = (n - b for n, b in zip(now, before, strict=True))
            if written is None or generated >= written or time.monotonic() > end:
                break
            time.sleep(0.05)
        if generated != written:
            raise PermanentError(
                f"{generated} generated tokens in /metrics during an answer of {written}: let "
                "nothing else ask the server during the run",
                whole=False,
            )
        return reply, DraftCounts(drafted, accepted)


def _read_counters(server: ServerConnection) -> list[int]:
    """Return the counters of `/metrics`, each summed over its labels `engine` and `model_name`."""
    page = server.get_text("/metrics")
    totals = []
    for name in _COUNTERS:
        pattern = rf"^{name}(?:\{{.*\}})?[ \t]+(\d\S*)"
        values = re.findall(pattern, page, re.MULTILINE)
        if not values:
            raise PermanentError(
                f"no {name} in /metrics: start the server with --speculative-config and without "
                "--disable-log-stats, or write vllm:FOLDER?mtp=N",
                whole=False,
            )
        totals.append(round(sum(map(float, values))))
    return totals


DIALECT = Vllm()
