"""Suites: what a harmless fine-tune may break, one suite for each axis of safety."""
