"""OpenTelemetry: export writes our spans, read reads those of others."""
