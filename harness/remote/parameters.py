"""Which of a suite's settings a provider's model takes, known before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.remote.litellm import library
from harness.remote.litellm_failure import of


def accepted(model: str) -> frozenset[str]:
    """Return OpenAI's names of the parameters that litellm can pass on to a model.

    Args:
        model: `PROVIDER/MODEL` as litellm names it.
    """
    litellm = library()
    name, provider = litellm.get_llm_provider(model)[:2]
    return frozenset(litellm.get_supported_openai_params(name, custom_llm_provider=provider) or ())


def objection(model: str, settings: Mapping[str, Any]) -> str | None:
    """Return why a model does not take these settings; None if it does, as far as litellm knows.

    Args:
        model: `PROVIDER/MODEL` as litellm names it.
        settings: OpenAI's parameters.
    """
    litellm = library()
    name, provider = litellm.get_llm_provider(model)[:2]
    try:
        litellm.utils.get_optional_params(
            model=name, custom_llm_provider=provider, drop_params=False, **settings
        )
    except Exception as error:
        return str(of(error))
    return None
