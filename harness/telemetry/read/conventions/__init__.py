"""Semantic conventions of model calls in traces: one convention a module.

Each has `ORDER`, `matches(span)` and `call(span)`. `call` is that of a `Convention`, which declares
where a span holds a request and its reply, or a function where a record is another thing; what
several share starts with an underscore. A span is read by every convention that matches it, and of
two readings that are equally rich the one whose convention comes first is taken.
"""
