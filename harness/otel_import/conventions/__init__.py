"""Semantic conventions of model calls in traces: one convention a module.

Each has `NAME`, `ORDER`, `matches(span)` and `call(span)`; what several share starts with an
underscore. A span is read by the first convention that matches it: one that records more of a call
comes before those that any span matches.
"""
