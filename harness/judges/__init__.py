"""Judges: one per file, `<x>.py` with its prompt `<x>.txt`; see `tunegate.harness.contracts.judge`
for the contract.
"""
