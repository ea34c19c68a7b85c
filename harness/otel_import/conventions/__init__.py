"""Semantic conventions of model calls in traces: one convention a module.

Each has `NAME`, `matches(span)` and `call(span)`; what several share starts with an underscore.
"""
