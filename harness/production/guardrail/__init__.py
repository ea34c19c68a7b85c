"""Guardrail for litellm's proxy: the suite's own checks on production's requests and answers.

The proxy's config.yaml names the class:

    guardrails:
      - guardrail_name: tickets
        litellm_params:
          guardrail: tunegate.harness.production.guardrail.TunegateGuardrail
          mode: [pre_call, post_call]
          default_on: true
          suite: suites/support_json
          violation: block
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Return the class; only this loads litellm."""
    if name == "TunegateGuardrail":
        from tunegate.harness.production.guardrail.litellm_hook import guardrail_class

        return guardrail_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
