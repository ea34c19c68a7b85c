"""Asks a model through a real framework or gateway while what it comes with records it.

    python drive_frameworks.py LIBRARY RECORDER URL FOLDER

Runs in an environment of its own (`frameworks/requirements.txt` of the recordings) and so imports
nothing of ours. The scenarios are those of `drive_client.py`, and a request that fails. It writes
`traces.jsonl` into the folder: what the recorder exports, as OTLP's JSON lines.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import drive_client
from drive_client import (
    IMAGE,
    MODEL,
    ONE,
    PIXEL,
    RESULT,
    SCHEMA,
    SETTINGS,
    SETTLED,
    SEVERAL,
    SYSTEM,
    TOOLS,
    WEATHER,
    Scenarios,
    Turns,
    anthropic,
    langchain,
    span_writer,
    waited_for,
)
from otlp_collector import collect

FAILING = "refuse"
"""Name of a model that the server refuses."""
CLOCK = {"name": "clock", "description": "Says what time it is.", "parameters": SCHEMA}
FORM = {"type": "json_schema", "json_schema": {"name": "poem", "schema": SCHEMA, "strict": True}}
JSON: Turns = [{"role": "user", "content": "Write a poem as JSON."}]
KEY = "sk-4f1c0a9be2d7436db81f1c57"
"""Master key of litellm's proxy, which takes no weak one."""


def chat_scenarios(create: Callable[..., Any]) -> Scenarios:
    """Return those of `drive_client.py`, answers in a form, and a request that fails."""
    ask = partial(create, model=MODEL)
    return drive_client.chat_scenarios(create) | {
        "json": lambda: ask(messages=JSON, response_format={"type": "json_object"}),
        "schema": lambda: ask(messages=SETTLED, response_format=FORM),
        "failed": lambda: attempt(create, model=FAILING, messages=ONE),
    }


def litellm_scenarios(create: Callable[..., Any]) -> Scenarios:
    """Return the scenarios of litellm: parallel calls, and streams with tools and settings."""
    ask = partial(create, model=MODEL)
    two = [*TOOLS, {"type": "function", "function": CLOCK}]
    told = partial(ask, messages=[*WEATHER, *ONE[1:]], tools=two, tool_choice="none")
    return chat_scenarios(create) | {
        "two_tools": lambda: ask(messages=WEATHER, tools=two),
        "stream_two_tools": lambda: list(ask(messages=WEATHER, tools=two, stream=True)),
        "stream_text": lambda: list(told(stream=True, **SETTINGS)),
    }


def litellm(url: str) -> Scenarios:
    """Ask with litellm, and pause for its callbacks, which run in a thread."""
    from litellm import completion

    def ask(**asked: Any) -> Any:
        model = f"openai/{asked.pop('model')}"
        found = completion(model=model, api_base=url, api_key="x", **asked)
        found = list(found) if asked.get("stream") else found
        time.sleep(0.3)
        return found

    return litellm_scenarios(ask)


def litellm_async(url: str) -> Scenarios:
    """Ask with litellm's asynchronous function."""
    from litellm import acompletion

    def ask(**asked: Any) -> Any:
        model = f"openai/{asked.pop('model')}"
        return acompletion(model=model, api_base=url, api_key="x", num_retries=0, **asked)

    return litellm_scenarios(waited_for(ask, pause=0.3))


def openai(url: str) -> Scenarios:
    """Ask with OpenAI's client."""
    from openai import OpenAI

    return chat_scenarios(OpenAI(base_url=url, api_key="x", max_retries=0).chat.completions.create)


def openai_langfuse(url: str) -> Scenarios:
    """Ask with the client that Langfuse puts in the place of OpenAI's."""
    from langfuse.openai import OpenAI

    return chat_scenarios(OpenAI(base_url=url, api_key="x", max_retries=0).chat.completions.create)


def agents(url: str) -> Scenarios:
    """Ask with OpenAI's agents over chat completions."""
    return _agents(url, "OpenAIChatCompletionsModel")


def agents_responses(url: str) -> Scenarios:
    """Ask with OpenAI's agents over the Responses API."""
    return _agents(url, "OpenAIResponsesModel")


