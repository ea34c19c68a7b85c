"""Attributes of the program, the CI pipeline and the models that telemetry comes from.

Source: https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from tunegate.harness.records.answers import GENERATED, CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.manifest import Manifest, SuiteRecord
from tunegate.harness.telemetry.export import attribute_names as a
from tunegate.harness.telemetry.export import otlp_json

_OWN = ("max_new_tokens", "temperature", "top_p")
"""Settings in spans that a case may override."""
_REMOTE = ("server", "litellm")
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "hf": "huggingface.transformers",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""Our or litellm's name → that of the conventions, where they differ."""


@dataclass(frozen=True, slots=True)
class ModelAttributes:
    """A model as the conventions see it."""

    name: str
    provider: str
    kind: otlp_json.SpanKind
    address: str | None = None
    port: int | None = None

    @classmethod
    def of(cls, identity: Mapping[str, Any]) -> ModelAttributes:
        """Return the model that an arm's or a judge's identity names."""
        spec = str(identity["spec"])
        backend = str(identity.get("backend") or spec.partition(":")[0])
        provider = str(identity.get("provider") or backend)
        name, address, port = spec, None, None
        if backend == "litellm":
            name = str(identity.get("model") or spec.partition(":")[2])
        elif backend == "server":
            url, _, named = spec.partition(":")[2].partition("#")
            name = named or spec
            address, port = _place(url)
        # An arm behind a network says what it sends; a judge's identity has its backend alone.
        remote = "prompts" in identity or backend in _REMOTE
        kind = otlp_json.SpanKind.CLIENT if remote else otlp_json.SpanKind.INTERNAL
        return cls(name, _PROVIDERS.get(provider, provider), kind, address, port)

    def attributes(self) -> dict[str, Any]:
        """Return what every span of the model has."""
        return {
            a.PROVIDER: self.provider,
            a.REQUEST_MODEL: self.name,
            a.SERVER_ADDRESS: self.address,
            a.SERVER_PORT: self.port,
        }


def _place(url: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port
    except ValueError:
        return None, None


@dataclass(frozen=True, slots=True)
class OperationAttributes:
    """Attributes of one kind of question to one arm in one suite."""

    operation: str
    model: ModelAttributes
    fixed: str
    """Attributes that all its spans share, as text."""
    agent: str | None = None
    """The suite, if its completions are episodes."""

    @property
    def span_name(self) -> str:
        """Name of its spans."""
        return f"{self.operation} {self.agent or self.model.name}"


class ArmAttributes:
    """The arms of a run."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._known: dict[tuple[Any, ...], OperationAttributes] = {}

    def asked(
        self, suite: SuiteRecord, arm: str, kind: CellKind, case: Case | None = None
    ) -> OperationAttributes:
        """Return the attributes of questions to an arm; `case` may have settings of its own."""
        settings = self._settings(suite, arm, case) if kind in GENERATED else {}
        place = suite.name, arm, kind, *(settings.get(name) for name in _OWN)
        if place not in self._known:
            self._known[place] = self._asked(suite, arm, kind, settings)
        return self._known[place]

    def _settings(self, suite: SuiteRecord, arm: str, case: Case | None) -> Mapping[str, Any]:
        """Return the suite's settings with the case's own in their place."""
        settings = self._generation(suite, arm)
        if not settings or case is None or all(getattr(case, name) is None for name in _OWN):
            return settings
        return GenerationSettings.model_validate(settings).of(case).model_dump(mode="json")

    def _generation(self, suite: SuiteRecord, arm: str) -> Mapping[str, Any]:
        """Return a suite's settings; for recorded answers those of the recording, if known."""
        identity = self._manifest.identity(arm)
        if identity.get("backend") != "replay" and "generation" not in identity:
            return suite.generation
        by_suite = identity.get("generation")
        return by_suite.get(suite.name, {}) if isinstance(by_suite, Mapping) else {}

    def _asked(
        self, suite: SuiteRecord, arm: str, kind: CellKind, settings: Mapping[str, Any]
    ) -> OperationAttributes:
        identity = self._manifest.identity(arm)
        model = ModelAttributes.of(identity)
        chat = kind in GENERATED and settings.get("template") != "none"
        operation = "chat" if chat else "text_completion"
        agent = suite.name if suite.episode is not None and kind is CellKind.GENERATE else None
        operation = "invoke_agent" if agent else operation
        fixed = {
            a.OPERATION: operation,
            a.AGENT_NAME: agent,
            **model.attributes(),
            a.REQUEST_MAX_TOKENS: settings.get("max_new_tokens"),
            a.REQUEST_TEMPERATURE: settings.get("temperature"),
            a.REQUEST_TOP_P: settings.get("top_p"),
            a.GEN_PARAMS: _public_settings(self._generation(suite, arm)) or None,
            a.RUN_ID: self._manifest.run_id,
            a.ARM: arm,
            a.CELL_KIND: kind.value,
            a.WEIGHTS_SHA256: identity.get("weights_sha256"),
            a.ADAPTER_SHA256: identity.get("adapter_sha256"),
            a.TEMPLATE_SHA256: identity.get("template_sha256"),
            a.DTYPE: identity.get("dtype"),
            a.QUANT: identity.get("stored"),
            a.ENGINE: identity.get("engine"),
        }
        return OperationAttributes(operation, model, otlp_json.attributes_json(fixed), agent)


def _public_settings(generation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a suite without its system prompt, which is content."""
    return {name: value for name, value in generation.items() if name != "system"}


def resource_attributes(
    version: str, environ: Mapping[str, str] | None = None
) -> dict[str, str | None]:
    """Return the attributes of the resource."""
    variables = os.environ if environ is None else environ
    named = variables.get("OTEL_SERVICE_NAME", "").strip()
    from_environment = _parse_pairs(variables.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    defaults = {a.SERVICE_NAME: "tunegate", a.SERVICE_VERSION: version or None}
    return defaults | from_environment | ({a.SERVICE_NAME: named} if named else {})


def _parse_pairs(text: str) -> dict[str, str | None]:
    """Return the pairs `name=value` of a comma-separated list."""
    pairs = (item.partition("=") for item in text.split(","))
    return {name.strip(): unquote(value.strip()) for name, sign, value in pairs if sign and name}


def pipeline_attributes(environ: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Return id and page of the pipeline's run on GitHub, GitLab or Jenkins; nothing elsewhere."""
    variables = os.environ if environ is None else environ
    if variables.get("GITHUB_RUN_ID"):
        place = variables.get("GITHUB_SERVER_URL", ""), variables.get("GITHUB_REPOSITORY", "")
        page = (
            f"{'/'.join(place)}/actions/runs/{variables['GITHUB_RUN_ID']}" if all(place) else None
        )
        return {a.PIPELINE_RUN_ID: variables["GITHUB_RUN_ID"], a.PIPELINE_RUN_URL: page}
    for name, page in (("CI_PIPELINE_ID", "CI_PIPELINE_URL"), ("BUILD_ID", "BUILD_URL")):
        if variables.get(name) and variables.get(page):
            return {a.PIPELINE_RUN_ID: variables[name], a.PIPELINE_RUN_URL: variables[page]}
    return {}
