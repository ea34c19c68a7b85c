"""A scripted server that drafts 20 tokens for an answer, and counts them as its program does.

Written from the sources of 2026: llama.cpp's tools/server/server-task.cpp, vLLM's
v1/spec_decode/metrics.py and v1/metrics/loggers.py, SGLang's srt/entrypoints/openai/protocol.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fake_server import completion, prompt_of

DRAFTED = 20
"""Tokens that are drafted for each answer."""
_OWNERS = {"vLLM": "vllm", "llama.cpp": "llamacpp", "SGLang": "sglang", "gateway": "gateway"}


@dataclass
class DraftingServer:
    """The reply function of a fake server with `base` and `tuned`, and the pages of its program."""

    program: str = "vLLM"
    accepted: Callable[[str, str], int | None] = lambda model, prompt: 14
    """(model, prompt) → how many drafted tokens are accepted; None if nothing is drafted."""
    drafts: bool = True
    """Whether it was started with speculative decoding."""
    foreign: int = 0
    """Tokens that others are answered during each answer."""
    late: int = 0
    """Readings of `/metrics` that do not show an answer yet which has come."""
    reads: int = 0
    """How often `/metrics` was read."""

    def __post_init__(self) -> None:
        self.total: Counter[str] = Counter()
        self.shown: Counter[str] = Counter()
        self.hidden = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the fake server."""
        cards = {name: {"owned_by": _OWNERS[self.program]} for name in ("base", "tuned")}
        return {"reply": self, "models": cards, "pages": self}

    def __call__(self, model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a POST."""
        if path not in ("/v1/chat/completions", "/v1/completions"):
            raise LookupError(404, "Not Found")
        reply = completion(f"{model} answers {prompt_of(body)}")
        accepted = self.accepted(model, prompt_of(body)) if self.drafts else None
        drafted, accepted = (0, 0) if accepted is None else (DRAFTED, accepted)
        if self.program == "vLLM":
            written = reply["usage"]["completion_tokens"] + self.foreign
            self.total.update(generation=written, drafted=drafted, accepted=accepted)
            self.hidden = self.late
        elif self.program == "llama.cpp":
            reply["timings"] = {"predicted_n": reply["usage"]["completion_tokens"]}
            if drafted:
                reply["timings"] |= {"draft_n": drafted, "draft_n_accepted": accepted}
        elif self.program == "SGLang" and body.get("return_spec_tokens_details") and self.drafts:
            counts = {"spec_num_proposed_drafts": drafted, "spec_num_correct_drafts": accepted}
            reply["sglext"] = {"spec_tokens_details": counts}
        elif self.program == "gateway" and self.drafts:
            reply["usage"]["completion_tokens_details"] = {
                "accepted_prediction_tokens": accepted,
                "rejected_prediction_tokens": drafted - accepted,
            }
        return reply

    def __contains__(self, path: str) -> bool:
        """Return whether it has a page."""
        return self.program == "vLLM" and path == "/metrics"

    def __getitem__(self, path: str) -> str:
        """Return `/metrics`."""
        self.reads += 1
        if self.hidden:
            self.hidden -= 1
        else:
            self.shown = self.total.copy()
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        """Yield the counters, each split over two engines, among lines of other kinds."""
        names = {"generation": "generation_tokens"}
        if self.drafts:
            names["drafted"] = "spec_decode_num_draft_tokens"
            names["accepted"] = "spec_decode_num_accepted_tokens"
        for key, name in names.items():
            first = self.shown[key] // 2
            yield f"# HELP vllm:{name}_total Number of tokens 5."
            yield f"# TYPE vllm:{name}_total counter"
            for engine, count in enumerate((first, self.shown[key] - first)):
                labels = f'engine="{engine}",model_name="a }} b"'
                yield f"vllm:{name}_total{{{labels}}} {float(count)}"
                yield f"vllm:{name}_created{{{labels}}} 1.7799e+09"
                yield f'vllm:{name}_per_pos_total{{{labels},position="0"}} 99.0'