def _agents(url: str, kind: str) -> Scenarios:
    import agents as sdk
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="x", max_retries=0)

    @sdk.function_tool
    def weather(city: str) -> str:
        """Says what the weather is."""
        return RESULT

    def agent(**more: Any) -> Any:
        named = more.pop("model", MODEL)
        model = getattr(sdk, kind)(model=named, openai_client=client)
        return sdk.Agent(name="shop", model=model, **more)

    loop = asyncio.new_event_loop()

    def run(given: Any, streams: bool = False, **more: Any) -> None:
        async def ask() -> None:
            if not streams:
                await sdk.Runner.run(agent(**more), given)
                return
            streamed = sdk.Runner.run_streamed(agent(**more), given)
            async for _ in streamed.stream_events():
                pass

        loop.run_until_complete(ask())

    seen = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": IMAGE, "detail": "auto"},
    ]
    named = ("temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty")
    if kind == "OpenAIResponsesModel":
        named, further = named[:3], {}
    else:
        further = {"extra_args": {"seed": 7, "stop": ["END", "\n\n"]}}
    settings = sdk.ModelSettings(**{name: SETTINGS[name] for name in named}, **further)
    told = {"instructions": SYSTEM}
    return {
        "plain": lambda: run("Where is my parcel?", **told),
        "several": lambda: run(SEVERAL[1:], **told),
        "tools": lambda: run(WEATHER, tools=[weather]),
        "stream": lambda: run("Where is my parcel?", streams=True, **told),
        "stream_tools": lambda: run(WEATHER, streams=True, tools=[weather]),
        "settings": lambda: run("Write a poem.", model_settings=settings),
        "image": lambda: run([{"role": "user", "content": seen}]),
        "failed": lambda: attempt(run, "Where is my parcel?", model=FAILING),
    }


def attempt(ask: Callable[..., Any], *asked: Any, **more: Any) -> None:
    """Ask what the server refuses."""
    with contextlib.suppress(Exception):
        ask(*asked, **more)


def pydantic_ai(url: str) -> Scenarios:
    """Ask with Pydantic AI."""
    from pydantic_ai import Agent, BinaryContent, ModelSettings
    from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    def agent(name: str = MODEL, **more: Any) -> Any:
        provider = OpenAIProvider(base_url=url, api_key="x")
        return Agent(OpenAIChatModel(name, provider=provider), name="shop", **more)

    def weather(city: str) -> str:
        """Says what the weather is.

        Args:
            city: Name of the city
        """
        return RESULT

    def clock(city: str) -> str:
        """Says what time it is."""
        return "noon"

    def stream(asking: Any, given: str) -> None:
        async def ask() -> None:
            async with asking.run_stream(given) as found:
                async for _ in found.stream_text():
                    pass

        asyncio.run(ask())

    pairs = {"user": (ModelRequest, UserPromptPart), "assistant": (ModelResponse, TextPart)}
    before = [
        pairs[turn["role"]][0](parts=[pairs[turn["role"]][1](content=turn["content"])])
        for turn in SEVERAL[1:-1]
    ]
    named = {"stop" if name == "stop" else name: value for name, value in SETTINGS.items()}
    named["stop_sequences"] = named.pop("stop")
    image = BinaryContent(base64.b64decode(PIXEL), media_type="image/png")
    return {
        "plain": lambda: agent(instructions=SYSTEM).run_sync("Where is my parcel?"),
        "system": lambda: agent(system_prompt=SYSTEM).run_sync("Where is my parcel?"),
        "several": lambda: agent(instructions=SYSTEM).run_sync(
            SEVERAL[-1]["content"], message_history=before
        ),
        "tools": lambda: agent(tools=[weather]).run_sync(WEATHER[0]["content"]),
        "two_tools": lambda: agent(tools=[weather, clock]).run_sync("Weather and time in Paris?"),
        "stream": lambda: stream(agent(instructions=SYSTEM), "Where is my parcel?"),
        "settings": lambda: agent(model_settings=ModelSettings(**named)).run_sync("Write a poem."),
        "image": lambda: agent().run_sync(["What is this?", image]),
        "failed": lambda: attempt(agent(FAILING).run_sync, "Where is my parcel?"),
    }


def litellm_proxy(url: str) -> Scenarios:
    """Ask litellm's proxy, which a process of its own runs; see `proxy`."""
    from openai import OpenAI

    client = OpenAI(base_url=f"{os.environ['PROXY_URL']}/v1", api_key=KEY, max_retries=0)
    return litellm_scenarios(client.chat.completions.create)


