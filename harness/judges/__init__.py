"""Judges: one a file, `<x>.py` with its prompt `<x>.txt`; see `harness.judge` for the contract."""
