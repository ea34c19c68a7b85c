"""Metrics: (case, completion) → Score, one per file; a name in suite.toml is the file's name."""
