"""Asks a model through a real client library while a real instrumentation records it.

    python drive_client.py LIBRARY INSTRUMENTATION[+INSTRUMENTATION] URL FOLDER

Runs in an environment of its own (`requirements.txt` of the recordings) and so imports nothing
of ours. It writes `traces.jsonl` and, where there are log records, `logs.jsonl` into the folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

MODEL = "base"
SYSTEM = "You answer in one sentence, with “quotes” and an é."
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
IMAGE = f"data:image/png;base64,{PIXEL}"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Name of the city"}},
    "required": ["city"],
}
TOOL = {"name": "weather", "description": "Says what the weather is.", "parameters": SCHEMA}
TOOLS = [{"type": "function", "function": TOOL}]
SETTINGS = {
    "temperature": 0.25, "top_p": 0.9, "max_tokens": 50, "seed": 7, "stop": ["END", "\n\n"],
    "frequency_penalty": 0.5, "presence_penalty": 0.125,
}  # fmt: skip

Turns = list[dict[str, Any]]
ONE: Turns = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": "Where is my parcel?"},
]
SEVERAL: Turns = [
    *ONE,
    {"role": "assistant", "content": "It is in Lyon."},
    {"role": "user", "content": "And when will it\narrive?"},
]
WEATHER: Turns = [{"role": "user", "content": "What is the weather in Paris?"}]
SETTLED: Turns = [{"role": "user", "content": "Write a poem."}]
RESULT = '{"sky": "blue", "degrees": 21}'


def picture(part: dict[str, Any]) -> Turns:
    """Return a question with a text part and an image part."""
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, part]}]


PICTURE = picture({"type": "image_url", "image_url": {"url": IMAGE}})


Scenarios = dict[str, Callable[[], Any]]


def openai(url: str) -> Scenarios:
    """Ask with OpenAI's client."""
    from openai import OpenAI

    return chat_scenarios(OpenAI(base_url=url, api_key="x").chat.completions.create)


def openai_async(url: str) -> Scenarios:
    """Ask with OpenAI's asynchronous client."""
    from openai import AsyncOpenAI

    return chat_scenarios(
        waited_for(AsyncOpenAI(base_url=url, api_key="x").chat.completions.create)
    )


def openai_responses(url: str) -> Scenarios:
    """Ask the Responses API with OpenAI's client."""
    from openai import OpenAI

    return _responses(OpenAI(base_url=url, api_key="x").responses.create)


def openai_responses_async(url: str) -> Scenarios:
    """Ask the Responses API with OpenAI's asynchronous client."""
    from openai import AsyncOpenAI

    return _responses(waited_for(AsyncOpenAI(base_url=url, api_key="x").responses.create))


def waited_for(create: Callable[..., Any], *, pause: float = 0) -> Callable[..., Any]:
    """Return a function that waits for what an asynchronous one returns, and for its stream.

    `pause` is the seconds that its callbacks get.
    """
    loop = asyncio.new_event_loop()

    async def ask(**asked: Any) -> Any:
        found = await create(**asked)
        found = [event async for event in found] if asked.get("stream") else found
        await asyncio.sleep(pause)
        return found

    return lambda **asked: loop.run_until_complete(ask(**asked))


