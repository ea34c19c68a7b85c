"""The contract of a gate kind."""