def langchain_failing(url: str) -> Scenarios:
    """Ask with LangChain's ChatOpenAI, once in vain."""
    from langchain_openai import ChatOpenAI

    refused = ChatOpenAI(model=FAILING, base_url=url, api_key="x", max_retries=0)
    return langchain(url) | {"failed": lambda: attempt(refused.invoke, "Where is my parcel?")}


def anthropic_failing(url: str) -> Scenarios:
    """Ask with Anthropic's client, once in vain."""
    from anthropic import Anthropic

    create = Anthropic(base_url=url.removesuffix("/v1"), api_key="x", max_retries=0).messages.create
    asked = {"model": FAILING, "max_tokens": 5, "messages": ONE[1:]}
    return anthropic(url) | {"failed": lambda: attempt(create, **asked)}


def smolagents(url: str) -> Scenarios:
    """Ask with smolagents' OpenAI model, whose agents write roles of their own."""
    from smolagents import OpenAIServerModel, tool

    @tool
    def weather(city: str) -> str:
        """Says what the weather is.

        Args:
            city: Name of the city
        """
        return RESULT

    def ask(*turns: Any, model: str = MODEL, settings: Any = (), **more: Any) -> None:
        asked = OpenAIServerModel(model, api_base=url, api_key="x", **dict(settings))
        asked.client.max_retries = 0
        typed = [{"role": role, "content": [{"type": "text", "text": t}]} for role, t in turns]
        asked.generate(typed, **more)

    told = ("system", SYSTEM), ("user", "Where is my parcel?")
    steps = ("assistant", "I look."), ("tool-call", "Calling tools:\n[]"), ("tool-response", "No.")
    named = {k: v for k, v in SETTINGS.items() if k != "stop"}
    return {
        "plain": lambda: ask(*told),
        "several": lambda: ask(*told, ("assistant", "In Lyon."), ("user", "And when?")),
        "steps": lambda: ask(*told, *steps),
        "more_steps": lambda: ask(*told, *steps, ("user", "And now?")),
        "stop": lambda: ask(*told, stop_sequences=["END", "\n\n"]),
        "settings": lambda: ask(told[1], settings=named),
        "schema": lambda: ask(told[1], response_format=FORM),
        "tools": lambda: ask(told[1], tools_to_call_from=[weather]),
        "failed": lambda: attempt(ask, told[1], model=FAILING),
    }


def adk(url: str) -> Scenarios:
    """Ask with Google's ADK, through litellm."""
    from google.adk.agents import LlmAgent, RunConfig
    from google.adk.agents.run_config import StreamingMode
    from google.adk.models.lite_llm import LiteLlm
    from google.adk.runners import InMemoryRunner
    from google.genai import types

    def weather(city: str) -> dict[str, Any]:
        """Says what the weather is."""
        return {"sky": "blue", "degrees": 21}

    def clock(city: str) -> str:
        """Says what time it is."""
        return "noon"

    async def run(*texts: str, name: str = MODEL, streams: bool = False, **more: Any) -> None:
        seen, more = more.pop("seen", []), {"instruction": SYSTEM, **more}
        model = LiteLlm(f"openai/{name}", api_base=url, api_key="x", num_retries=0)
        runner = InMemoryRunner(LlmAgent(name="shop", model=model, **more), app_name="shop")
        session = await runner.session_service.create_session(app_name="shop", user_id="u")
        mode = StreamingMode.SSE if streams else StreamingMode.NONE
        for text in texts:
            said = types.Content(role="user", parts=[types.Part(text=text), *seen])
            asked = {"user_id": "u", "session_id": session.id, "new_message": said}
            async for _ in runner.run_async(**asked, run_config=RunConfig(streaming_mode=mode)):
                pass

    loop = asyncio.new_event_loop()

    def ask(*texts: str, **more: Any) -> None:
        loop.run_until_complete(run(*texts, **more))

    named = {name: SETTINGS[name] for name in ("temperature", "top_p", "presence_penalty")}
    named |= {"max_output_tokens": SETTINGS["max_tokens"], "stop_sequences": SETTINGS["stop"]}
    settings = types.GenerateContentConfig(**named)
    blob = types.Blob(mime_type="image/png", data=base64.b64decode(PIXEL))
    return {
        "plain": lambda: ask("Where is my parcel?"),
        "several": lambda: ask("Where is my parcel?", "And when?"),
        "tools": lambda: ask("Weather?", tools=[weather]),
        "two_tools": lambda: ask("Weather and time?", tools=[weather, clock]),
        "stream": lambda: ask("Where is my parcel?", streams=True),
        "stream_tools": lambda: ask("Weather?", tools=[weather], streams=True),
        "settings": lambda: ask("Write a poem.", generate_content_config=settings),
        "image": lambda: ask("What is this?", seen=[types.Part(inline_data=blob)]),
        "failed": lambda: attempt(ask, "Where is my parcel?", name=FAILING),
    }