def _responses(create: Callable[..., Any]) -> Scenarios:
    ask = partial(create, model=MODEL)
    tools = [{"type": "function", **TOOL}]
    form = {"type": "json_schema", "name": "poem", "schema": SCHEMA, "strict": True}
    settings = {
        "temperature": 0.25, "top_p": 0.9, "max_output_tokens": 50, "text": {"format": form},
        "reasoning": {"effort": "low"},
    }  # fmt: skip
    seen = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": IMAGE, "detail": "auto"},
    ]

    def tool_round() -> None:
        offer = partial(ask, tools=tools, tool_choice="auto", instructions=SYSTEM)
        said = offer(input=WEATHER).output
        (call,) = (item for item in said if item.type == "function_call")
        result = {"type": "function_call_output", "call_id": call.call_id, "output": RESULT}
        offer(input=[*WEATHER, *said, result])

    chosen = {"type": "function", "name": "weather"}
    return {
        "plain": lambda: ask(instructions=SYSTEM, input=ONE[1]["content"]),
        "several": lambda: ask(input=SEVERAL),
        "tools": tool_round,
        "stream": lambda: list(ask(instructions=SYSTEM, input=ONE[1:], stream=True)),
        "stream_tools": lambda: list(
            ask(input=WEATHER, tools=tools, tool_choice=chosen, stream=True)
        ),
        "settings": lambda: ask(input=SETTLED[0]["content"], **settings),
        "image": lambda: ask(input=[{"role": "user", "content": seen}]),
        "continued": lambda: ask(input="And then?", previous_response_id="resp_0"),
    }


def huggingface(url: str) -> Scenarios:
    """Ask with Hugging Face's InferenceClient."""
    from huggingface_hub import InferenceClient

    return chat_scenarios(InferenceClient(base_url=url, api_key="x").chat_completion)


def chat_scenarios(create: Callable[..., Any]) -> Scenarios:
    """Return the scenarios of a function with the form of `chat.completions.create`."""
    ask = partial(create, model=MODEL)

    def tool_round() -> None:
        offer = partial(ask, tools=TOOLS, tool_choice="auto")
        (call,) = offer(messages=WEATHER).choices[0].message.tool_calls
        function = {"name": call.function.name, "arguments": call.function.arguments}
        said = {"id": call.id, "type": "function", "function": function}
        assistant = {"role": "assistant", "content": None, "tool_calls": [said]}
        result = {"role": "tool", "tool_call_id": call.id, "content": RESULT}
        offer(messages=[*WEATHER, assistant, result])

    return {
        "plain": lambda: ask(messages=ONE),
        "several": lambda: ask(messages=SEVERAL),
        "tools": tool_round,
        "stream": lambda: list(ask(messages=ONE, stream=True)),
        "stream_tools": lambda: list(ask(messages=WEATHER, tools=TOOLS, stream=True)),
        "settings": lambda: ask(messages=SETTLED, **SETTINGS),
        "image": lambda: ask(messages=PICTURE),
    }


def anthropic(url: str) -> Scenarios:
    """Ask with Anthropic's client, whose API has no seed and no penalties."""
    from anthropic import Anthropic

    create = Anthropic(base_url=url.removesuffix("/v1"), api_key="x").messages.create
    return _anthropic(create, settings_of(create))


def anthropic_async(url: str) -> Scenarios:
    """Ask with Anthropic's asynchronous client."""
    from anthropic import AsyncAnthropic

    create = AsyncAnthropic(base_url=url.removesuffix("/v1"), api_key="x").messages.create
    return _anthropic(waited_for(create), settings_of(create))


def settings_of(create: Callable[..., Any]) -> dict[str, Any]:
    """Return the settings that Anthropic's client takes; its version 2 takes fewer."""
    settings: dict[str, Any] = {"max_tokens": 50, "stop_sequences": ["END", "\n\n"]}
    if "temperature" in inspect.signature(create).parameters:
        settings |= {"temperature": 0.25, "top_p": 0.9, "top_k": 5}
    return settings


