"""Contracts: what each extension is, and lookup by name."""
