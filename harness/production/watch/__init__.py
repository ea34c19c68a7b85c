"""Monitoring: a stream of production calls against the figures of the run that shipped."""
