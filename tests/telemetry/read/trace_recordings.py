"""The recordings under `recorded/`, and the replies of the scripted server behind them.

The scripts in `tools/recordings/` make them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "recorded"
ARGUMENTS = {"city": "Paris"}


@dataclass(frozen=True)
class Recording:
    """One library, recorded by one instrumentation or by several at once."""

    library: str
    instrumentations: str
    content: str = "SPAN_ONLY"
    """Where OpenTelemetry's own instrumentations put the content."""
    earlier: bool = False
    """Whether the older instrumentations are laid before the others."""
    stability: str = "gen_ai_latest_experimental"

    @property
    def name(self) -> str:
        """Name of its folder."""
        more = {"SPAN_ONLY": "", "EVENT_ONLY": "-events", "true": "-events"}[self.content]
        return f"{self.library}-{self.instrumentations}{more}{'-earlier' if self.earlier else ''}"


RECORDINGS = (
    Recording("openai", "genai-openai"),
    Recording("openai", "genai-openai", content="EVENT_ONLY"),
    Recording("openai", "openai-v2", earlier=True),
    Recording("openai", "openai-v2", content="true", earlier=True, stability=""),
    Recording("openai", "openinference-openai"),
    Recording("openai", "openllmetry-openai"),
    Recording("openai", "openllmetry-openai", earlier=True),
    Recording("openai", "traceai-openai"),
    Recording("openai", "openinference-openai+openllmetry-openai"),
    Recording("openai-async", "genai-openai"),
    Recording("openai-async", "openinference-openai"),
    Recording("openai-async", "openllmetry-openai"),
    Recording("openai-async", "traceai-openai"),
    Recording("openai-responses", "genai-openai"),
    Recording("openai-responses", "openinference-openai"),
    Recording("openai-responses", "openllmetry-openai"),
    Recording("openai-responses", "openllmetry-openai", earlier=True),
    Recording("openai-responses", "traceai-openai"),
    Recording("openai-responses", "openinference-openai+openllmetry-openai"),
    Recording("openai-responses-async", "genai-openai"),
    Recording("openai-responses-async", "openinference-openai"),
    Recording("openai-responses-async", "openllmetry-openai"),
    Recording("openai-responses-async", "traceai-openai"),
    Recording("anthropic", "genai-anthropic"),
    Recording("anthropic", "openinference-anthropic"),
    Recording("anthropic", "openllmetry-anthropic"),
    Recording("anthropic", "openllmetry-anthropic", earlier=True),
    Recording("anthropic", "traceai-anthropic", earlier=True),
    Recording("anthropic-async", "genai-anthropic"),
    Recording("anthropic-async", "openinference-anthropic"),
    Recording("anthropic-async", "openllmetry-anthropic"),
    Recording("huggingface", "traceai-huggingface"),
    Recording("langchain", "genai-langchain"),
    Recording("langchain", "openinference-langchain"),
    Recording("langchain", "openllmetry-langchain"),
    Recording("langchain", "openllmetry-langchain", earlier=True),
    Recording("langchain", "traceai-langchain"),
    Recording("langchain", "genai-langchain+genai-openai"),
    Recording("langchain", "openinference-langchain+openinference-openai"),
    Recording("langchain", "openinference-langchain+openllmetry-openai"),
    Recording("llamaindex", "genai-llamaindex+genai-openai"),
    Recording("llamaindex", "openinference-llamaindex"),
    Recording("llamaindex", "openllmetry-llamaindex"),
    Recording("llamaindex", "openllmetry-llamaindex", earlier=True),
    Recording("llamaindex", "openinference-llamaindex+openinference-openai"),
)


@dataclass(frozen=True)
class FrameworkRecording:
    """One library, recorded by what it comes with or by one instrumentation."""

    library: str
    recorder: str

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.library}-{self.recorder}"


