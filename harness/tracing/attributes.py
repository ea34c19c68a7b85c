"""Names of span attributes, in one place.

The GenAI names follow the OpenTelemetry semantic conventions for generative AI (status:
development, registry of November 2026); the constants of `opentelemetry.semconv._incubating` are
deprecated there, so we keep our own. Names that the conventions lack begin with `tunegate.`.
"""

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_TOP_P = "gen_ai.request.top_p"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
ERROR_TYPE = "error.type"
SUITE_NAME = "test.suite.name"
SUITE_STATUS = "test.suite.run.status"
CASE_NAME = "test.case.name"

RUN_ID = "tunegate.run.id"
VERDICT = "tunegate.verdict"
SUITE_SHA256 = "tunegate.suite.sha256"
ARM = "tunegate.arm"
CELL_KIND = "tunegate.cell.kind"
SAMPLE_INDEX = "tunegate.sample.index"
PROMPT_SHA256 = "tunegate.prompt.sha256"
OUTPUT_SHA256 = "tunegate.output.sha256"
WEIGHTS_SHA256 = "tunegate.weights.sha256"
ADAPTER_SHA256 = "tunegate.adapter.sha256"
TEMPLATE_SHA256 = "tunegate.template.sha256"
DTYPE = "tunegate.dtype"
ENGINE = "tunegate.engine"
CACHE_HIT = "tunegate.cache.hit"
STORE_KEY = "tunegate.store.key"
