"""Requests over a network: JSON over HTTP, limits, retries, a pool of threads."""
