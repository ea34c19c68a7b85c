"""After shipping: the watch over traces, and the guardrail in a proxy."""
