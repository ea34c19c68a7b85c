"""Calibrating judges against people's labels."""
