"""Ollama: `_debug_render_only` shows the prompt of a chat; `/api/show` and `/api/ps` the settings.

Its `/v1/completions` puts a text into the chat template, so it is asked by messages. It shows no
token ids: the text is shown, and whether its llama.cpp puts a beginning of sequence in front
(server/routes.go and llm/llama_server.go of August 2026).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tunegate.harness.models._thinking_switch import server_fields
from tunegate.harness.models.remote.failures import PermanentError
from tunegate.harness.models.servers.dialect import (
    ServerConnection,
    ServerDialect,
    ServerSettings,
    ShownPrompt,
)
from tunegate.harness.models.servers.discovery import ServerModelCard
from tunegate.harness.models.servers.replies import as_object, as_text
from tunegate.harness.records.generation import GenerationSettings

ORDER = 70  # behind the programs that name themselves in their model cards


class Ollama(ServerDialect):
    """Ollama's own server."""

    name = "Ollama"
    takes_raw_prompts = False
    shares_cache = False  # each model has a runner of its own, and may be loaded for each question
    longer_context = "set `PARAMETER num_ctx {tokens}` in its Modelfile"

    def recognises(self, server: ServerConnection, card: ServerModelCard) -> bool:
        """Return whether it tells its version where Ollama does, and shows the model."""
        return "version" in server.get("/api/version") and bool(_shown(server))

    def tokenize(
        self, server: ServerConnection, text: str, *, special: bool
    ) -> tuple[int, ...] | None:
        """Return None: Ollama shows no token ids."""
        return None

    def chat_fields(
        self, generation: GenerationSettings, variables: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return how thinking is switched off: Ollama knows efforts alone, and thinks by itself."""
        fields = server_fields(generation, variables)
        fields.pop("chat_template_kwargs", None)
        return {"reasoning_effort": "none"} | fields if generation.thinking == "off" else fields

    def show_prompt(self, server: ServerConnection, chat: Mapping[str, Any]) -> ShownPrompt | None:
        """Return the text of a conversation; None if the version cannot show it.

        Such a version answers the conversation instead, with one token.
        """
        body = {**chat, "_debug_render_only": True, "max_tokens": 1}
        try:
            reply = server.post("chat/completions", body)
        except PermanentError as refusal:
            return ShownPrompt(refused=str(refusal))
        text = as_text(as_object(reply.get("_debug_info")).get("rendered_template"))
        return None if text is None else ShownPrompt(text)

    def settings(self, server: ServerConnection, card: ServerModelCard) -> ServerSettings:
        """Return what `/api/show` and, for a loaded model, `/api/ps` show."""
        shown, version = _shown(server), server.get("/api/version").get("version")
        info = as_object(shown.get("model_info"))
        sampling = _parameters(str(shown.get("parameters") or ""))
        context = _loaded(server).get("context_length") or sampling.get("num_ctx")
        adds_bos = info.get("tokenizer.ggml.add_bos_token")
        return ServerSettings(
            program=" ".join(filter(None, (self.name, as_text(version)))),
            quantization=as_text(as_object(shown.get("details")).get("quantization_level")),
            context=context if isinstance(context, int) and context > 0 else None,
            template=as_text(shown.get("renderer")) or as_text(shown.get("template")),
            adds_bos=adds_bos if isinstance(adds_bos, bool) else None,
            sampling=sampling,
        )


def _shown(server: ServerConnection) -> dict[str, Any]:
    try:
        return server.post("/api/show", {})
    except PermanentError:
        return {}


def _loaded(server: ServerConnection) -> dict[str, Any]:
    """Return what is told of the model while it is loaded; it is, once a question was answered."""
    model = server.where.model
    listed = server.get("/api/ps").get("models")
    loaded = map(as_object, listed if isinstance(listed, list) else ())
    names = (model, f"{model}:latest")
    return next((m for m in loaded if m.get("name") in names or m.get("model") in names), {})


def _parameters(text: str) -> dict[str, Any]:
    """Return a Modelfile's parameters; one that is given several times, such as stop, as a list."""
    parameters: dict[str, Any] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, value = line.partition(" ")
        read = _read_value(value.strip())
        if name in parameters:
            first = parameters[name]
            parameters[name] = [*(first if isinstance(first, list) else [first]), read]
        else:
            parameters[name] = read
    return parameters


def _read_value(text: str) -> Any:
    """Return a value as Go writes it: a number, or a text in quotes."""
    try:
        return json.loads(text)
    except ValueError:
        return text.strip('"')


DIALECT = Ollama()