LIBRARIES = {
    "anthropic": anthropic_failing, "langchain": langchain_failing, "smolagents": smolagents,
    "adk": adk, "openai": openai, "openai-langfuse": openai_langfuse, "agents": agents,
    "agents-responses": agents_responses, "pydantic-ai": pydantic_ai, "litellm": litellm,
    "litellm-async": litellm_async, "litellm-proxy": litellm_proxy,
}  # fmt: skip


@contextlib.contextmanager
def provider(folder: Path) -> Iterator[Any]:
    """Yield OpenTelemetry's tracer provider, whose spans are written into a folder."""
    spans = span_writer(folder)
    yield spans
    spans.shutdown()


@contextlib.contextmanager
def litellm_otel(folder: Path) -> Iterator[None]:
    """Record with litellm's callback `otel`, as it is configured by the environment."""
    import litellm as library

    with collect(folder) as url:
        os.environ |= {"OTEL_EXPORTER": "otlp_http", "OTEL_ENDPOINT": f"{url}/v1/traces"}
        library.callbacks = ["otel"]
        library.suppress_debug_info = True
        yield
        flush()


def flush() -> None:
    """Send what OpenTelemetry's global provider still holds."""
    from opentelemetry import trace

    time.sleep(1)
    found = trace.get_tracer_provider()
    if hasattr(found, "force_flush"):
        found.force_flush()
    time.sleep(0.5)


@contextlib.contextmanager
def proxy(folder: Path) -> Iterator[None]:
    """Record with the callback of litellm's proxy."""
    upstream = os.environ["UPSTREAM"]
    names = [MODEL, FAILING]
    config = {
        "model_list": [
            {
                "model_name": name,
                "litellm_params": {
                    "model": f"openai/{name}", "api_base": upstream, "api_key": "x",
                    "max_retries": 0,
                },
            }
            for name in names
        ],
        "litellm_settings": {"callbacks": ["otel"], "num_retries": 0},
        "general_settings": {"master_key": KEY},
        "router_settings": {"num_retries": 0},
    }  # fmt: skip
    (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    with collect(folder) as url:
        port = url.rpartition(":")[2]
        served = int(port) - 1 if int(port) > 2000 else int(port) + 1
        environment = {
            **os.environ, "OTEL_EXPORTER": "otlp_http", "OTEL_ENDPOINT": f"{url}/v1/traces",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }  # fmt: skip
        command = [str(Path(sys.executable).with_name("litellm")), "--host", "127.0.0.1"]
        command += ["--config", str(folder / "config.yaml"), "--port", str(served)]
        with (folder / "proxy.log").open("w") as log:
            running = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        os.environ["PROXY_URL"] = f"http://127.0.0.1:{served}"
        wait_for(f"http://127.0.0.1:{served}/health/liveliness")
        yield
        time.sleep(7)
        running.terminate()
        running.wait()
    (folder / "config.yaml").unlink()
    (folder / "proxy.log").unlink()


def wait_for(url: str) -> None:
    """Wait until a server answers."""
    for _ in range(240):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=2)
            return
        time.sleep(0.5)
    raise SystemExit(f"{url} does not answer")


@contextlib.contextmanager
def langfuse(folder: Path) -> Iterator[None]:
    """Record with Langfuse's SDK, which sends to its own server."""
    with collect(folder) as url:
        os.environ |= {
            "LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk", "LANGFUSE_BASE_URL": url,
            "LANGFUSE_HOST": url,
        }  # fmt: skip
        from langfuse import get_client

        yield
        get_client().flush()
        get_client().shutdown()