def _anthropic(create: Callable[..., Any], settings: dict[str, Any]) -> Scenarios:
    ask = partial(create, model=MODEL, max_tokens=64)
    tool = {"name": "weather", "description": TOOL["description"], "input_schema": SCHEMA}
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    blocks = [{"type": "text", "text": SYSTEM}, {"type": "text", "text": "Be kind."}]

    def tool_round() -> None:
        offer = partial(ask, tools=[tool], tool_choice={"type": "auto"})
        said = offer(messages=WEATHER).content
        (use,) = (block for block in said if block.type == "tool_use")
        result = {"type": "tool_result", "tool_use_id": use.id, "content": RESULT}
        assistant = {"role": "assistant", "content": said}
        user = {"role": "user", "content": [result, {"type": "text", "text": "In one word."}]}
        offer(messages=[*WEATHER, assistant, user])

    return {
        "plain": lambda: ask(system=SYSTEM, messages=ONE[1:]),
        "several": lambda: ask(system=blocks, messages=SEVERAL[1:]),
        "tools": tool_round,
        "stream": lambda: list(ask(system=SYSTEM, messages=ONE[1:], stream=True)),
        "stream_tools": lambda: list(ask(messages=WEATHER, tools=[tool], stream=True)),
        "settings": lambda: ask(messages=SETTLED, **settings),
        "image": lambda: ask(messages=picture({"type": "image", "source": source})),
    }


def langchain(url: str) -> Scenarios:
    """Ask with LangChain's ChatOpenAI."""
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
    from langchain_openai import ChatOpenAI

    model = partial(ChatOpenAI, model=MODEL, base_url=url, api_key="x")
    kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}

    def turns(plain: Turns) -> list[Any]:
        return [kinds[turn["role"]](turn["content"]) for turn in plain]

    def tool_round() -> None:
        able = model().bind_tools(TOOLS)
        said = able.invoke(turns(WEATHER))
        result = ToolMessage(RESULT, tool_call_id=said.tool_calls[0]["id"])
        able.invoke([*turns(WEATHER), said, result])

    return {
        "plain": lambda: model().invoke(turns(ONE)),
        "several": lambda: model().invoke(turns(SEVERAL)),
        "tools": tool_round,
        "stream": lambda: list(model().stream(turns(ONE))),
        "stream_tools": lambda: list(model().bind_tools(TOOLS).stream(turns(WEATHER))),
        "settings": lambda: model(**SETTINGS).invoke(turns(SETTLED)),
        "image": lambda: model().invoke(turns(PICTURE)),
    }


def llamaindex(url: str) -> Scenarios:
    """Ask with LlamaIndex's OpenAI class."""
    from llama_index.core.base.llms.types import ChatMessage, ImageBlock, LLMMetadata, TextBlock
    from llama_index.llms.openai import OpenAI

    class Local(OpenAI):
        """OpenAI's class, which looks the sizes of its models up in a table, told about ours."""

        @property
        def metadata(self) -> Any:
            return LLMMetadata(
                context_window=8192, num_output=self.max_tokens or -1, is_chat_model=True,
                is_function_calling_model=True, model_name=self.model,
            )  # fmt: skip

    model = partial(Local, model=MODEL, api_base=url, api_key="x", max_retries=0)
    named = ("temperature", "max_tokens")
    settings = {name: SETTINGS[name] for name in named}
    settings["additional_kwargs"] = {k: v for k, v in SETTINGS.items() if k not in named}
    seen = ChatMessage(role="user", blocks=[TextBlock(text="What is this?"), ImageBlock(url=IMAGE)])

    def turns(plain: Turns) -> list[Any]:
        return [ChatMessage(role=turn["role"], content=turn["content"]) for turn in plain]

    def tool_round() -> None:
        said = model().chat(turns(WEATHER), tools=TOOLS).message
        known = said.additional_kwargs["tool_calls"][0].id
        result = ChatMessage(role="tool", content=RESULT, additional_kwargs={"tool_call_id": known})
        model().chat([*turns(WEATHER), said, result], tools=TOOLS)

    return {
        "plain": lambda: model().chat(turns(ONE)),
        "several": lambda: model().chat(turns(SEVERAL)),
        "tools": tool_round,
        "stream": lambda: list(model().stream_chat(turns(ONE))),
        "stream_tools": lambda: list(model().stream_chat(turns(WEATHER), tools=TOOLS)),
        "settings": lambda: model(**settings).chat(turns(SETTLED)),
        "image": lambda: model().chat([seen]),
    }


