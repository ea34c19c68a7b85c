"""The deployment step: what was done to the fine-tune before it ships, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NOTHING = "no step that the identities show"


def deployment_step(tuned: Mapping[str, Any], shipped: Mapping[str, Any]) -> str:
    """Return the steps between the identities of tuned and shipped, in words."""
    return ", ".join(dict.fromkeys(_steps(tuned, shipped))) or NOTHING


def _steps(tuned: Mapping[str, Any], shipped: Mapping[str, Any]) -> Iterator[str]:
    if tuned.get("adapter_sha256") and not shipped.get("adapter_sha256"):
        yield "the adapter merged into the weights"
    if shipped.get("stored") and shipped["stored"] != tuned.get("stored"):
        yield f"the weights stored as {stored_formats(shipped['stored'])}"
    backend = shipped.get("backend")
    same = shipped.get("engine") is not None and shipped["engine"] == tuned.get("engine")
    if backend and backend != tuned.get("backend") and not same:
        yield f"answers by {_words(backend, shipped)}"
    if shipped.get("dtype") and shipped["dtype"] != tuned.get("dtype"):
        yield f"computed in {shipped['dtype']}"
    for key, what in (("tokenizer_sha256", "tokenizer"), ("template_sha256", "chat template")):
        if shipped.get(key) and tuned.get(key) and shipped[key] != tuned[key]:
            yield f"another {what}"


def stored_formats(value: Any) -> str:
    """Return how weights are stored, most common format first: `Q8_0 and F32`."""
    if isinstance(value, Mapping):
        ordered = sorted(value, key=lambda name: (-int(value[name]), str(name)))
        return " and ".join(map(str, ordered))
    return str(value)


def _words(backend: Any, identity: Mapping[str, Any]) -> str:
    engine = identity.get("engine")
    return f"{backend} ({engine})" if engine and backend != "hf" else str(backend)
