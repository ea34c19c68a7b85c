"""Judges: one `<x>.py` each, with its prompt `<x>.txt`; see `tunegate.harness.contracts.judge`."""
