"""Attacks: attempts to get a SHIP that is not deserved, each against the real command line."""
