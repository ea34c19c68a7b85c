"""llama.cpp's `llama-server`: `/tokenize`, `/apply-template` and `/props`.

A chat request's prompt is what `/apply-template` writes, tokenised with the server's special
tokens: it leaves a beginning of sequence out of the text that tokenising puts back
(tools/server/README.md and common/chat.cpp).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from tunegate.harness.models.remote.failures import PermanentError
from tunegate.harness.models.servers.dialect import (
    NOT_SHOWN,
    DraftCounts,
    ServerConnection,
    ServerDialect,
    ServerSettings,
    ShownPrompt,
)
from tunegate.harness.models.servers.discovery import ServerModelCard
from tunegate.harness.models.servers.replies import as_object, as_text

ORDER = 60

_NEUTRAL: Mapping[str, Any] = {
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_k": 0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "top_n_sigma": -1.0,
    "dry_multiplier": 0.0,
    "xtc_probability": 0.0,
    "dynatemp_range": 0.0,
    "mirostat": 0,
}
"""Settings of llama.cpp's samplers that leave the model's own distribution."""
_LIKELIEST = 20
"""Tokens whose log-probabilities are asked for, as of vLLM."""
_SAMPLING = ("temperature", "top_p", *_NEUTRAL)


class LlamaCpp(ServerDialect):
    """llama.cpp's server, alone or behind its router."""

    name = "llama.cpp"
    owner = "llamacpp"
    rounds = True  # its cache is in 16 bits, if nothing else is
    neutral = _NEUTRAL
    longer_context = "start it with -c {tokens}, times its --parallel slots, which share it"
    without_prefix_cache = "start it with --no-cache-prompt, or send cache_prompt: false"

    def recognises(self, server: ServerConnection, card: ServerModelCard) -> bool:
        """Return whether the model is listed, or the server describes itself, as llama.cpp does."""
        if super().recognises(server, card):
            return True
        return {"build_info", "default_generation_settings"} <= server.get("/props").keys()

    def tokenize(
        self, server: ServerConnection, text: str, *, special: bool
    ) -> tuple[int, ...] | None:
        """Return a text's token ids; the texts of special tokens become those tokens."""
        body = {"content": text, "add_special": special, "parse_special": True}
        try:
            ids = server.post("/tokenize", body).get("tokens")
        except PermanentError:
            return None
        if not isinstance(ids, list) or not all(isinstance(i, int) for i in ids):
            return None
        return tuple(ids)

    def show_prompt(self, server: ServerConnection, chat: Mapping[str, Any]) -> ShownPrompt | None:
        """Return the prompt of a conversation, as text without the token that is put in front."""
        try:
            text = server.post("/apply-template", chat).get("prompt")
        except PermanentError as refusal:
            return None if refusal.status in NOT_SHOWN else ShownPrompt(refused=str(refusal))
        if not isinstance(text, str):
            return None
        return ShownPrompt(text, self.tokenize(server, text, special=True))

    def next_logprobs(
        self, server: ServerConnection, prefixes: list[list[int]], fields: Mapping[str, Any]
    ) -> list[dict[int, float]] | None:
        """Return what `/completion` reports with `n_probs`: before any sampler, by token id."""
        options = {"n_predict": 1, "temperature": 0.0, "n_probs": _LIKELIEST}
        # The pieces of a text begin alike and are read once, unless the arm shares its server.
        question = {"cache_prompt": True, **fields, **options}
        tokens = []
        for ids in prefixes:
            try:
                reply = server.post("/completion", {**question, "prompt": ids})
            except PermanentError:
                return None
            tokens.append(_first_token(reply))
        return None if None in tokens else [token for token in tokens if token is not None]

    def ask_counted(
        self, server: ServerConnection, ask: Callable[..., dict[str, Any]]
    ) -> tuple[dict[str, Any], DraftCounts]:
        """Ask a question; the `timings` of its reply have counts if anything was drafted.

        Source: `result_timings::to_json` in tools/server/server-task.cpp.
        """
        reply = ask()
        timings = as_object(reply.get("timings"))
        why = (
            "no draft_n in the reply's timings: nothing was drafted; start the server with a draft "
            "model or the model's own head"
        )
        counts = timings.get("draft_n"), timings.get("draft_n_accepted")
        return reply, DraftCounts.of(*counts, otherwise=why)

    def settings(self, server: ServerConnection, card: ServerModelCard) -> ServerSettings:
        """Return what `/props` shows."""
        props = server.get("/props")
        defaults = as_object(props.get("default_generation_settings"))
        context, params = defaults.get("n_ctx"), as_object(defaults.get("params"))
        return ServerSettings(
            program=" ".join(filter(None, (self.name, as_text(props.get("build_info"))))),
            quantization=as_text(props.get("model_ftype")),
            context=context if isinstance(context, int) and context > 0 else None,
            template=as_text(props.get("chat_template")),
            bos=as_text(props.get("bos_token")),
            eos=as_text(props.get("eos_token")),
            sampling={name: _rounded(params[name]) for name in _SAMPLING if name in params},
        )


def _rounded(value: Any) -> Any:
    """Return a number without the noise of 32 bits: 0.8 for 0.800000011920929."""
    return round(value, 6) if isinstance(value, float) else value


def _first_token(reply: Mapping[str, Any]) -> dict[int, float] | None:
    places = reply.get("completion_probabilities")
    first = places[0] if isinstance(places, list) and places else None
    listed = first.get("top_logprobs") if isinstance(first, dict) else None
    try:
        logprobs = {int(entry["id"]): float(entry["logprob"]) for entry in listed or ()}
    except (KeyError, TypeError, ValueError):
        return None
    return logprobs if logprobs and all(map(math.isfinite, logprobs.values())) else None


DIALECT = LlamaCpp()
