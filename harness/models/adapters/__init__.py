"""Adapters and weight files: what fits a base, what a file holds, an adapter without effect."""
