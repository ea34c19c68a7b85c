"""Measurements of tunegate itself: run from a checkout, never installed."""