FRAMEWORKS = (
    FrameworkRecording("litellm", "litellm-otel"),
    FrameworkRecording("litellm-async", "litellm-otel"),
    FrameworkRecording("litellm-proxy", "litellm-otel"),
    FrameworkRecording("ai-sdk", "6"),
    FrameworkRecording("ai-sdk", "7"),
    FrameworkRecording("openai", "langfuse"),
    FrameworkRecording("openai", "mlflow"),
    FrameworkRecording("openai", "logfire"),
    FrameworkRecording("agents", "logfire"),
    FrameworkRecording("agents", "openinference"),
    FrameworkRecording("agents", "openllmetry"),
    FrameworkRecording("agents-responses", "logfire"),
    FrameworkRecording("agents-responses", "openinference"),
    FrameworkRecording("agents-responses", "openllmetry"),
    FrameworkRecording("anthropic", "openllmetry"),
    FrameworkRecording("langchain", "langsmith"),
    FrameworkRecording("smolagents", "openinference"),
    FrameworkRecording("adk", "own"),
    FrameworkRecording("pydantic-ai", "own"),
    FrameworkRecording("pydantic-ai", "openinference"),
)


def reply(model: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a request: with a tool call where tools are offered and none has answered yet."""
    if path.endswith("/responses"):
        return _response(body)
    last = body["messages"][-1]
    asks = bool(body.get("tools")) and last["role"] == "user" and isinstance(last["content"], str)
    asks &= body.get("tool_choice") != "none"
    text = f"I was told {len(body['messages'])} things: “é”."
    if path.endswith("/messages"):
        use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": ARGUMENTS}
        said = {"type": "text", "text": "I look it up." if asks else text}
        return {
            "id": "msg_1", "type": "message", "role": "assistant",
            "content": [said, use] if asks else [said],
            "stop_reason": "tool_use" if asks else "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": 11, "output_tokens": 9},
        }  # fmt: skip
    message: dict[str, Any] = {"role": "assistant", "content": None if asks else text}
    if asks:
        called = [tool["function"]["name"] for tool in body["tools"]]
        message["tool_calls"] = [
            {
                "id": f"call_{number}", "type": "function",
                "function": {"name": name, "arguments": json.dumps(ARGUMENTS)},
            }
            for number, name in enumerate(called, 1)
        ]  # fmt: skip
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if asks else "stop"}
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "choices": [choice],
        "usage": {"prompt_tokens": 11, "completion_tokens": 9, "total_tokens": 20},
    }  # fmt: skip


def _response(body: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a request of the Responses API; where it thinks or calls, that is an item more."""
    given = body["input"]
    turns = [{"role": "user", "content": given}] if isinstance(given, str) else given
    last = turns[-1]
    asks = bool(body.get("tools")) and isinstance(last.get("content"), str)
    known = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]
    text = "I look it up." if asks else f"I was told {len(turns)} things: “é”."
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    output: list[dict[str, Any]] = [
        {"id": f"msg_{known}", "type": "message", "role": "assistant", "content": [part]}
    ]
    if asks or body.get("reasoning"):
        summary = [{"type": "summary_text", "text": "Weather it is."}]
        output.insert(0, {"id": f"rs_{known}", "type": "reasoning", "summary": summary})
    if asks:
        call = {"id": f"fc_{known}", "type": "function_call", "call_id": "call_1"}
        output.append({**call, "name": "weather", "arguments": json.dumps(ARGUMENTS)})
    names = ("instructions", "temperature", "top_p", "max_output_tokens", "text", "reasoning")
    return {
        "id": f"resp_{known}", "object": "response", "created_at": 1, "status": "completed",
        "output": [{**item, "status": "completed"} for item in output],
        "parallel_tool_calls": True, "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []), **{name: body.get(name) for name in names},
        "error": None, "incomplete_details": None, "metadata": {},
        "usage": {
            "input_tokens": 11, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 20,
        },
    }  # fmt: skip
