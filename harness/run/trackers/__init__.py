"""Trackers, one per file and found by its name; `harness/contracts/tracker.py` is the contract."""
