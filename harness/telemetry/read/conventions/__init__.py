"""Semantic conventions of model calls in traces: one convention a module.

Each has `NAME`, `ORDER`, `matches(span)` and `call(span)`; what several share starts with an
underscore. A span is read by every convention that matches it, and of two readings that are equally
rich the one whose convention comes first is taken.
"""
