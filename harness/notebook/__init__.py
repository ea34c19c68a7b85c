"""Comparisons made in Python code and shown in a notebook: `tunegate.compare`."""
