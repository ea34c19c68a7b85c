"""Metrics: (case, completion) → Score, one a file; a name in suite.toml is the file's name."""
