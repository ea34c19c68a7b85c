"""OpenTelemetry out: one span per completion, with the GenAI attributes and ours."""
