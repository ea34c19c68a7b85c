"""Replies of llama.cpp's server, Ollama and vLLM about prompts, for a fake server.

Written from their sources: llama.cpp's tools/server and common/chat.cpp, Ollama's server/routes.go
and openai/openai.go, vLLM's entrypoints/serve/tokenize; of 2026. They render with Transformers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.fake_server import completion


@dataclass
class Program:
    """One server program with one tokenizer and template; the reply function of a fake server."""

    tokenizer: Any
    name: str = "llama.cpp"
    template: str | None = None
    """The template that it was started with; None is the tokenizer's own."""
    adds_bos: bool = False
    """Whether the file says that a beginning of sequence is put in front."""
    doubles_bos: bool = False
    """Whether it is in front although the template wrote it, as in Ollama of 2025."""
    system: str | None = None
    """A system prompt that it adds to a conversation without one."""
    hidden: int = 0
    """Tokens that are put in front of a chat by what stands before it."""
    closed: dict[str, int] = field(default_factory=dict)
    """Path that is not open to users → status of its refusal."""
    generation_prompt: bool = True
    variables: dict[str, Any] = field(default_factory=dict)
    """Variables that its template gets."""
    context: int = 4096
    quantization: str = "Q8_0"
    sampling: dict[str, Any] = field(default_factory=lambda: {"temperature": 0.8, "top_k": 40})
    ends: tuple[int, ...] | None = None
    """Tokens that end an answer; None is the tokenizer's own."""
    debug: bool = True
    """Whether Ollama knows `_debug_render_only`."""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def owner(self) -> str:
        """Return what its model cards say."""
        return {"llama.cpp": "llamacpp", "Ollama": "library", "vLLM": "vllm"}[self.name]

    @property
    def pages(self) -> dict[str, Any]:
        """Return what its GETs answer."""
        if self.name == "Ollama":
            loaded = {"name": "base", "context_length": self.context, "digest": "ab"}
            return {"/api/version": {"version": "0.20.0"}, "/api/ps": {"models": [loaded]}}
        if self.name == "vLLM":
            return {"/version": {"version": "0.32.0"}}
        return {
            "/props": {
                "default_generation_settings": {"n_ctx": self.context, "params": self.sampling},
                "model_ftype": self.quantization,
                "model_path": "/models/base.gguf",
                "chat_template": self.template or self.tokenizer.chat_template,
                "bos_token": self.tokenizer.bos_token or "",
                "eos_token": self.tokenizer.eos_token or "",
                "build_info": "b9993-unknown",
            }
        }

    def __call__(self, model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a POST.

        Raises:
            LookupError: (status, text) of a refusal.
        """
        self.asked.append((path, body))
        if path in self.closed:
            raise LookupError(self.closed[path], "closed")
        if path == "/v1/chat/completions":
            return self._chat(body)
        if path == "/v1/completions":
            return self._complete(body)
        own = {
            ("llama.cpp", "/tokenize"): self._tokenize_content,
            ("llama.cpp", "/apply-template"): lambda body: {"prompt": self.stripped(body)},
            ("Ollama", "/api/show"): self._show,
            ("vLLM", "/tokenize"): self._tokenize_messages,
        }.get((self.name, path))
        if own is None:
            raise LookupError(404, "File Not Found")
        return own(body)

    def rendered(self, body: dict[str, Any]) -> str:
        """Return the prompt of a chat request as its template writes it."""
        messages = body["messages"]
        if self.system is not None and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self.system}, *messages]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages,
                    tools=body.get("tools"),
                    chat_template=self.template,
                    add_generation_prompt=self.generation_prompt,
                    tokenize=False,
                    **(self.variables | (body.get("chat_template_kwargs") or {})),
                )
            )
        except Exception as error:  # whatever a template raises
            raise LookupError(400, str(error)) from error

    def stripped(self, body: dict[str, Any]) -> str:
        """Return it without the beginning of sequence that tokenising puts back."""
        text, bos = self.rendered(body), self.tokenizer.bos_token
        return text.removeprefix(bos) if self.adds_bos and bos and not self.doubles_bos else text

    def ids(self, text: str, *, special: bool = True) -> list[int]:
        """Return a text's token ids."""
        front = [self.tokenizer.bos_token_id] if special and self.adds_bos else []
        return front + list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _tokenize_content(self, body: dict[str, Any]) -> dict[str, Any]:
        content = body.get("content")
        known = content is not None
        return {"tokens": self.ids(content, special=body["add_special"]) if known else []}

    def _tokenize_messages(self, body: dict[str, Any]) -> dict[str, Any]:
        chat = "messages" in body
        text = self.rendered(body) if chat else body["prompt"]
        special = self.doubles_bos if chat else body["add_special_tokens"]
        ids = self.ids(text, special=special)
        return {"tokens": ids, "count": len(ids), "max_model_len": self.context}

    def _show(self, body: dict[str, Any]) -> dict[str, Any]:
        lines = [f"{name:<30} {value!r}".replace("'", '"') for name, value in self.sampling.items()]
        return {
            "parameters": "\n".join(lines),
            "template": self.template or "{{ .Prompt }}",
            "details": {"quantization_level": self.quantization},
            "model_info": {"tokenizer.ggml.add_bos_token": self.adds_bos},
        }

    def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        text = self.stripped(body) if self.name != "vLLM" else self.rendered(body)
        if body.get("_debug_render_only") and self.debug and self.name == "Ollama":
            return {**completion(""), "_debug_info": {"rendered_template": text}}
        special = self.adds_bos and (self.name != "vLLM" or self.doubles_bos)
        front = [0] * self.hidden
        return self._answer(front + self.ids(text, special=special), body)

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = body["prompt"]
        if self.name == "Ollama":
            return self._chat({**body, "messages": [{"role": "user", "content": str(prompt)}]})
        if isinstance(prompt, str):
            prompt = self.ids(prompt)
        if not isinstance(prompt[0], list):
            return self._answer(prompt, body)
        replies = [self._answer(ids, body) for ids in prompt]
        choices = [{**r["choices"][0], "index": index} for index, r in enumerate(replies)]
        return {**replies[0], "choices": choices}

    def _answer(self, ids: list[int], body: dict[str, Any]) -> dict[str, Any]:
        bias = {int(token): value for token, value in (body.get("logit_bias") or {}).items()}
        forced = max(bias, key=lambda token: bias[token], default=None)
        ends = (self.tokenizer.eos_token_id,) if self.ends is None else self.ends
        count = body["max_tokens"]
        if forced is not None and forced in ends:
            text, reason = "", "stop"
        elif forced is not None:
            text, reason = self.tokenizer.decode([forced] * count), "length"
        else:
            text, reason = f"answer to {len(ids)} tokens", "stop"
        reply = completion(text, finish_reason=reason)
        return {**reply, "usage": {"prompt_tokens": len(ids), "completion_tokens": count}}
