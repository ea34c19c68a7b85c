"""Provider batches through litellm: many chat completions in a file, answered within a day.

OpenAI and Azure take about half the price for them. A batch runs at the provider even after
this process has ended: who keeps its id can collect it later.

Source: https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import sleep
from typing import Any

from tunegate.harness.models.remote.failures import PermanentError, quote_excerpt
from tunegate.harness.models.remote.litellm_calls import error_of_exception, litellm_library
from tunegate.harness.records.errors import BackendError

POLL_S = 30.0
"""Seconds between two looks at a batch."""
_URLS = {"openai": "/v1/chat/completions", "azure": "/chat/completions"}
"""Provider → path of a request in a batch, as its documentation has it."""
PROVIDERS = tuple(_URLS)
"""Providers whose batches have this form."""
_ENDED = ("completed", "failed", "expired", "cancelled")
_PATIENCE = 20
"""Looks in a row that may fail before the batch is given up."""


@dataclass(frozen=True, slots=True)
class BatchReply:
    """Result of one request of a batch."""

    key: str
    body: Mapping[str, Any] | None
    """The chat completion in OpenAI's form; None where the request failed."""
    error: str | None = None


def submit_batch(provider: str, requests: Mapping[str, Mapping[str, Any]]) -> str:
    """Submit chat completions as a batch and return its id."""
    litellm = litellm_library()
    lines = (
        json.dumps({"custom_id": key, "method": "POST", "url": _URLS[provider], "body": body})
        for key, body in requests.items()
    )
    file = ("questions.jsonl", "\n".join(lines).encode())
    try:
        sent = litellm.create_file(file=file, purpose="batch", custom_llm_provider=provider)
        batch = litellm.create_batch(
            completion_window="24h",
            endpoint=_URLS[provider],
            input_file_id=sent.id,
            custom_llm_provider=provider,
        )
    except Exception as error:  # litellm lets through what a provider's adapter stumbles over
        raise BackendError(
            f"{provider} did not accept the batch: {error_of_exception(error)}"
        ) from error
    return str(batch.id)


def collect_batch(provider: str, batch_id: str) -> Iterator[BatchReply]:
    """Wait until a batch has ended and yield its replies; requests without one are left out."""
    litellm = litellm_library()
    batch = _wait(litellm, provider, batch_id)
    files = [batch.output_file_id, batch.error_file_id]
    if batch.status == "failed" and not any(files):
        errors = getattr(batch.errors, "data", None) or ()
        why = "; ".join(str(getattr(error, "message", error)) for error in errors)
        raise BackendError(f"{provider} refused the batch {batch_id}: {quote_excerpt(why)}")
    for file in filter(None, files):
        try:
            content = litellm.file_content(file_id=file, custom_llm_provider=provider)
        except Exception as error:  # likewise
            raise BackendError(
                f"{provider}: the replies of the batch {batch_id} cannot be fetched: "
                f"{error_of_exception(error)}"
            ) from error
        yield from map(_reply, filter(None, content.text.split("\n")))


def _wait(litellm: Any, provider: str, batch_id: str) -> Any:
    """Return a batch once it has ended."""
    failures = 0
    while True:
        try:
            batch = litellm.retrieve_batch(batch_id=batch_id, custom_llm_provider=provider)
            failures = 0
        except Exception as error:  # likewise
            failure = error_of_exception(error)
            failures += 1
            if isinstance(failure, PermanentError) or failures == _PATIENCE:
                raise BackendError(f"{provider}: the batch {batch_id}: {failure}") from error
        else:
            if batch.status in _ENDED:
                return batch
        sleep(POLL_S)


def _reply(line: str) -> BatchReply:
    """Read a line of a batch's files."""
    try:
        record = json.loads(line)
        key, response = str(record["custom_id"]), record.get("response") or {}
        if response.get("status_code") == 200:
            return BatchReply(key, response["body"])
        error = record.get("error") or (response.get("body") or {}).get("error") or {}
        failure = quote_excerpt(str(error.get("message") or error))
        return BatchReply(key, None, f"HTTP {response.get('status_code', '?')}: {failure}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackendError(
            f"the batch holds a line of another form ({type(error).__name__}): {line[:80]!r}"
        ) from error
