"""What litellm knows of a provider: its keys, and the parameters that a model takes.

Nothing is sent. A wrong key shows at the first question.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tunegate.harness.models.remote.litellm_calls import error_of_exception, litellm_library
from tunegate.harness.records.errors import ModelError

_NEEDED = {"hosted_vllm": "HOSTED_VLLM_API_BASE", "openai_like": "OPENAI_LIKE_API_BASE"}
"""Provider → the variable with its address; litellm would ask somebody else without it."""
_DEFAULTS = frozenset({"OLLAMA_API_BASE"})
"""Variables that may be missing: the usual address is used."""
_EITHER = frozenset({"gemini"})
"""Providers that take any one of the variables that litellm lists."""


def provider_of(spec: str, model: str) -> str:
    """Return the provider of `PROVIDER/MODEL`, once it is known that it can be asked."""
    litellm = litellm_library()
    try:
        provider = str(litellm.get_llm_provider(model)[1])
    except Exception as error:
        raise ModelError(
            f"{spec}: no provider that litellm knows; write litellm:PROVIDER/MODEL, such as "
            "litellm:openai/gpt-4o-mini"
        ) from error
    missing = _missing_keys(litellm, provider, model)
    if missing:
        names = (" or " if provider in _EITHER else ", ").join(missing)
        raise ModelError(f"{spec}: {provider} cannot be asked without {names}: set it")
    return provider


def _missing_keys(litellm: Any, provider: str, model: str) -> list[str]:
    if provider in _NEEDED:
        return [name for name in [_NEEDED[provider]] if not os.environ.get(name)]
    report = litellm.validate_environment(model)
    if report["keys_in_environment"]:
        return []
    return [n for n in report["missing_keys"] if n not in _DEFAULTS and not os.environ.get(n)]


def accepted_parameters(model: str) -> frozenset[str]:
    """Return OpenAI's names of the parameters that litellm can pass on to a model."""
    litellm = litellm_library()
    name, provider = litellm.get_llm_provider(model)[:2]
    return frozenset(litellm.get_supported_openai_params(name, custom_llm_provider=provider) or ())


def settings_problem(model: str, settings: Mapping[str, Any]) -> str | None:
    """Return why a model does not take these settings; None if it does, as far as litellm knows."""
    litellm = litellm_library()
    name, provider = litellm.get_llm_provider(model)[:2]
    try:
        litellm.utils.get_optional_params(
            model=name, custom_llm_provider=provider, drop_params=False, **settings
        )
    except Exception as error:
        return str(error_of_exception(error))
    return None
