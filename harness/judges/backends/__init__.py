"""Backends of judge models, one a file: what `--judge` opens."""
