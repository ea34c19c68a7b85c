"""Files as trace stores export them: one store's form a module.

Each has `NAME`, `ORDER`, `FORM`, how its records look in words, `MARKS`, names that only they have,
`matches(record)` and `records(record, where, reading)`, which yields spans in OTLP's fields. One
that exports tables has `COLUMNS`: sets of names, one of them in each table. What several share
starts with an underscore.
"""