LIBRARIES = {
    "openai": openai, "openai-async": openai_async,
    "openai-responses": openai_responses, "openai-responses-async": openai_responses_async,
    "anthropic": anthropic, "anthropic-async": anthropic_async, "huggingface": huggingface,
    "langchain": langchain, "llamaindex": llamaindex,
}  # fmt: skip
INSTRUMENTORS = {
    "openai-v2": "opentelemetry.instrumentation.openai_v2:OpenAIInstrumentor",
    "genai-openai": "opentelemetry.instrumentation.genai.openai:OpenAIInstrumentor",
    "genai-anthropic": "opentelemetry.instrumentation.genai.anthropic:AnthropicInstrumentor",
    "genai-langchain": "opentelemetry.instrumentation.genai.langchain:LangChainInstrumentor",
    "genai-llamaindex": "opentelemetry.instrumentation.genai.llama_index:LlamaIndexInstrumentor",
    "openinference-openai": "openinference.instrumentation.openai:OpenAIInstrumentor",
    "openinference-anthropic": "openinference.instrumentation.anthropic:AnthropicInstrumentor",
    "openinference-langchain": "openinference.instrumentation.langchain:LangChainInstrumentor",
    "openinference-llamaindex": "openinference.instrumentation.llama_index:LlamaIndexInstrumentor",
    "openllmetry-openai": "opentelemetry.instrumentation.openai:OpenAIInstrumentor",
    "openllmetry-anthropic": "opentelemetry.instrumentation.anthropic:AnthropicInstrumentor",
    "openllmetry-langchain": "opentelemetry.instrumentation.langchain:LangchainInstrumentor",
    "openllmetry-llamaindex": "opentelemetry.instrumentation.llamaindex:LlamaIndexInstrumentor",
    "traceai-openai": "traceai_openai:OpenAIInstrumentor",
    "traceai-anthropic": "traceai_anthropic:AnthropicInstrumentor",
    "traceai-langchain": "traceai_langchain:LangChainInstrumentor",
    "traceai-huggingface": "traceai_huggingface:HuggingFaceInstrumentor",
}


def span_writer(folder: Path) -> Any:
    """Return OpenTelemetry's tracer provider, set to write spans into a folder."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.json.file import FileSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    spans = TracerProvider(resource=Resource({"service.name": "client"}))
    spans.add_span_processor(SimpleSpanProcessor(FileSpanExporter(folder / "traces.jsonl")))
    trace.set_tracer_provider(spans)
    return spans


@contextlib.contextmanager
def recorded(instrumentations: list[str], folder: Path) -> Iterator[Any]:
    """Instrument the process; yield a tracer; write what was recorded."""
    from opentelemetry import _logs
    from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
    from opentelemetry.sdk.resources import Resource

    spans = span_writer(folder)
    logs = LoggerProvider(resource=Resource({"service.name": "client"}))
    logs.add_log_record_processor(SimpleLogRecordProcessor(FileLogExporter(folder / "logs.jsonl")))
    _logs.set_logger_provider(logs)
    for name in instrumentations:
        module, _, kind = INSTRUMENTORS[name].partition(":")
        instrumentor = getattr(importlib.import_module(module), kind)()
        instrumentor.instrument(
            tracer_provider=spans, logger_provider=logs, skip_dep_check=True,
            raise_exception_on_conflict=True,
        )  # fmt: skip
    yield spans.get_tracer("application")
    spans.shutdown()
    logs.shutdown()


def main(library: str, instrumentations: str, url: str, folder: Path) -> None:
    """Record every scenario of a library; the two calls of a tool's round are one trace."""
    os.environ.setdefault("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
    with recorded(instrumentations.split("+"), folder) as tracer:
        for scenario, ask in LIBRARIES[library](url).items():
            with tracer.start_as_current_span(scenario):
                ask()


if __name__ == "__main__":
    main(*sys.argv[1:4], Path(sys.argv[4]))