@contextlib.contextmanager
def mlflow(folder: Path) -> Iterator[None]:
    """Record with MLflow's autolog, which sends OTLP where an endpoint is set."""
    with collect(folder) as url:
        os.environ |= {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{url}/v1/traces",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        }
        import mlflow as library

        library.openai.autolog()
        yield
        with contextlib.suppress(Exception):
            library.flush_trace_async_logging()
        time.sleep(6)


@contextlib.contextmanager
def langsmith(folder: Path) -> Iterator[None]:
    """Record with LangSmith's SDK, which writes to OpenTelemetry's provider."""
    os.environ |= {
        "LANGSMITH_OTEL_ENABLED": "true", "LANGSMITH_OTEL_ONLY": "true",
        "LANGSMITH_TRACING": "true", "LANGSMITH_API_KEY": "x",
    }  # fmt: skip
    with provider(folder):
        from langsmith import Client

        yield
        time.sleep(2)
        Client().flush()
        time.sleep(2)


@contextlib.contextmanager
def own(folder: Path) -> Iterator[None]:
    """Record with what the framework brings."""
    with provider(folder):
        yield


@contextlib.contextmanager
def logfire(folder: Path, what: str) -> Iterator[None]:
    """Record with Logfire, without its own server."""
    import logfire as library
    from opentelemetry.exporter.otlp.json.file import FileSpanExporter
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    exporter = SimpleSpanProcessor(FileSpanExporter(folder / "traces.jsonl"))
    library.configure(
        send_to_logfire=False, console=False, additional_span_processors=[exporter],
        inspect_arguments=False,
    )  # fmt: skip
    getattr(library, what)()
    yield
    library.shutdown()


@contextlib.contextmanager
def pydantic(folder: Path, openinference: bool) -> Iterator[None]:
    """Record with what Pydantic AI brings, and have OpenInference's processor rewrite it."""
    from pydantic_ai import Agent

    with provider(folder) as spans:
        if openinference:
            from openinference.instrumentation.pydantic_ai import OpenInferenceSpanProcessor

            # Before the exporter, as its documentation has it.
            spans._active_span_processor._span_processors = (
                OpenInferenceSpanProcessor(), *spans._active_span_processor._span_processors
            )  # fmt: skip
        Agent.instrument_all()
        yield


@contextlib.contextmanager
def instrumentor(folder: Path, module: str, name: str) -> Iterator[None]:
    """Record with an instrumentor of OpenInference or OpenLLMetry."""
    import importlib

    with provider(folder) as spans:
        found = getattr(importlib.import_module(module), name)()
        found.instrument(tracer_provider=spans, skip_dep_check=True)
        yield


AGENTS = "OpenAIAgentsInstrumentor"
RECORDERS: dict[tuple[str, str], Callable[[Path], Any]] = {
    ("litellm", "litellm-otel"): litellm_otel,
    ("litellm-async", "litellm-otel"): litellm_otel,
    ("litellm-proxy", "litellm-otel"): proxy,
    ("openai", "langfuse"): langfuse,
    ("openai", "mlflow"): mlflow,
    ("openai", "logfire"): partial(logfire, what="instrument_openai"),
    ("agents", "logfire"): partial(logfire, what="instrument_openai_agents"),
    ("agents", "openinference"): partial(
        instrumentor, module="openinference.instrumentation.openai_agents", name=AGENTS
    ),
    ("agents", "openllmetry"): partial(
        instrumentor, module="opentelemetry.instrumentation.openai_agents", name=AGENTS
    ),
    ("langchain", "langsmith"): langsmith,
    ("anthropic", "openllmetry"): partial(
        instrumentor, module="opentelemetry.instrumentation.anthropic", name="AnthropicInstrumentor"
    ),
    ("smolagents", "openinference"): partial(
        instrumentor,
        module="openinference.instrumentation.smolagents",
        name="SmolagentsInstrumentor",
    ),
    ("adk", "own"): own,
    ("pydantic-ai", "own"): partial(pydantic, openinference=False),
    ("pydantic-ai", "openinference"): partial(pydantic, openinference=True),
}


def main(library: str, recorder: str, url: str, folder: Path) -> None:
    """Record every scenario of a library."""
    os.environ |= {"UPSTREAM": url, "OPENAI_API_KEY": "x"}
    asks = "openai-langfuse" if recorder == "langfuse" else library
    with RECORDERS[library.removesuffix("-responses"), recorder](folder):
        for ask in LIBRARIES[asks](url).values():
            ask()


if __name__ == "__main__":
    main(*sys.argv[1:4], Path(sys.argv[4]))
