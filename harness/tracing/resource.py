"""The program that telemetry comes from: tunegate, and what OTEL_RESOURCE_ATTRIBUTES says of it.

Source: https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import unquote

from harness.tracing import attributes as a


def attributes(version: str, environ: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Return the attributes of the resource.

    Args:
        version: Of tunegate.
        environ: The environment; that of the process, if None.
    """
    known = os.environ if environ is None else environ
    named = known.get("OTEL_SERVICE_NAME", "").strip()
    given = _given(known.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    own = {a.SERVICE_NAME: "tunegate", a.SERVICE_VERSION: version or None}
    return own | given | ({a.SERVICE_NAME: named} if named else {})


def _given(text: str) -> dict[str, str | None]:
    """Return the pairs `name=value` of a list with commas; what is no pair is left out."""
    pairs = (item.partition("=") for item in text.split(","))
    return {name.strip(): unquote(value.strip()) for name, sign, value in pairs if sign and name}
