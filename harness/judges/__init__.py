"""Judges: one per file, `<x>.py` with its prompt `<x>.txt`; see `tunegate.harness.judge` for the
contract.
"""
