"""Whether a provider can be asked at all: known, with its key in the environment.

Nothing is sent: litellm knows which variables each provider reads. A wrong key shows at the first
question.
"""

from __future__ import annotations

import os
from typing import Any

from harness.errors import ModelError
from harness.remote.litellm import library

_NEEDED = {"hosted_vllm": "HOSTED_VLLM_API_BASE", "openai_like": "OPENAI_LIKE_API_BASE"}
"""Provider → the variable that says where it is; litellm would ask somebody else without it."""
_DEFAULTS = frozenset({"OLLAMA_API_BASE"})
"""Variables that may be missing: the usual place is taken."""
_EITHER = frozenset({"gemini"})
"""Providers that take any one of the variables that litellm lists."""


def provider_of(spec: str, model: str) -> str:
    """Return the provider of `PROVIDER/MODEL`, once it is known that it can be asked.

    Args:
        spec: What the user wrote, for messages.
        model: `PROVIDER/MODEL` as litellm names it.

    Raises:
        MissingExtra: litellm is not installed.
        ModelError: the provider is unknown, or a variable it needs is not set.
    """
    litellm = library()
    try:
        provider = str(litellm.get_llm_provider(model)[1])
    except Exception as error:
        raise ModelError(
            f"{spec}: no provider that litellm knows; write litellm:PROVIDER/MODEL, such as "
            "litellm:openai/gpt-4o-mini"
        ) from error
    missing = _missing(litellm, provider, model)
    if missing:
        names = (" or " if provider in _EITHER else ", ").join(missing)
        raise ModelError(f"{spec}: {provider} cannot be asked without {names}: set it")
    return provider


def _missing(litellm: Any, provider: str, model: str) -> list[str]:
    if provider in _NEEDED:
        return [name for name in [_NEEDED[provider]] if not os.environ.get(name)]
    found = litellm.validate_environment(model)
    if found["keys_in_environment"]:
        return []
    return [n for n in found["missing_keys"] if n not in _DEFAULTS and not os.environ.get(n)]
