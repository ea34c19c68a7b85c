"""Estimates of a training: memory by formula, time from real steps."""
