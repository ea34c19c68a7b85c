"""A suite's settings as parameters of OpenAI's chat API, and what they mean for its answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from tunegate.harness.contracts.model import Request
from tunegate.harness.models._thinking_switch import server_fields
from tunegate.harness.models.remote.failures import PermanentError
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.images import is_image

STOPS = 4
"""Texts that OpenAI and most others take; the answer is cut at all of them here."""


def settings_of(request: Request, accepted: Collection[str]) -> dict[str, Any]:
    """Return OpenAI's parameters for a request.

    A seed and stops are left out where the API does not take them: the one can only steady the
    answers, the others are cut here.
    """
    generation = request.generation
    settings = sampling_parameters(generation) | bounds_of(request.case)
    if generation.temperature and "seed" in accepted:
        settings["seed"] = request.seed
    if generation.stop and "stop" in accepted and generation.thinking != "on":
        settings["stop"] = list(generation.stop[:STOPS])
    return settings


def sampling_parameters(generation: GenerationSettings) -> dict[str, Any]:
    """Return the parameters that an API must take, or the answers are other ones."""
    settings: dict[str, Any] = {
        "temperature": generation.temperature,
        "max_tokens": generation.most_tokens,
    }
    if generation.top_p != 1.0:
        settings["top_p"] = generation.top_p
    return settings


_SELF_HOSTED = frozenset({"hosted_vllm", "llamafile", "lm_studio", "openai_like", "vllm"})
"""Providers behind which a server renders a chat template."""
_EFFORT = 2048
"""Tokens of thoughts up to which an API that knows efforts alone is asked for a low one."""


def thinking_parameters(
    spec: str, generation: GenerationSettings, provider: str, accepted: Collection[str]
) -> dict[str, Any]:
    """Return the parameters by which an API switches thinking; nothing where the suite does not."""
    fields = server_fields(generation)
    if fields and (provider in _SELF_HOSTED or generation.chat_template_kwargs):
        return {"extra_body": fields}
    if generation.thinking == "template":
        return {}
    on = generation.thinking == "on"
    if "thinking" in accepted:
        budget = {"type": "enabled", "budget_tokens": generation.budget}
        return {"thinking": budget if on else {"type": "disabled"}}
    if "reasoning_effort" in accepted:
        effort = "low" if (generation.budget or 0) <= _EFFORT else "medium"
        return {"reasoning_effort": effort if on else "none"}
    if not on:
        return {}
    raise ModelError(
        f'{spec}: thinking = "on", but this model takes neither `thinking` nor `reasoning_effort`; '
        'write thinking = "template" under [generation]'
    )


def wire_messages(case: Case, system: str | None) -> list[dict[str, Any]]:
    """Return a case's conversation as a chat API takes it: images as data URLs, in OpenAI's form.

    Raises:
        PermanentError: an image was changed, or is gone.
    """
    images = {image.sha256: image for image in case.images}

    def sent(part: Any) -> Any:
        if not is_image(part):
            return part
        detail = {"detail": part["detail"]} if "detail" in part else {}
        if part["sha256"] not in images:  # the case was read from a run folder
            raise ValueError(f"image {part['image']}: only its hash is known here")
        url = images[part["sha256"]].data_url()
        return {"type": "image_url", "image_url": {"url": url, **detail}}

    try:
        return [
            {**turn, "content": [*map(sent, turn["content"])]}
            if isinstance(turn.get("content"), list)
            else turn
            for turn in case.input_messages(system)
        ]
    except ValueError as error:
        raise PermanentError(str(error), whole=False) from error


def bounds_of(case: Case) -> dict[str, Any]:
    """Return what the case offers and asks of the answer, in OpenAI's form, as parameters.

    Tools, the choice among them, and the form of the answer; empty if it has none.
    """
    tools = [
        t if "function" in t else {"type": "function", "function": t} for t in case.tools or ()
    ]
    parameters = {
        "tools": tools,
        "tool_choice": case.tool_choice if tools else None,
        "response_format": case.response_format,
    }
    return {name: value for name, value in parameters.items() if value}


UNOFFERED_CALL = "answered with a tool call, and the case offers no tools"


def offers_tools(case: Case) -> bool:
    """Return whether a call of a tool may be the answer to a case."""
    return bool(case.tools) or case.expected_calls is not None


def cut_at_stops(text: str, stops: Sequence[str]) -> str:
    """Return the text up to the first stop."""
    return text[: min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))]
