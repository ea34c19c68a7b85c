"""Asking over a network: limits, kinds of failure, a pool of askers, JSON over HTTP."""
